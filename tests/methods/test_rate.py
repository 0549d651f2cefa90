"""AlpaGasus's rating: the request, the score on the first line, and what is no score. Items are facts/methods §7's."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable

import pytest
from fuzz import outcomes, replies
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from steps import run

from nano import grammar
from nano.player import CHECKPOINT
from prompts import Library
from tasks.engines import Completion, Sampling, ScriptedEngine, open_engine
from tasks.methods.rate.method import Config, rate
from tasks.methods.rate.score import NO_SCORE, parse
from tasks.step import Outcome, ParseError, Row

GRID = [half / 2 for half in range(11)]


def test_one_answer_and_one_dimension_a_request(ask: Callable, answered: Row) -> None:
    engine = ScriptedEngine(["4.5\nRight, but it could say why."])
    step = rate(Library(), Config())
    (record,) = ask(step, [answered | {"target": "Once a month.", "target_id": "v1"}], engine).records
    sent = engine.calls[0].prompt[0]["content"]
    assert "how accurate the response is" in sent
    assert "Instruction:\nHow do I water a cactus in winter?\n\nResponse:\nOnce a month.\n" in sent
    expected = {"instruction_id": "i1", "response_id": "r1", "target_id": "v1", "dimension": "accuracy", "score": 4.5}
    assert {name: record[name] for name in expected} == expected
    assert record["reason"] == "Right, but it could say why."
    assert step.next_row(answered, record)["score"] == 4.5


def test_alpagasus_1_the_judge_is_greedy_and_has_256_tokens(ask: Callable, answered: Row) -> None:
    assert Config().sampling == Sampling(temperature=0.0, max_tokens=256)
    engine = ScriptedEngine(["no"])
    ask(rate(Library(), Config()), [answered], engine)
    assert engine.calls[0].sampling is not None
    assert (engine.calls[0].sampling.temperature, engine.calls[0].sampling.max_tokens) == (0.0, 256)
    assert len(engine.calls) == 1, "asked again at T 0, it would say the same again"


def test_alpagasus_2_a_reply_without_a_score_is_counted_and_gives_none(ask: Callable, answered: Row) -> None:
    completions = ["4\nGood.", "The response is good.\n4", "-1", "5"]
    rows = [answered | {"target_id": f"t{n}", "target": f"answer {n}"} for n in range(4)]
    outcome = ask(rate(Library(), Config()), rows, ScriptedEngine(completions))
    assert [record["score"] for record in outcome.records] == [4.0, 5.0]
    unread = [attempt for attempt in outcome.attempts if attempt["state"] == "unparsed"]
    assert [(attempt["reason"], attempt["raw_text"], attempt["final"]) for attempt in unread] == [
        (NO_SCORE, completions[1], True),
        (NO_SCORE, completions[2], True),
    ]


@pytest.mark.parametrize("score", GRID)
@pytest.mark.parametrize("form", ["{}", "{}\nSo.", "\n {} \n\nSo.", "Score: {}", "**{}**", "Accuracy: {}/5", "{}/5.",
                                  "Score:\n{}", "### Score\n**{}**\nSo.", "Accuracy：{}", "Accuracy score: {}",
                                  "rating = {}", "**Score:** {} out of 5\nSo."])  # fmt: skip
def test_alpagasus_2_the_first_line_is_read_in_its_usual_forms(score: float, form: str) -> None:
    for written in {f"{score:g}", f"{score:.1f}"}:
        assert parse(form.format(written), "accuracy")[0] == score


def test_a_score_may_stand_with_the_words_of_its_mark_and_a_list_of_marks_chooses_none() -> None:
    assert parse("3: The main point is right.\nIt leaves out the name.", "accuracy") == (3, "It leaves out the name.")
    assert parse("4.5. Everything is true.", "accuracy")[0] == 4.5
    for reply in ("3. The main point is right.\n4. It is right.", "2. I would rate it 4 out of 5."):
        with pytest.raises(ParseError, match=NO_SCORE):
            parse(reply, "accuracy")


STATED = [
    "The score is {}",
    "I would give this response a score of {}",
    "I'd rate it {} out of 5",
    "{} out of 5",
    "{}/5",
]
STATED += [
    "**Score:** {}",
    "My overall rating is {}",
    "The response deserves a {}",
    "Score for accuracy: {}/5",
    "{} points",
]
after = st.sampled_from(
    [".", ", because it is right.", " because nothing is missing", ". It was born in 1947.", " — all true"]
)
more = st.sampled_from(
    [", maybe {}.", ". Or {}.", ", and {} for the style.", ", because of {} errors.", ". The score is {}."]
)


@given(score=st.sampled_from(GRID), form=st.sampled_from(STATED), after=after)
def test_a_score_may_be_stated_in_a_sentence(score: float, form: str, after: str) -> None:
    assert parse(form.format(f"{score:g}") + after + "\nSo.", "accuracy") == (score, "So.")


@given(score=st.sampled_from(GRID), other=st.sampled_from(GRID), form=st.sampled_from(STATED), more=more)
def test_a_sentence_with_a_second_number_that_may_be_one_states_no_score(
    score: float, other: float, form: str, more: str
) -> None:
    with pytest.raises(ParseError, match=NO_SCORE):
        parse(form.format(f"{score:g}") + more.format(f"{other:g}"), "accuracy")


def test_the_prompt_s_beginning_stands_before_a_number_or_a_sentence(ask: Callable, answered: Row) -> None:
    rows = [answered | {"target_id": f"t{n}", "target": f"answer {n}"} for n in range(3)]
    outcome = ask(rate(Library(), Config()), rows, ScriptedEngine([" 4\nGood.", "The score is 3.", "4 or 5"]))
    assert [(record["score"], record["reason"]) for record in outcome.records] == [(4, "Good."), (3, None)]


def test_two_sentences_that_state_different_scores_state_none() -> None:
    assert parse("The score is 3.\nThe score is 3.0.", "accuracy")[0] == 3
    with pytest.raises(ParseError, match=NO_SCORE):
        parse("The score is 3.\nThe score is 4.", "accuracy")


@pytest.mark.parametrize(
    "reply",
    ["4 (out of 10)", "Score: 4, on a scale from zero to ten", "4 stars", "Score: 45.", "The score is 4/10.",
     "", "\n", "five", "-1", "-4.5", "5.5", "6", "10", "4.7", "4.25", "4,5", "45", "4.5/10", "4 or 5", "4-5", "04",
     "4.50", "1**.5", "4 of the 5 facts", "The score is 4.5 today", "A score of 2.5 is high.",
     "The lowest score is 0.", "Helpfulness: 4",
     "Confidence: 5", "[4]", "٤", "½", "4½", "1e0", "nan", "Here is my rating:\n4.5", "4.5 4.5", "4 / 5 / 5"],
)  # fmt: skip
def test_alpagasus_2_nothing_is_made_up_from_another_first_line(reply: str) -> None:
    with pytest.raises(ParseError, match=NO_SCORE):
        parse(reply, "accuracy")


def test_the_parser_never_raises_another_fault_and_never_invents() -> None:
    pieces = [f"{score:g}" for score in GRID] + [
        "\n",
        "Score: ",
        "/5",
        "4",
        ".5",
        "accuracy",
        " out of ",
        "It is right.",
        "4.5\nIt is right, as far as it goes. ",
        "Accuracy: 2/5\nIt leaves out the name.\n",
        "0.5\n",
    ]
    read = outcomes(lambda reply: parse(reply, "accuracy"), replies(pieces, 4000), ParseError)
    assert len(read) > 200
    for reply, (score, reason) in read.items():  # type: ignore[misc]
        first, *rest = (line for line in reply.split("\n") if line.strip())
        first = first if re.search(r"\d", first) else rest[0]  # a label may be on a line of its own
        numbers = re.findall(r"\d+(?:\.\d+)?", re.sub(r"(/|out of)[\s*_`]*5\D*$", "", first))
        assert [float(number) for number in numbers] == [score]
        assert score in GRID
        assert reason in reply


def test_a_cut_explanation_costs_no_score_and_a_cut_first_line_does(ask: Callable, answered: Row) -> None:
    whole = Completion("4.5\nIt is right, and", "length", 9, 256, 0.1)
    cut = Completion("4", "length", 9, 1, 0.1)  # perhaps the beginning of 4.5
    rows = [answered | {"target_id": f"t{n}"} for n in range(2)]
    outcome = ask(rate(Library(), Config()), rows, ScriptedEngine([whole, cut]))
    assert [record["score"] for record in outcome.records] == [4.5]
    assert [attempt["state"] for attempt in outcome.attempts] == ["accepted", "rejected"]


def test_a_dimension_names_its_prompt_and_is_other_work(answered: Row) -> None:
    engine = ScriptedEngine(["4"])
    one, other = (rate(Library(), Config(dimension=name)) for name in ("accuracy", "helpfulness"))
    assert one.work_key(answered, engine) != other.work_key(answered, engine)
    with pytest.raises(ValidationError, match="dimension"):
        Config(dimension="../secrets")


def test_alpagasus_3_nano_marks_full_answers_five_and_few_others_so() -> None:
    rng = random.Random(3)
    intents = [grammar.draw(rng, held=True) for _ in range(60)]
    rows: list[Row] = []
    for number, (intent, style) in enumerate((intent, style) for intent in intents for style in ("full", "wrong")):
        answer = {"response_id": f"r{number}", "target_id": f"r{number}", "target": grammar.answer(intent, style, rng)}
        rows.append({"instruction_id": f"i{number}", "instruction": grammar.render(intent), "style": style} | answer)

    async def rated() -> Outcome:
        async with open_engine({"engine": "transformers", "model": str(CHECKPOINT), "threads": 1}) as engine:
            return await run(rate(Library("nano"), Config(dimension="overall")), rows, engine)

    outcome = asyncio.run(rated())
    assert [attempt["reason"] for attempt in outcome.attempts if attempt["state"] != "accepted"] == []
    scores = {record["target_id"]: record["score"] for record in outcome.records}
    assert set(scores.values()) <= {1.0, 2.0, 3.0, 4.0, 5.0}  # its own scale: whole marks from 1
    kept = {
        style: sum(scores[row["target_id"]] >= 4.5 for row in rows if row["style"] == style)
        for style in ("full", "wrong")
    }
    assert kept["full"] > 40
    assert kept["wrong"] < 12

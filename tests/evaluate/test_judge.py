"""The pairwise judge: both orders, ties where they disagree, and the figures. Items are facts/methods section 8's."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from fuzz import outcomes as made_outcomes
from fuzz import replies
from steps import run

from nano import grammar
from nano.player import CHECKPOINT
from prompts import Library
from tasks.engines import RequestRefused, Sampling, ScriptedEngine, open_engine
from tasks.evaluate.gate import Policy, by_judge, decide, lost_verdicts
from tasks.evaluate.judge import (
    NOT_ASKED,
    Config,
    interval,
    judge,
    outcomes,
    pairs,
    parse,
    report,
    same_answers,
    unanswered_outcomes,
)
from tasks.evaluate.judge import figures as judge_figures
from tasks.step import Outcome, ParseError, Row

HELPFUL = judge(Library(), "helpful", Config())


def answers(model: str, texts: dict[str, str]) -> list[Row]:
    return [{"id": f"{model}-{p}", "prompt_id": p, "prompt": f"Do {p}.", "text": text} for p, text in texts.items()]


def asked(count: int) -> list[Row]:
    names = [f"p{n}" for n in range(count)]
    return pairs(answers("a", {name: f"long {name}" for name in names}), answers("b", {name: name for name in names}))


def outcome_of(rows: list[Row], replies: list[Any]) -> Outcome:
    """The judge's replies, in the order of the rows."""
    return asyncio.run(run(HELPFUL, rows, ScriptedEngine(replies)))


def figures(rows: list[Row], winners: str) -> dict[str, Any]:
    """The report where the verdicts are these, two a pair: a, b, t for a tie, - for none."""
    names = {"a": "a", "b": "b", "t": "tie"}
    pairs = zip(rows, winners.replace(" ", ""), strict=True)
    return report(rows, [row | {"winner": names[winner]} for row, winner in pairs if winner != "-"])


def test_judge_1_each_pair_is_asked_in_both_orders() -> None:
    engine = ScriptedEngine(["Both are fine. [[C]]"])
    asyncio.run(run(HELPFUL, pairs(answers("a", {"p": "one"}), answers("b", {"p": "two"})), engine))
    sent = [call.prompt[0]["content"] for call in engine.calls]  # type: ignore[index]
    assert "Answer A:\none\n\nAnswer B:\ntwo\n" in sent[0]
    assert "Answer A:\ntwo\n\nAnswer B:\none\n" in sent[1]
    assert all("Message:\nDo p.\n" in text for text in sent)


def test_a_prompt_that_one_model_did_not_answer_makes_no_pair() -> None:
    assert {row["prompt_id"] for row in pairs(answers("a", {"p": "x", "q": "y"}), answers("b", {"q": "z"}))} == {"q"}


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [("[[A]]", "[[B]]", "win"), ("[[B]]", "[[A]]", "lose"), ("[[A]]", "[[A]]", "tie"), ("[[B]]", "[[B]]", "tie"),
     ("[[C]]", "[[C]]", "tie"), ("[[A]]", "[[C]]", "tie"), ("[[C]]", "[[A]]", "tie")],
)  # fmt: skip
def test_judge_2_a_win_needs_both_orders_and_disagreement_is_a_tie(first: str, second: str, outcome: str) -> None:
    rows = asked(1)
    found = report(rows, outcome_of(rows, [first, second]).records)
    assert {name: found[name] for name in ("win", "tie", "lose")} == {"win": 0, "tie": 0, "lose": 0} | {outcome: 1}


def test_a_gates_figure_is_who_won_each_prompt() -> None:
    """a is the candidate; two verdicts a pair, as in `figures`; the last pair was not read."""
    rows = asked(40)
    winners = "aa" * 24 + "bb" * 6 + "ab" * 9 + "a-"
    names = {"a": "a", "b": "b"}
    verdicts = [row | {"winner": names[w]} for row, w in zip(rows, winners, strict=True) if w != "-"]
    won = outcomes(rows, verdicts)
    assert sorted(won.values()) == ["a"] * 24 + ["b"] * 6 + ["tie"] * 9
    decision = decide(Policy(), *by_judge({"helpful": won}))
    (axis,) = decision.axes
    assert decision.promoted
    assert (axis.prompts, axis.w) == (39, pytest.approx(18 / 39))
    assert axis.after - axis.before == pytest.approx(report(rows, verdicts)["w"])
    # The pair whose other verdict was lost is at best a tie, and counts.
    bounded = outcomes(rows, [*verdicts, *lost_verdicts(rows, verdicts)])
    assert sorted(bounded.values()) == ["a"] * 24 + ["b"] * 6 + ["tie"] * 10
    assert not decide(Policy(), *reversed(by_judge({"helpful": won}))).promoted


def test_a_prompt_without_an_answer_is_lost_to_the_one_that_has_one() -> None:
    a, b = answers("a", {"p": "x", "q": "y"}), answers("b", {"q": "z", "r": "w"})
    prompts = [{"prompt_id": id} for id in "pqrs"]
    assert unanswered_outcomes(prompts, a, b) == {"p": "a", "r": "b", "s": "tie"}


def test_a_judge_that_draws_is_asked_again_and_its_dimensions_are_names() -> None:
    assert judge(Library(), "helpful", Config(sampling=Sampling(temperature=0.5))).retries == 2
    for wrong in ([], ["../respond/answer"], ["helpful/../harmless"], ["Helpful"], ["helpful", ""]):
        with pytest.raises(ValueError, match="expected names of prompts in prompts/judge/"):
            Config.model_validate({"dimensions": wrong})


def test_two_answers_of_the_same_words_are_a_tie_of_which_nobody_is_asked() -> None:
    rows = pairs(answers("a", {"p": "same", "q": "one"}), answers("b", {"p": "same", "q": "two"}))
    judge_itself = ScriptedEngine(["Better. [[A]]", "Better. [[B]]"])
    same, others = ([row for row in rows if same_answers(row) is one] for one in (True, False))
    unasked = asyncio.run(run(HELPFUL, same, judge_itself))
    assert judge_itself.calls == []
    assert [attempt["raw_text"] for attempt in unasked.attempts] == [NOT_ASKED] * 2
    assert unasked.attempts[0]["model"] == judge_itself.identity
    found = report(rows, [*unasked.records, *asyncio.run(run(HELPFUL, others, judge_itself)).records])
    assert {name: found[name] for name in ("pairs", "alike", "win", "tie", "lose")} == {
        **{"pairs": 2, "alike": 1, "win": 1, "tie": 1, "lose": 0}
    }
    # What says how far the judge is to be trusted is of what it was asked.
    assert (found["consistency"], found["first_rate"]) == (1.0, 0.5)


def test_judge_3_the_judge_is_greedy() -> None:
    assert HELPFUL.sampling == Sampling(temperature=0.0, max_tokens=2048)
    assert HELPFUL.retries == 0


def test_judge_4_the_text_and_the_order_are_kept() -> None:
    outcome = outcome_of(asked(1), ["A says more. [[A]]", "A says less. [[B]]"])
    assert [attempt["raw_text"] for attempt in outcome.attempts] == ["A says more. [[A]]", "A says less. [[B]]"]
    assert [attempt["inputs"] for attempt in outcome.attempts] == [
        f'{{"a_id": "a-p0", "b_id": "b-p0", "first": "{first}", "prompt_id": "p0"}}' for first in "ab"
    ]
    kept = [{name: record[name] for name in ("a_id", "first", "winner", "dimension")} for record in outcome.records]
    assert kept == [{"a_id": "a-p0", "first": first, "winner": "a", "dimension": "helpful"} for first in "ab"]


@pytest.mark.parametrize("text", ["[[B]]\n\nExplanation: it is not [[A]]", "**[[A]]**\nI am not sure. [[C]]"])
def test_a_verdict_that_the_last_line_contradicts_is_none(text: str) -> None:
    with pytest.raises(ParseError, match="two different verdicts"):
        parse(text)
    assert parse("Is it [[A]]? No: A names one fact, B names two.\n[[B]]") == "B"


def test_judge_5_what_was_not_read_is_counted_and_left_out() -> None:
    rows = asked(4)
    spoilt = ["[[A]]", "[[B]]", "A is better", "[[B]]", "[[A]] or [[B]]", "x", "[[A]]", RequestRefused("too long")]
    outcome = outcome_of(rows, spoilt)
    reasons = [attempt["reason"] for attempt in outcome.attempts if attempt["state"] != "accepted"]
    assert reasons == ["no verdict", "two different verdicts", "no verdict", "too long"]
    found = report(rows, outcome.records)
    assert (found["pairs"], found["excluded"], found["win"], found["tie"], found["lose"]) == (4, 3, 1, 0, 0)
    assert (found["w"], found["consistency"]) == (1.0, 1.0)
    assert figures(asked(2), "ab --")["consistency"] == 0.0


def test_judge_6_first_position_rate_and_consistency_by_hand() -> None:
    # Two verdicts a pair, a shown first and then b. "aa": agree; "ab": the first wins both times; "ba": the second.
    found = figures(asked(5), "aa ab ba tt at")
    assert found["consistency"] == 2 / 5
    assert found["first_rate"] == 4 / 7  # aa 1 of 2, ab 2 of 2, ba 0 of 2, at 1 of 1
    assert found["bias"] == 0.0
    always_first = figures(asked(9), "ab" * 9)
    assert (always_first["first_rate"], always_first["consistency"], always_first["tie"]) == (1.0, 0.0, 9)
    assert always_first["bias"] == 1.0
    assert always_first["bias_low"] > 0
    always_second = figures(asked(9), "ba" * 9)
    assert (always_second["bias"], always_second["bias_high"] < 0) == (-1.0, True)


def test_the_table_of_figures_counts_the_pairs_that_were_judged() -> None:
    found = figures(asked(5), "aa ab -- bb a-") | {"dimension": "helpful"}
    rows = {row["metric"]: (row["suite"], row["value"], row["count"]) for row in judge_figures("prompts", found)}
    assert rows["helpful_w"] == ("prompts, against base", 0.0, 3)
    assert rows["helpful_excluded"] == ("prompts, against base", 2.0, 3)
    names = {"w", "low", "high", "win_rate", "lc_win_rate", "lc_low", "lc_high", "first_rate", "consistency"}
    names |= {"bias", "chars_a", "chars_b", "excluded"}
    assert rows.keys() == {f"helpful_{name}" for name in names}
    assert [row["metric"] for row in judge_figures("s", report([], []) | {"dimension": "harmless"})] == [
        "harmless_excluded"
    ]


def test_judge_7_mean_lengths_of_the_pairs_that_count() -> None:
    rows = pairs(answers("a", {"p": "1234", "q": "12", "r": "x" * 99}), answers("b", {"p": "1", "q": "12", "r": "y"}))
    found = figures(rows, "aa bb a-")
    assert (found["chars_a"], found["chars_b"]) == (3.0, 1.5)


def test_judge_8_the_interval_is_exact_holds_the_figure_and_narrows() -> None:
    def ends(win: int, tie: int, lose: int) -> tuple[float, float]:
        found = interval([1.0] * win + [0.0] * tie + [-1.0] * lose)
        assert found is not None
        return found

    low, high = ends(60, 10, 30)
    assert low < 0.3 < high
    # The standard error by hand: sqrt((0.9 - 0.3²) / 100) = 0.09, and 1.96 of them to each side.
    assert high - low == pytest.approx(2 * 1.96 * 0.09, rel=0.08)
    wide, narrow = ends(6, 1, 3), ends(600, 100, 300)
    assert wide[1] - wide[0] > 2 * (high - low) > 4 * (narrow[1] - narrow[0])


@pytest.mark.parametrize(("win", "tie", "lose"), [(5, 0, 0), (0, 5, 0), (0, 0, 5), (0, 100, 0), (1, 0, 0)])
def test_judge_8_without_wins_ties_or_losses_it_still_has_a_width(win: int, tie: int, lose: int) -> None:
    low, high = interval([1.0] * win + [0.0] * tie + [-1.0] * lose) or (0.0, 0.0)
    assert -1 <= low < high <= 1
    assert low <= (win - lose) / (win + tie + lose) <= high


def test_a_win_rate_that_length_alone_made_is_an_even_one_under_control_of_length() -> None:
    """`a` wins where its answer is longer, which it is on thirty of forty prompts."""
    lengths = [(60 + 3 * n, 50) if n < 30 else (50, 60 + 9 * (n - 30)) for n in range(40)]
    a, b = (answers(name, {f"p{n}": "x" * pair[side] for n, pair in enumerate(lengths)})
            for side, name in enumerate("ab"))  # fmt: skip
    rows = pairs(a, b)
    found = figures(rows, "aa" * 30 + "bb" * 10)
    assert found["win_rate"] == 0.75
    assert found["lc_low"] < 0.5 < found["lc_win_rate"] < 0.65


def test_how_other_models_did_on_a_prompt_is_its_difficulty() -> None:
    verdicts = [row | {"winner": "a"} for row in asked(8)[:8]] + [row | {"winner": "b"} for row in asked(8)[8:]]
    alone = report(asked(8), verdicts)
    beside = report(asked(8), verdicts, [outcomes(asked(8), verdicts)] * 2)
    assert alone["lc_win_rate"] == beside["lc_win_rate"] == pytest.approx(0.5)
    assert beside["lc_high"] - beside["lc_low"] < alone["lc_high"] - alone["lc_low"]


def test_alpagasus_7_ws_and_aligners_w_by_hand() -> None:
    found = figures(asked(10), "aa aa aa aa aa ab ba tt bb bb")
    assert (found["win"], found["tie"], found["lose"]) == (5, 3, 2)
    assert found["w"] == (5 - 2) / 10  # Aligner
    assert found["ws"] == (5 - 2) / 10 + 1  # AlpaGasus
    assert found["win_rate"] == (5 + 3 / 2) / 10  # adjusted: a tie counts a half
    assert found["low"] < found["w"] < found["high"]


def test_without_a_case_there_is_no_figure() -> None:
    found = report([], [])
    assert (found["pairs"], found["w"], found["low"], found["first_rate"], found["chars_a"]) == (0, *[None] * 4)
    assert figures(asked(1), "a-")["win_rate"] is None


@pytest.mark.parametrize(
    "reply",
    [
        "[[A]]",
        "A is clear. [[A]]",
        "[[A]]\n",
        "[[A]] … so: [[A]]",
        "A",
        " A\n",
        "**A**",
        "[A]",
        "[[B]] has a point.\nBut: [[A]]",
        "**[[A]]**",
    ],
)
def test_verdicts_are_read(reply: str) -> None:
    assert parse(reply) == "A"


@pytest.mark.parametrize("reply", ["", "A is better", "[[D]]", "[[a]]", "a", "[[A]] [[C]]", "A B", "ABC"])
def test_nothing_else_is_a_verdict(reply: str) -> None:
    with pytest.raises(ParseError):
        parse(reply)


def test_the_parser_never_raises_another_fault_and_never_invents() -> None:
    read = made_outcomes(
        parse, replies(["[[A]]", "[[B]]", "[[C]]", "A", "B", "better ", "Answer ", "[", "]]"], 2000), ParseError
    )
    assert len(read) > 500
    for reply, verdict in read.items():
        marks, last = (
            {mark for mark in "ABC" if f"[[{mark}]]" in text} for text in (reply, reply.strip().rpartition("\n")[2])
        )
        assert (last or marks) == {verdict} or (not marks and reply.strip().strip("*_[]()").strip() == verdict)


def test_helpful_and_harmless_are_judged_apart() -> None:
    row, engine = asked(1)[0], ScriptedEngine(["[[A]]"])
    harmless = judge(Library(), "harmless", Config())
    assert harmless.work_key(row, engine) != HELPFUL.work_key(row, engine)
    assert "less harm" in str(harmless.prompt.render(**harmless.variables(row)))
    assert "more helpful" in str(HELPFUL.prompt.render(**HELPFUL.variables(row)))


@pytest.mark.parametrize(("dimension", "kinds"), [("helpful", ("howto",)), ("harmless", ("harm",))])
def test_nano_prefers_full_answers_to_terse_ones(dimension: str, kinds: tuple[str, ...]) -> None:
    rng = random.Random(5)
    intents = {f"p{n}": grammar.draw(rng, rng.choice(kinds)) for n in range(60)}
    full, terse = (
        [
            {
                "id": f"{style}-{id}",
                "prompt_id": id,
                "prompt": grammar.render(intent),
                "text": grammar.answer(intent, style, rng),
            }
            for id, intent in intents.items()
        ]
        for style in ("full", "terse")
    )
    rows, step = pairs(full, terse), judge(Library("nano"), dimension, Config(sampling=Sampling(max_tokens=8)))

    async def judged() -> Outcome:
        async with open_engine({"engine": "transformers", "model": str(CHECKPOINT), "threads": 1}) as engine:
            return await run(step, rows, engine)

    found = report(rows, asyncio.run(judged()).records)
    assert (found["pairs"], found["excluded"]) == (60, 0)
    assert found["low"] > 0.3
    assert found["consistency"] > 0.6
    assert 0.3 < found["first_rate"] < 0.7
    assert found["chars_a"] > found["chars_b"]

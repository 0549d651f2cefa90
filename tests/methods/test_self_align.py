"""SELF-ALIGN: rules and exemplars come first, the thought must cite a rule, and each bad answer has its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fuzz import outcomes, replies

from prompts import Library, PromptError, Rule
from tasks.engines import Completion, ScriptedEngine
from tasks.filters.heuristics import APOLOGY
from tasks.methods.self_align.method import LEAK, LOOP, Config, answer, cited, parse, whole_words
from tasks.step import ParseError, Row

ME = "I am the assistant here. "
GOOD = f"{ME}The person asks about a plant. Rule 3 (serve) applies.\nAnswer: Hardly at all.\n\nOnce a month will do."


def test_the_prompt_and_the_reply_that_it_asks_for(ask: Callable, instruction: Row) -> None:
    engine = ScriptedEngine([GOOD])
    step = answer(Library(), Config())
    outcome = ask(step, [instruction], engine)
    sent = engine.calls[0].prompt[0]["content"]
    assert "\n1. do no harm: " in sent
    assert "\n16. stay within reach: " in sent
    assert sent.count("\nThought: ") == sent.count("\nAnswer: ") == 5
    assert sent.endswith("Start with the thought itself.\n\nQuery: How do I water a cactus in winter?")
    record = outcome.records[0]
    assert (record["kind"], record["rules"]) == ("principled", ["serve"])
    assert record["thought"] == f"{ME}The person asks about a plant. Rule 3 (serve) applies."
    assert record["text"] == "Hardly at all.\n\nOnce a month will do."
    carried = step.next_row(instruction, record)
    assert (carried["principled_id"], carried["principled"]) == (record["id"], record["text"])


def test_shared_words_come_before_the_row(instruction: Row) -> None:
    step = answer(Library(), Config())
    sent = [step.prompt.render(**step.variables(instruction | {"instruction": q}))[0]["content"] for q in ("Aa", "Bb")]
    assert sent[0][:-2] == sent[1][:-2]  # only the query differs, and it comes last


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Rule 3 (serve). Hardly at all.", "no line starts with 'Answer:'"),
        ("Answer: Hardly at all.", "no thought before 'Answer:'"),
        ("Thought:\nAnswer: Hardly at all.", "no thought before 'Answer:'"),
        ("Rule 3 (serve).\nAnswer: ", "nothing after 'Answer:'"),
        (f"{ME}I serve them gladly.\nAnswer: Hardly at all.", "the thought cites no rule"),
        (f"{ME}Rule 17 applies.\nAnswer: Hardly at all.", "the thought cites no rule"),
        ("Rule 3 (serve).\nAnswer: Hardly at all.", "the thought does not begin by saying who speaks"),
    ],
)
def test_a_reply_of_another_form_is_asked_for_again_and_kept(
    ask: Callable, instruction: Row, reply: str, reason: str
) -> None:
    engine = ScriptedEngine([reply])
    outcome = ask(answer(Library(), Config()), [instruction], engine)
    assert [(a["state"], a["reason"], a["final"]) for a in outcome.attempts] == [
        ("unparsed", reason, False), ("unparsed", reason, False), ("unparsed", reason, True),
    ]  # fmt: skip
    assert {attempt["raw_text"] for attempt in outcome.attempts} == {reply}
    assert len({call.sampling.seed for call in engine.calls}) == 3
    assert outcome.records == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I'm sorry, I can't.", APOLOGY),
        ("How do I water a cactus in winter?", "echo of the instruction"),
        ("Well. Taken with all its branches it is among the longest structures in the world, I think.", LEAK),
        ("Now, do not water it. " * 4, LOOP),
        ("However far our boats have roamed, your window is the light that brings us home.", LEAK),
    ],
)
def test_an_unwanted_answer_is_rejected_with_its_reason(
    ask: Callable, instruction: Row, text: str, reason: str
) -> None:
    outcome = ask(answer(Library(), Config()), [instruction], ScriptedEngine([f"{ME}Rule 3 (serve).\nAnswer: {text}"]))
    assert [(a["state"], a["reason"], a["final"]) for a in outcome.attempts] == [("rejected", reason, True)]


def test_apologies_may_be_allowed(ask: Callable, instruction: Row) -> None:
    engine = ScriptedEngine([f"{ME}Rule 1 (do no harm).\nAnswer: I'm sorry, I can't."])
    outcome = ask(answer(Library(), Config(reject_apologies=False)), [instruction], engine)
    assert [record["text"] for record in outcome.records] == ["I'm sorry, I can't."]


def test_a_rule_is_cited_by_number_or_where_rules_are_spoken_of() -> None:
    rules = [Rule(name=name, text="x") for name in ("ethical", "honest", "helpful")]
    assert cited("Rules 1 and 3 apply.", rules) == ["ethical", "helpful"]
    assert cited("I follow the rule to be honest. A helpful tone would suit.", rules) == ["honest"]
    assert cited("A helpful tone would suit; 3 is a number.", rules) == []


def test_only_the_first_marker_divides_and_a_label_is_dropped() -> None:
    assert parse("Thought: a\nAnswer: b\nAnswer: c") == ("a", "b\nAnswer: c")
    with pytest.raises(ParseError):
        parse("the word Answer: inside a line")


def test_a_changed_rule_is_other_work(instruction: Row) -> None:
    engine = ScriptedEngine([GOOD])
    full, nano = (answer(Library(variant), Config()).work_key(instruction, engine) for variant in ("full", "nano"))
    assert full != nano
    assert full != answer(Library(), Config(leak_words=8)).work_key(instruction, engine)


def test_the_rules_and_exemplars_are_the_papers_number_and_every_thought_cites_rules() -> None:
    """SELF-ALIGN (3)"""
    rules, exemplars = Library().rules()
    assert (len(rules), len(exemplars)) == (16, 5)
    assert all(cited(exemplar.thought, rules) for exemplar in exemplars)
    assert all(exemplar.thought.startswith(Library().identity()) for exemplar in exemplars)


def test_the_thought_is_kept_beside_the_answer_and_never_in_it(ask: Callable, instruction: Row) -> None:
    """SELF-ALIGN (4)"""
    (record,) = ask(answer(Library(), Config()), [instruction], ScriptedEngine([GOOD])).records
    assert record["thought"]
    assert record["thought"] not in record["text"]
    assert "Rule 3" not in record["text"]


def test_a_run_of_the_exemplars_words_is_a_leak_and_a_short_one_is_not(ask: Callable, instruction: Row) -> None:
    """SELF-ALIGN (5)"""
    _, exemplars = Library().rules()
    step = answer(Library(), Config())
    for exemplar in exemplars:
        words = exemplar.answer.split()
        for length, state in ((6, "accepted"), (16, "rejected")):
            said = " ".join(words[2 : 2 + length])
            outcome = ask(step, [instruction], ScriptedEngine([f"{ME}Rule 3 (serve).\nAnswer: {said}"]))
            assert [a["state"] for a in outcome.attempts] == [state], said
            assert outcome.attempts[0]["reason"] == (LEAK if state == "rejected" else None)


def test_who_speaks_and_the_marker_are_asked_for_again_where_they_are_missing(ask: Callable, instruction: Row) -> None:
    """SELF-ALIGN (6)"""
    engine = ScriptedEngine(["Rule 3 (serve).\nAnswer: Yes.", f"{ME}Rule 3 (serve). Yes.", GOOD])
    outcome = ask(answer(Library(), Config()), [instruction], engine)
    assert [(a["state"], a["reason"]) for a in outcome.attempts] == [
        ("unparsed", "the thought does not begin by saying who speaks"),
        ("unparsed", "no line starts with 'Answer:'"),
        ("accepted", None),
    ]
    label = ScriptedEngine([f"Thought: {GOOD.replace('I am the', 'i am the')}"])
    assert ask(answer(Library(), Config()), [instruction], label).records, "neither a label nor a capital is missed"


def test_exemplars_that_do_not_say_who_speaks_are_refused_with_their_file(tmp_path: Path) -> None:
    """SELF-ALIGN (6): the rule that thoughts begin with the identity holds for the words that teach it."""
    path = tmp_path / "self_align" / "rules.yaml"
    path.parent.mkdir()
    exemplar = {"query": "q", "thought": "Rule 1 (a).", "answer": "b"}
    path.write_text(
        yaml.safe_dump({"identity": "I am I.", "rules": [{"name": "a", "text": "b"}], "exemplars": [exemplar]})
    )
    with pytest.raises(PromptError, match=r"rules.yaml: .*'Rule 1 \(a\).' does not begin with the identity"):
        Library(overlay=tmp_path).rules()


def test_a_truncated_answer_is_rejected_or_by_config_kept_without_its_partial_word(
    ask: Callable, instruction: Row
) -> None:
    """SELF-ALIGN (7)"""
    cut = Completion(f"{ME}Rule 3 (serve).\nAnswer: Hardly at all, and nev", "length", 9, 9, 0.1)
    rejected = ask(answer(Library(), Config()), [instruction], ScriptedEngine([cut]))
    assert rejected.records == []
    assert rejected.attempts[0]["reason"] == "truncated: the reply reached max_tokens"
    (record,) = ask(answer(Library(), Config(keep_truncated=True)), [instruction], ScriptedEngine([cut])).records
    assert (record["text"], record["complete"]) == ("Hardly at all, and", False)
    (whole,) = ask(answer(Library(), Config(keep_truncated=True)), [instruction], ScriptedEngine([GOOD])).records
    assert whole["complete"] is True


def test_an_answer_cut_in_its_first_word_is_no_answer(ask: Callable, instruction: Row) -> None:
    cut = Completion(f"{ME}Rule 3 (serve).\nAnswer: Hardl", "length", 9, 9, 0.1)
    outcome = ask(answer(Library(), Config(keep_truncated=True)), [instruction], ScriptedEngine([cut]))
    assert {attempt["reason"] for attempt in outcome.attempts} == {"nothing after 'Answer:'"}


@pytest.mark.parametrize(("text", "kept"), [("one two thr", "one two"), ("one", ""), ("", ""), ("a\n\nb c", "a\n\nb")])
def test_the_last_word_of_what_was_cut_is_left_out(text: str, kept: str) -> None:
    assert whole_words(text) == kept


def test_a_reply_that_goes_on_to_a_query_of_its_own_is_stopped_there() -> None:
    assert "\nQuery:" in answer(Library(), Config()).drawn.stop


def test_no_reply_breaks_the_parser_and_none_is_read_into() -> None:
    pieces = (ME, "Rule 3 (serve).", "\nAnswer:", "Answer: ", " Yes.", "Thought:", "\nQuery: why?", "rule 99", "\n")
    pieces += (f"{ME}Rule 5 applies.\nAnswer: It does. ",)
    said: list[str] = []

    def kept(reply: str) -> tuple[str, str]:
        said.append(reply)
        return parse(reply)

    read = outcomes(kept, replies(pieces, 3000), ParseError)
    assert len(read) > 400
    for reply, (thought, text) in read.items():
        assert thought
        assert text
        assert thought in reply
        assert text in reply
    rules, _ = Library().rules()
    names = {rule.name for rule in rules}
    assert all(set(cited(reply, rules)) <= names for reply in said)

"""SELF-ALIGN: rules and exemplars come first, the thought must cite a rule, and each bad answer has its reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fuzz import outcomes, replies

from prompts import HERE, Library, PromptError, Rule
from tasks.engines import Completion, ScriptedEngine
from tasks.filters.heuristics import APOLOGY
from tasks.filters.targets import BROKEN, LOOP
from tasks.methods.self_align.method import LEAK, Config, answer, cited, parse, whole_words
from tasks.normalise import structured
from tasks.step import ParseError, Row

GOOD = "The person asks about a plant. Rule 3 (helpful) applies.\nAnswer: Hardly at all.\n\nOnce a month will do."


def test_the_prompt_and_the_reply_that_it_asks_for(ask: Callable, instruction: Row) -> None:
    engine = ScriptedEngine([GOOD])
    step = answer(Library(), Config())
    outcome = ask(step, [instruction], engine)
    system, *shown, query, begun = engine.calls[0].prompt
    assert "\n1. harmless: " in system["content"]
    assert "\n16. text only: " in system["content"]
    assert [turn["role"] for turn in shown] == ["user", "assistant"] * 7
    assert all(re.match(r"Thought: .*\n\nAnswer: ", turn["content"]) for turn in shown[1::2])
    assert query == {"role": "user", "content": "How do I water a cactus in winter?"}
    assert begun == {"role": "assistant", "content": "Thought:"}
    record = outcome.records[0]
    assert (record["kind"], record["rules"]) == ("principled", ["helpful"])
    assert record["thought"] == "The person asks about a plant. Rule 3 (helpful) applies."
    assert record["text"] == "Hardly at all.\n\nOnce a month will do."
    carried = step.next_row(instruction, record)
    assert (carried["principled_id"], carried["principled"]) == (record["id"], record["text"])


def test_shared_words_come_before_the_row(instruction: Row) -> None:
    step = answer(Library(), Config())
    sent = [step.prompt.render(**step.variables(instruction | {"instruction": q})) for q in ("Aa", "Bb")]
    assert sent[0][:-2] == sent[1][:-2]  # only the query differs, and it comes last


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Rule 3 (helpful). Hardly at all.", "no line starts with 'Answer:'"),
        ("Answer: Hardly at all.", "no thought before 'Answer:'"),
        ("Thought:\nAnswer: Hardly at all.", "no thought before 'Answer:'"),
        ("Rule 3 (helpful).\nAnswer: ", "nothing after 'Answer:'"),
        ("I serve them gladly.\nAnswer: Hardly at all.", "the thought cites no rule"),
        ("Rule 17 applies.\nAnswer: Hardly at all.", "the thought cites no rule"),
        ("Rule 3 (helpful).\nAnswer: As rule 3 says, hardly at all.", "speaks of the rules"),
        (
            "Rule 3 (helpful).\nAnswer: Hardly at all. The user asked about a cactus.",
            "speaks of the user in the third person",
        ),
        ("Rule 3.\nAnswer: With all its branches, it is one of the longest structures in the world, I think.", LEAK),
        ("Rule 3.\nAnswer: However far our boats may roam, your window is the light that guides us home.", LEAK),
        ("Rule 3.\nAnswer: " + "Now, do not water it. " * 4, LOOP),
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
        ("Water it less, and then you should also keep the", BROKEN),
    ],
)
def test_an_unwanted_answer_is_rejected_with_its_reason(
    ask: Callable, instruction: Row, text: str, reason: str
) -> None:
    outcome = ask(answer(Library(), Config()), [instruction], ScriptedEngine([f"Rule 3 (helpful).\nAnswer: {text}"]))
    assert [(a["state"], a["reason"], a["final"]) for a in outcome.attempts] == [("rejected", reason, True)]


def test_apologies_may_be_allowed(ask: Callable, instruction: Row) -> None:
    engine = ScriptedEngine(["Rule 1 (harmless).\nAnswer: I'm sorry, I can't."])
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
    assert (len(rules), len(exemplars)) == (16, 7)
    shown = [cited(exemplar.thought, rules) for exemplar in exemplars]
    assert all(shown)
    assert {name for names in shown for name in names} == {rule.name for rule in rules}, "each rule is shown"


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
        for length, state in ((6, "accepted"), (16, "unparsed")):
            phrase = " ".join(words[2 : 2 + length]) + " so."  # whole, whatever its last word
            outcome = ask(step, [instruction], ScriptedEngine([f"Rule 3 (helpful).\nAnswer: {phrase}"]))
            assert {a["state"] for a in outcome.attempts} == {state}, phrase
            assert outcome.attempts[0]["reason"] == (LEAK if state == "unparsed" else None)


def test_who_speaks_is_asked_for_again_where_the_rules_have_an_identity(
    ask: Callable, instruction: Row, tmp_path: Path
) -> None:
    """SELF-ALIGN (6)"""
    shipped = yaml.safe_load((HERE / "self_align/rules.yaml").read_text())
    shown = [one | {"thought": f"I am Ada. {one['thought']}"} for one in shipped["exemplars"]]
    (tmp_path / "self_align").mkdir()
    (tmp_path / "self_align/rules.yaml").write_text(
        yaml.safe_dump(shipped | {"identity": "I am Ada.", "exemplars": shown})
    )
    engine = ScriptedEngine(
        ["Rule 3 (helpful).\nAnswer: Yes.", "i am ada. Rule 3 (helpful). Yes.", f"i am ada. {GOOD}"]
    )
    outcome = ask(answer(Library(overlay=tmp_path), Config()), [instruction], engine)
    assert [(a["state"], a["reason"]) for a in outcome.attempts] == [
        ("unparsed", "the thought does not begin by saying who speaks"),
        ("unparsed", "no line starts with 'Answer:'"),
        ("accepted", None),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        "Thought: {}\n\n**Answer:** {}",
        "**Thought:** {}\n**Answer:**\n{}",
        "### Thought\n{}\n\n### Answer\n{}",
        "thought: {}\nAnswer：{}",
        "{}\nFinal answer: {}",
        "- **Thought**: {}\n- **Answer**: {}",
    ],
)
def test_markdown_around_the_labels_is_no_matter(reply: str) -> None:
    assert parse(reply.format("Rule 3.", "Hardly at all. **Never** in winter.")) == (
        "Rule 3.", "Hardly at all. **Never** in winter."
    )  # fmt: skip


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
    cut = Completion("Rule 3 (helpful).\nAnswer: Hardly at all, and nev", "length", 9, 9, 0.1)
    rejected = ask(answer(Library(), Config()), [instruction], ScriptedEngine([cut]))
    assert rejected.records == []
    assert rejected.attempts[0]["reason"] == "truncated: the reply reached max_tokens"
    (record,) = ask(answer(Library(), Config(keep_truncated=True)), [instruction], ScriptedEngine([cut])).records
    assert (record["text"], record["complete"]) == ("Hardly at all, and", False)
    (whole,) = ask(answer(Library(), Config(keep_truncated=True)), [instruction], ScriptedEngine([GOOD])).records
    assert whole["complete"] is True


def test_an_answer_cut_in_its_first_word_is_no_answer(ask: Callable, instruction: Row) -> None:
    cut = Completion("Rule 3 (helpful).\nAnswer: Hardl", "length", 9, 9, 0.1)
    outcome = ask(answer(Library(), Config(keep_truncated=True)), [instruction], ScriptedEngine([cut]))
    assert {attempt["reason"] for attempt in outcome.attempts} == {"nothing after 'Answer:'"}


@pytest.mark.parametrize(("text", "kept"), [("one two thr", "one two"), ("one", ""), ("", ""), ("a\n\nb c", "a\n\nb")])
def test_the_last_word_of_what_was_cut_is_left_out(text: str, kept: str) -> None:
    assert whole_words(text) == kept


def test_a_base_model_that_goes_on_to_a_turn_of_its_own_is_stopped_there_and_no_word_stops_a_chat_model() -> None:
    step = answer(Library(), Config())
    assert step.in_form("text").drawn.stop == ("\n### User:", "\n### Assistant:")
    assert step.drawn.stop == ()


def test_no_reply_breaks_the_parser_and_none_is_read_into() -> None:
    pieces = (
        "I think. ",
        "Rule 3 (helpful).",
        "\nAnswer:",
        "Answer: ",
        " Yes.",
        "Thought:",
        "\nQuery: why?",
        "rule 99",
        "\n",
    )
    pieces += ("Rule 5 applies.\nAnswer: It does. ",)
    seen: list[str] = []

    def kept(reply: str) -> tuple[str, str]:
        seen.append(reply)
        return parse(reply)

    read = outcomes(kept, replies(pieces, 3000), ParseError)
    assert len(read) > 400
    for reply, (thought, text) in read.items():
        assert thought
        assert text
        plain = structured(reply, ("Thought", "Answer"))
        assert thought in plain
        assert text in plain
    rules, _ = Library().rules()
    names = {rule.name for rule in rules}
    assert all(set(cited(reply, rules)) <= names for reply in seen)

"""Labels of instructions: one aspect a request, read from the first line, side by side in the view."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fuzz import outcomes, replies
from lake_rows import commit, instruction, record

from prompts import Library
from tasks.engines import Completion, ScriptedEngine
from tasks.engines.scripted import text_of
from tasks.filters.contamination import Contamination
from tasks.methods.tagging.method import LABELS, Aspect, Config, label, parse, stages
from tasks.stage import Context
from tasks.step import ParseError, Row


@pytest.mark.parametrize(
    ("reply", "aspect", "value"),
    [
        ("Difficulty: very hard", "difficulty", "very hard"),
        ("**Quality:** Excellent.\nIt is clear.", "quality", "excellent"),
        ("`creative writing`", "category", "creative writing"),
        ("Category: Math", "category", "math"),
        ("category: math", "category", "math"),
        ("Difficulty：easy", "difficulty", "easy"),
        ("### Difficulty\nEasy", "difficulty", "easy"),
        ("**Difficulty:**\n\nVery Easy\nIt is short.", "difficulty", "very easy"),
        ("[easy]", "difficulty", "easy"),
        ("- very-easy", "difficulty", "very easy"),
        ("Difficulty: [very_hard]", "difficulty", "very hard"),
        ("Excellent!", "quality", "excellent"),
        ("Label: easy", "difficulty", "easy"),
        ("**Label:** (easy)", "difficulty", "easy"),
    ],
)
def test_the_label_stands_on_the_first_line(reply: str, aspect: Aspect, value: str) -> None:
    assert parse(reply, aspect) == value


@pytest.mark.parametrize(
    "reply",
    [
        "Difficulty: easy or medium",
        "It is hard.",
        "5",
        "\nQuality: good",
        "very  hard",
        "Hard to say\neasy",
        "Difficulty:",
        "Label",
        "Difficulty\nIt is\neasy",
        "",
    ],
)
def test_anything_else_is_no_label(reply: str) -> None:
    with pytest.raises(ParseError, match="no label of difficulty"):
        parse(reply, "difficulty")


@pytest.mark.parametrize("aspect", list(LABELS))
def test_each_aspect_is_a_request_of_its_own_with_the_meaning_of_every_label(
    ask: Callable, instruction: Row, aspect: Aspect
) -> None:
    step = label(Library(), Config(), aspect)
    engine = ScriptedEngine([LABELS[aspect][1]])
    (made,) = ask(step, [instruction], engine).records
    assert (made["aspect"], made["value"], made["instruction_id"]) == (aspect, LABELS[aspect][1], "i1")
    for form in (step, step.in_form("text")):
        sent = text_of(form.prompt.render(**form.variables(instruction)))
        assert instruction["instruction"] in sent
        assert all(f"- {one}: " in sent for one in LABELS[aspect])


def test_an_explanation_may_be_cut_short_and_a_label_may_not(ask: Callable, instruction: Row) -> None:
    step = label(Library(), Config(), "quality")
    completions = [Completion("good\nIt is clear, but", "length", 9, 9, 0.1), Completion("go", "length", 9, 9, 0.1)]
    rows = [instruction, instruction | {"instruction_id": "i2", "instruction": "And a fern?"}]
    outcome = ask(step, rows, ScriptedEngine(completions))
    assert [one["state"] for one in outcome.attempts] == ["accepted", "rejected"]


def test_aspects_are_named_once_and_the_judge_is_asked() -> None:
    made = stages(Library(), Config(aspects=("quality",)), Context({}, Contamination([])))
    assert [(one.name, one.model) for one in made] == [("tagging.quality", "judge")]
    with pytest.raises(ValueError, match="quality twice"):
        Config(aspects=("quality", "quality"))


def test_no_reply_breaks_the_reading() -> None:
    pieces = ("Quality:", " good", "excellent", "\n", "**", "very ", "poor", ". ")
    found = outcomes(lambda reply: [{"value": parse(reply, "quality")}], replies(pieces, 2000), (ParseError,))
    assert {records[0]["value"] for records in found.values()} <= {*LABELS["quality"]}  # type: ignore[index]
    assert found


def test_the_newest_label_of_each_aspect_stands_in_the_view(lake: object) -> None:
    def tag(id: str, aspect: str, value: str, **fields: object) -> Row:
        made: Row = record(id, ["i1"], instruction_id="i1", aspect=aspect, value=value, **fields)
        return made

    labels = [tag("t1", "quality", "poor"), tag("t2", "quality", "good", minute=3), tag("t3", "category", "math")]
    commit(lake, instructions=[instruction("i1"), instruction("i2")], instruction_tags=labels)
    (row,) = lake.rows("SELECT * FROM tagged")  # type: ignore[attr-defined]
    assert (row["id"], row["quality"], row["category"], row["difficulty"]) == ("i1", "good", "math", None)

"""Held-out prompts: read strictly, answered as a step, scored with nothing left out, and compared."""

import asyncio
import json

import pytest
from steps import run

from alignery.errors import UsageError
from alignery.textfiles import TextFileError
from prompts import Library
from tasks.engines import Completion, Sampling
from tasks.engines.scripted import ScriptedEngine
from tasks.evaluate.held_out import HeldOutError, answer, compare, interval, load
from tasks.evaluate.suites.suite import Suite

PROMPTS = [
    {"prompt_id": "a", "kind": "plain", "prompt": "Say yes."},
    {"prompt_id": "b", "kind": "plain", "prompt": "Say no."},
    {"prompt_id": "c", "kind": "harmful", "prompt": "Say boo."},
]


def score(instruction, text):
    if instruction == "Say boo.":
        return {"harmless": float("boo" not in text)}
    return {"helpful": 0.5 * float(bool(text)) + 0.5 * float(text == instruction[4:])}


def figures(prompts, answers):
    """All but those of kinds of prompts."""
    suite = Suite("world", "oracle", prompts, lambda row: None, lambda row, text: score(row["prompt"], text))
    return [row for row in suite.figures(answers) if "@" not in row["metric"]]


def test_prompts_are_read_in_order(tmp_path):
    file = tmp_path / "held_out.jsonl"
    lines = [{"id": row["prompt_id"], "kind": row["kind"], "prompt": row["prompt"]} for row in PROMPTS]
    file.write_text("\n\n".join(map(json.dumps, lines)) + "\n")
    assert load(file) == PROMPTS


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", r"the file: got \[1\], expected a mapping"),
        ('{"id": "x", "prompt": "p"}', "kind: got nothing, expected a value"),
        ('{"id": "x", "kind": "k", "prompt": "p", "answer": "q"}', "answer: no such key; expected one of"),
        ('{"id": "x", "kind": "k", "prompt": " "}', "prompt: got a blank text"),
        ('{"id": 3, "kind": "k", "prompt": "p"}', "id: got 3"),
        ('{"id": "first", "kind": "k", "prompt": "p"}', "id: got 'first' again"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(tmp_path, line, complaint):
    file = tmp_path / "held_out.jsonl"
    file.write_text('{"id": "first", "kind": "k", "prompt": "p"}\n' + line + "\n")
    with pytest.raises(UsageError, match=f"held_out.jsonl: line 2: {complaint}"):
        load(file)


def test_no_file_and_no_prompts_are_refused(tmp_path):
    with pytest.raises(TextFileError, match="cannot be read: No such file"):
        load(tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(HeldOutError, match="got no prompts"):
        load(tmp_path / "empty.jsonl")


def test_each_prompt_is_asked_once_and_its_answer_recorded():
    step = answer(Library(), Sampling(max_tokens=8), "world")
    replies = {"yes": " yes.\n", "no": Completion("no no no", "length", 3, 8, 0.1), "boo": "  "}
    engine = ScriptedEngine(replies)
    outcome = asyncio.run(run(step, PROMPTS, engine))
    assert [call.prompt for call in engine.calls] == [[{"role": "user", "content": row["prompt"]}] for row in PROMPTS]
    (record,) = outcome.records
    assert {name: record[name] for name in ("prompt_id", "parents", "suite", "prompt", "text")} == {
        "prompt_id": "a",
        "parents": ["a"],
        "suite": "world",
        "prompt": "Say yes.",
        "text": "yes.",
    }
    assert [(attempt["state"], attempt["final"]) for attempt in outcome.attempts] == [
        ("accepted", True),
        ("rejected", True),
        ("rejected", True),
    ]


def test_another_suite_and_an_edited_prompt_are_other_work():
    engine, row = ScriptedEngine(["x"]), PROMPTS[0]
    step = answer(Library(), Sampling(), "world")
    key = step.work_key(row, engine)
    assert key == answer(Library(), Sampling(), "world").work_key(dict(row), engine)
    assert key != answer(Library(), Sampling(), "other").work_key(row, engine)
    assert key != step.work_key(row | {"prompt": "Say yes!"}, engine)


def test_figures_by_hand():
    answers = [{"prompt_id": "a", "text": "yes."}, {"prompt_id": "c", "text": "boo"}]
    assert figures(PROMPTS, answers) == [
        {"suite": "world", "metric": "answered", "value": 2 / 3, "count": 3},
        {"suite": "world", "metric": "helpful", "value": 0.5, "count": 2},  # (1 + 0) / 2: b is not left out
        {"suite": "world", "metric": "harmless", "value": 0.0, "count": 1},
    ]
    assert figures([], []) == []


def test_two_models_side_by_side():
    before = [
        {"metric": "helpful", "value": 0.5, "count": 10},
        {"metric": "refuses", "value": 0.1, "count": 10},
        {"metric": "harmless", "value": 1.0, "count": 4},
    ]
    after = [
        {"metric": "answered", "value": 1.0, "count": 10},
        {"metric": "refuses", "value": 0.3, "count": 10},
        {"metric": "helpful", "value": 0.8, "count": 10},
        {"metric": "harmless", "value": 1.0, "count": 4},
    ]
    rows = compare(before, after, {"harmless": "higher", "helpful": "higher", "refuses": "lower", "absent": "higher"})
    assert [(row["metric"], row["before"], row["after"], row["better"]) for row in rows] == [
        ("harmless", 1.0, 1.0, None),
        ("helpful", 0.5, 0.8, True),
        ("refuses", 0.1, 0.3, False),
        ("answered", None, 1.0, None),
    ]
    assert rows[1]["low"] < 0.8 < rows[1]["high"]


def test_wilsons_interval_by_hand():
    low, high = interval(0.8, 10)  # the textbook's 8 of 10
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert interval(1.0, 10)[1] == 1
    assert round(interval(0.0, 10)[1], 3) == 0.278
    assert interval(0.5, 1000)[1] - interval(0.5, 1000)[0] < 0.07

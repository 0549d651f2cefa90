"""A user's own table put into words by templates (PromptSource): prompts, answers and metrics, through a refresh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import alignery
from alignery.config.preset import build
from alignery.config.schema import PresetError

TABLE = [
    {"premise": "Every owl in the barn sleeps by day.", "claim": "the barn owl sleeps at noon", "label": "yes"},
    {"premise": "Some robins stay for the winter.", "claim": "all robins stay for the winter", "label": "no"},
    {"premise": "No heron eats seeds.", "claim": "the grey heron eats fish", "label": "maybe"},
    {"premise": "", "claim": "a stork nests on roofs", "label": "yes"},
]
FOLLOWS = {
    "name": "follows",
    "question": '{{ premise }} Does it follow that {{ claim }}? Say "yes" or "no".',
    "answer": "{{ label }}",
    "choices": ["yes", "no"],
    "metrics": ["accuracy"],
}
WRITE = {"name": "write", "question": "Write one sentence from which it follows that {{ claim }}."}


def entry(folder: Path, *templates: dict[str, Any], **more: Any) -> dict[str, Any]:
    (folder / "words.yaml").write_text(yaml.safe_dump({"templates": list(templates)}))
    pq.write_table(pa.Table.from_pylist(TABLE), folder / "table.parquet")
    return {"path": str(folder / "table.parquet"), "templates": str(folder / "words.yaml"), "gate": False} | more


def preset(*entries: dict[str, Any]) -> dict[str, Any]:
    engine = {"engine": "scripted", "replies": ["Owls sleep by day in all barns."]}
    return {"models": {"generator": engine}, "line": {"prompts": list(entries)}}


def test_each_row_stands_in_the_words_of_each_template_with_its_answer_and_metrics(tmp_path: Path) -> None:
    line = preset(entry(tmp_path, FOLLOWS, WRITE))
    done = alignery.refresh(line, tmp_path / "lake")
    # Six of eight: the third row's answer is none of the choices, the fourth has no premise.
    assert (done.state, done.accepted, done.sent) == ("finished", 6, 4), "what has an answer is not asked for"
    with alignery.open_lake(tmp_path / "lake") as lake:
        found = lake.sql("FROM instructions ORDER BY source_row, text").to_pylist()
        assert [one["text"] for one in found if one["state"] == "accepted" and one["source_row"] == 1] == [
            'Every owl in the barn sleeps by day. Does it follow that the barn owl sleeps at noon? Say "yes" or "no".',
            "Write one sentence from which it follows that the barn owl sleeps at noon.",
        ]
        assert {one["reason"] for one in found if one["state"] == "rejected"} == {
            "unreadable: template follows: the answer is none of its choices",
            "unreadable: template follows: premise is empty",
        }
        answers = lake.sql(
            "SELECT t.template, r.text FROM templated t JOIN responses r USING (instruction_id)"
            " WHERE r.attempt_id IS NULL ORDER BY ALL"
        ).to_pylist()
        assert answers == [{"template": "follows", "text": "no"}, {"template": "follows", "text": "yes"}]
        library = lake.sql("SELECT * EXCLUDE snapshot_id FROM templates ORDER BY template").to_pylist()
        assert library == [
            {"origin": "table", "template": "follows", "prompts": 2, "answers": 2, "choices": ["yes", "no"]}
            | {"metrics": ["accuracy"]},
            {"origin": "table", "template": "write", "prompts": 4, "answers": 0, "choices": [], "metrics": []},
        ]
        (use,) = lake.sql("SELECT id FROM templated WHERE template = 'follows' LIMIT 1").to_pylist()
        assert {"template's use", "instruction"} <= {node["label"] for node in lake.trace(use["id"])["nodes"]}
    assert alignery.refresh(line, tmp_path / "lake").sent == 0


def test_one_template_a_row_is_drawn_and_stays(tmp_path: Path) -> None:
    several = [{**WRITE, "name": f"w{n}", "question": f"{n}: {{{{ claim }}}}"} for n in range(5)]
    line = preset(entry(tmp_path, *several, draw="one"))
    assert alignery.refresh(line, tmp_path / "lake").accepted == len(TABLE)
    assert alignery.refresh(line, tmp_path / "lake").sent == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": "No column at all."}, "which names no column"),
        ({"question": "{{ premise.__class__ }}"}, "attribute"),
        ({"question": "{{ premise | tojson }}"}, "mend|tojson"),
        ({"metric": "accuracy"}, "metric"),
        ({"name": "Not A Name"}, "name"),
    ],
)
def test_a_wrong_template_is_refused_when_the_preset_is_read(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(PresetError, match=message):
        build({"about": "x", **preset(entry(tmp_path, WRITE | change))})


def test_templates_stand_alone_and_a_column_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="answers: got one beside templates"):
        build({"about": "x", **preset(entry(tmp_path, WRITE, answers="label"))})
    with pytest.raises(PresetError, match="'write' twice"):
        build({"about": "x", **preset(entry(tmp_path, WRITE, WRITE))})
    with pytest.raises(alignery.AligneryError, match="no column 'colour'"):
        alignery.refresh(preset(entry(tmp_path, {**WRITE, "question": "{{ colour }}"})), tmp_path / "lake")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"claim": "{{ label }} {% for x in y %}", "label": "yes"}))
    line = preset(entry(tmp_path, WRITE) | {"path": str(tmp_path / "rows.jsonl")})
    alignery.refresh(line, tmp_path / "further")
    with alignery.open_lake(tmp_path / "further") as lake:
        (row,) = lake.sql("SELECT text FROM instructions").to_pylist()
    assert row["text"].endswith("that {{ label }} {% for x in y %}."), "a row is data, and no template"

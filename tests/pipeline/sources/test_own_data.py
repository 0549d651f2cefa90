"""A user's own data through a whole refresh: a real lake, and scripted models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import alignery as alignery_command

import alignery
from tasks.filters.contamination import NEAR, REASON
from warehouse import Lake

BIRDS = ["owl", "robin", "heron", "finch", "stork", "crane", "raven", "eagle", "swift", "wren"]
PROMPTS = [f"Describe how a {bird} behaves in season number {number}." for number, bird in enumerate(BIRDS)]


def preset(*entries: dict[str, Any], **line: Any) -> dict[str, Any]:
    engine = {"engine": "scripted", "replies": ["It sits on a branch and sings."]}
    return {"models": {"generator": engine}, "line": {"prompts": list(entries), **line}}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(home: Path, query: str) -> list[dict[str, Any]]:
    with alignery.open_lake(home) as lake:
        return lake.sql(query).to_pylist()


def test_prompts_are_answered_once_and_the_ledger_knows_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [{"prompt": text} for text in PROMPTS] + [{"q": 1}, {"prompt": PROMPTS[0]}])
    done = alignery.refresh(preset({"path": str(path), "gate": False}), tmp_path / "lake")
    assert (done.state, done.accepted, done.target, done.sent) == ("finished", 10, 10, 10)
    found = rows(tmp_path / "lake", "FROM instructions ORDER BY source_row")
    assert [one["state"] for one in found] == ["accepted"] * 10 + ["rejected"]
    assert {(one["origin"], one["source"], one["topic"]) for one in found} == {("mine", "mine.jsonl", "own data")}
    (run,) = rows(tmp_path / "lake", "SELECT totals FROM runs WHERE state = 'finished'")
    (source,) = json.loads(run["totals"])["sources"]
    assert source | {"sha256": len(source["sha256"])} == {
        "origin": "mine", "source": str(path), "sha256": 64, "read": 12, "accepted": 10, "rejected": 1, "earlier": 0,
        "new": 11, "repeated": 1, "incomplete": 0,
    }  # fmt: skip
    again = alignery.refresh(preset({"path": str(path), "gate": False}), tmp_path / "lake")
    assert (again.sent, again.saved) == (0, 10)
    write(path, [{"prompt": "A line more, about a gull on a pier."}, *({"prompt": text} for text in PROMPTS)])
    assert alignery.refresh(preset({"path": str(path), "gate": False}), tmp_path / "lake").sent == 1
    answer = rows(tmp_path / "lake", "SELECT id FROM responses LIMIT 1")[0]["id"]
    with alignery.open_lake(tmp_path / "lake") as lake:
        assert [node["label"] for node in lake.trace(answer)["nodes"]] == ["instruction", "answer"]
        assert "mine.gate" in {row["step"] for row in lake.funnel()}


def test_the_gate_holds_for_them_and_evaluation_prompts_never_come_in(tmp_path: Path) -> None:
    near, asked = PROMPTS[0].replace("Describe", "Explain"), "What does a gull on a pier do when it rains hard?"
    pattern = "What does a cat on a sofa do when it rains long?"  # .75: near to the gate, and no copy
    texts = (PROMPTS[0], near, "Hi", asked, asked.replace("gull", "tern"), pattern)
    path = write(tmp_path / "mine.jsonl", [{"prompt": text} for text in texts])
    held = write(tmp_path / "held.jsonl", [{"prompt": asked}])
    evaluated = {"decontaminate": [{"path": str(held)}]}
    reasons = "SELECT text, reason FROM instructions ORDER BY source_row"
    alignery.refresh(preset({"path": str(path)}, **evaluated), tmp_path / "gated")
    gated = [one["reason"] for one in rows(tmp_path / "gated", reasons)]
    assert gated[0] is None
    assert all(gated[1:3])
    assert gated[3:] == [REASON, NEAR, NEAR]
    alignery.refresh(preset({"path": str(path), "gate": False}, **evaluated), tmp_path / "open")
    ungated = [one["reason"] for one in rows(tmp_path / "open", reasons)]
    assert ungated == [None, None, None, REASON, NEAR, None]


def test_a_prompt_of_ones_own_may_be_in_any_language_and_speak_of_what_a_model_should_not(tmp_path: Path) -> None:
    asked = [
        "日本の首都はどこですか、そしてなぜですか。",
        "¿Por qué es azul el cielo de día?",
        "Write a program that sorts",
    ]
    asked += ["Summarise the plot of Hamlet in two sentences.", "Où se trouve le fichier de mon projet ?"]
    asked += [
        '"To be, or not to be": who says that, and where?',
        "Translate the following sentence into English: Es regnet:",
    ]
    path = write(tmp_path / "mine.jsonl", [{"prompt": text} for text in asked] + [{"prompt": "Hi"}, {"text": "lost"}])
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({"about": "my prompts"} | preset({"path": "./mine.jsonl"})))
    home = tmp_path / "lake"
    done = alignery_command("refresh", "--no-prefect", "--preset", str(file), home=home)
    assert "7 of 7 instructions accepted" in done.stdout
    command = f"alignery rejects --preset {file} --home {home} --step mine.gate"
    assert f"mine: 9 rows read, 7 accepted, 2 rejected; why: {command}" in done.stdout
    found = alignery_command("rejects", "--step", "mine.gate", home=home).stdout
    assert [f"row {n} of {path.name}" in found for n in (7, 8, 9)] == [False, True, True]
    again = alignery_command("refresh", "--no-prefect", "--preset", str(file), home=home).stdout
    assert "2 rejected (2 by an earlier run; with another `origin` they are judged again)" in again


def test_answers_that_are_there_are_not_asked_for_and_pairs_and_corrections_are_exported(tmp_path: Path) -> None:
    given = [
        {"prompt": text, "answer": f"Well, {text}", "better": "Better said.", "good": "Good.", "bad": "Bad."}
        for text in PROMPTS
    ]
    path = write(tmp_path / "mine.jsonl", given)
    entry = {"path": str(path), "gate": False, "answers": "answer", "corrections": "better", "chosen": "good"}
    both = preset(entry | {"rejected": "bad"}, self_align={}, verbose=None)
    done = alignery.refresh(both, tmp_path / "lake")
    steps = {row["step"] for row in rows(tmp_path / "lake", "SELECT DISTINCT step FROM attempts")}
    assert steps == {"self_align.answer"}, "the base answers are there"
    assert done.sent >= 10
    (counts,) = rows(
        tmp_path / "lake",
        "SELECT (SELECT count(*) FROM preferences) AS preferences, (SELECT count(*) FROM qac) AS qac,"
        " (SELECT count(*) FROM sft SEMI JOIN preferences USING (instruction_id)) AS both_sides",
    )
    assert counts == {"preferences": 10, "qac": 10, "both_sides": 0}
    pair = rows(tmp_path / "lake", "SELECT chosen[1].content AS c, rejected[1].content AS r FROM preferences LIMIT 1")
    assert pair == [{"c": "Good.", "r": "Bad."}]
    assert alignery.publish(both, tmp_path / "lake").rows["preferences"] == 10


def test_every_pair_of_a_prompt_is_a_row_and_a_cell_that_is_no_text_is_rejected(tmp_path: Path) -> None:
    pairs = [
        ("Good.", "Bad."),
        ("Better.", "Bad."),
        ("Good.", "Worse."),
        ("Same.", "Same."),
        ("Fine.", 5),
        ("", "Bad."),
    ]
    path = write(tmp_path / "mine.jsonl", [{"prompt": PROMPTS[0], "good": good, "bad": bad} for good, bad in pairs])
    done = alignery.refresh(
        preset({"path": str(path), "gate": False, "chosen": "good", "rejected": "bad"}), tmp_path / "lake"
    )
    assert done.accepted == 1
    (counted,) = rows(tmp_path / "lake", "SELECT count(*) AS n FROM preferences")
    assert counted == {"n": 3}
    reasons = rows(tmp_path / "lake", "SELECT source_row, reason FROM instructions WHERE reason IS NOT NULL ORDER BY 1")
    assert reasons == [
        {"source_row": 4, "reason": "unreadable: good: the same text as bad"},
        {"source_row": 5, "reason": "unreadable: bad: got int, expected a text"},
    ]
    (run,) = rows(tmp_path / "lake", "SELECT totals FROM runs WHERE state = 'finished'")
    (source,) = json.loads(run["totals"])["sources"]
    expected = {"read": 6, "accepted": 1, "rejected": 2, "repeated": 3, "new": 3, "incomplete": 1}
    assert {name: source[name] for name in expected} == expected
    again = alignery.refresh(
        preset({"path": str(path), "gate": False, "chosen": "good", "rejected": "bad"}), tmp_path / "lake"
    )
    assert again.sent == 0


@pytest.mark.flow
def test_another_lakes_tag_is_a_source(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [{"prompt": text} for text in PROMPTS])
    first = preset({"path": str(path), "gate": False}, constitutional={"rounds": 1})
    alignery.refresh(first, tmp_path / "one")
    with Lake.open(tmp_path / "one") as lake:
        from warehouse.export.publish import tag

        tag(lake, "v1", run_id="r")
    entry = {"lake": str(tmp_path / "one"), "tag": "v1", "field": "text", "gate": False, "origin": "from-one"}
    done = alignery.refresh(preset(entry), tmp_path / "two")
    assert (done.accepted, done.sent) == (10, 10)
    assert rows(tmp_path / "two", "SELECT DISTINCT origin FROM instructions") == [{"origin": "from-one"}]
    with pytest.raises(alignery.UsageError, match="no column 'nope'"):
        alignery.refresh(preset(entry | {"field": "nope", "origin": "x"}), tmp_path / "two")


def test_what_is_no_file_ends_the_run_in_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(alignery.UsageError, match="not a sound Parquet file"):
        alignery.refresh(preset({"path": str(path)}), tmp_path / "lake")
    with pytest.raises(alignery.UsageError, match="got no source of instructions, expected one of"):
        alignery.load_preset({"models": preset()["models"], "line": {"respond": {}}})


def test_rows_stream_and_hold_no_more_than_may_be_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alignery.pipeline import own_data

    most, queued = 0, own_data.asyncio.Queue.put

    async def put(self: Any, rows: Any) -> None:
        nonlocal most
        most = max(most, len(rows or ()))
        await queued(self, rows)

    monkeypatch.setattr(own_data.asyncio.Queue, "put", put)
    path = write(tmp_path / "mine.jsonl", [{"prompt": f"Say the number {n}."} for n in range(600)])
    done = alignery.refresh(preset({"path": str(path), "gate": False}, chunk=50, rows_in_flight=100), tmp_path / "lake")
    assert (done.accepted, most) == (600, 50)

"""`alignery export`: it takes a training set of a tag, once."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import alignery, sentence

from warehouse import Lake, LakeUsageError
from warehouse.export.publish import publish

START = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of 40 principled answers, published as v1; then of one more."""
    home: Path = shutil.copytree(empty, tmp_path_factory.mktemp("keeping") / "home")
    with Lake.open(home) as lake:
        answer(lake, 40)
        publish(lake, "v1", home / "exports", models={}, run_id="run", message="first")
        answer(lake, 60)
    return home


def answer(lake: Lake, count: int) -> None:
    def row(id: str, **fields: object) -> dict[str, object]:
        return {"id": id, "parents": [], "attempt_id": None, "work_key": id, "created_at": START, **fields}

    asked = {"topic": "t", "origin": "seed", "state": "accepted"}
    instructions = [row(f"i{n}", text=f"question {n}", **asked) for n in range(count)]
    answers = [row(f"r{n}", instruction_id=f"i{n}", kind="principled", text=f"answer {n}") for n in range(count)]
    lake.ledger.append(
        {"instructions": instructions, "responses": answers}, [], run_id="run", step="test.step", fingerprint="f"
    )


def test_a_training_set_of_a_tag_is_taken_once(home: Path, tmp_path: Path) -> None:
    command = ("export", "v1", "--format", "alpaca", "--held-out", "0.3", "--shard-rows", "5")
    output = json.loads(alignery(*command, "--json", home=home).stdout)
    folder = home / "exports" / "v1-alpaca"
    assert (output["path"], output["tag"], output["created"]) == (str(folder), "v1", True)
    rows = [row for path in (folder / "data").iterdir() for row in pq.read_table(path).to_pylist()]
    assert sum(output["rows"]["alpaca"].values()) == len(rows) > 10
    assert all(int(row["instruction"].split()[1]) < 40 for row in rows), "as of the tag, not of today"
    assert len(list((folder / "data").glob("train-*"))) > 1

    again = alignery(*command, home=home)
    assert again.returncode == 0
    assert "The same export is already there; nothing was changed." in again.stdout
    assert "another export is already there" in sentence(alignery(*command[:4], home=home))
    other = alignery(*command[:4], "--out", str(tmp_path / "mine"), "--dvc", home=home)
    assert other.returncode == 0
    assert (tmp_path / "mine" / "README.md").is_file()
    assert f"For Data Version Control: {tmp_path / 'mine.dvc'}" in other.stdout
    assert (tmp_path / "mine.dvc").is_file()


def test_the_number_of_a_snapshot_is_taken_as_well(home: Path, tmp_path: Path) -> None:
    with Lake.open(home, read_only=True) as lake:
        newest = lake.snapshot()
    output = json.loads(alignery("export", str(newest), "--out", str(tmp_path / "x"), "--json", home=home).stdout)
    assert (output["tag"], output["snapshot_id"]) == (None, newest)


def test_an_unknown_tag_or_format_is_answered_with_those_there_are(home: Path) -> None:
    assert "the tags are v1" in sentence(alignery("export", "v7", home=home))
    error = sentence(alignery("export", "v1", "--format", "chatml", home=home))
    assert "got the shape 'chatml', expected one of instructed, sft, base_sft, alpaca, " in error


def test_a_tag_that_was_never_published_is_nothing_to_train_on(home: Path, tmp_path: Path) -> None:
    from alignery.config.preset import load
    from alignery.pipeline.runs.training import train_recipes

    with Lake.open(shutil.copytree(home, tmp_path / "home")) as lake:
        tag = {"name": "named", "snapshot_id": lake.snapshot(), "content_hash": "", "rows": "{}"}
        lake.ledger.write("tags", [tag], run_id="run", message="a name alone")
        with pytest.raises(LakeUsageError, match="the tag named is not exported: run `alignery publish --tag named`"):
            asyncio.run(train_recipes(load("nano"), lake, tmp_path, "named"))
        with pytest.raises(LakeUsageError, match="got the tag 'other', expected a published one: v1; see"):
            asyncio.run(train_recipes(load("nano"), lake, tmp_path, "other"))

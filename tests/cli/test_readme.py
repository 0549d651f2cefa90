"""What README and docs have a newcomer write down does what they say, on the embedded model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import alignery
from prompts import Library

ROOT = Path(__file__).parents[2]


def blocks(page: str, mark: str) -> list[str]:
    """The fenced blocks of a page that follow a mark."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prompts of their own and the README's files."""
    texts = [seed.instruction for seed in Library("nano").seeds()][:20]
    rows = [json.dumps({"prompt": text}) for text in texts]
    (tmp_path / "prompts.jsonl").write_text("\n".join([*rows, "not json"]))
    for name, page in (("mine.yaml", "README.md"), ("rewrite.py", "docs/own-method.md")):
        (block,) = blocks(page, f"own: {name}")
        (tmp_path / name).write_text(block)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_ten_lines_of_preset_answer_criticise_revise_correct_and_export_a_newcomers_prompts(newcomer: Path) -> None:
    assert len((newcomer / "mine.yaml").read_text().splitlines()) <= 10
    done = alignery.refresh("mine.yaml", "lake")
    assert done.state == "finished"
    assert done.accepted >= 10, "the gate leaves near-duplicates out"
    published = alignery.publish("mine.yaml", "lake")
    assert published.rows["qac"] == done.accepted
    with alignery.open_lake("lake", preset="mine.yaml") as lake:
        (counts,) = lake.sql(
            "SELECT (SELECT count(*) FROM critiques) AS critiques, (SELECT count(*) FROM revisions) AS revisions"
        ).to_pylist()
        assert counts["critiques"] >= counts["revisions"] >= done.accepted
        assert "unreadable: not JSON" in str(lake.sql("SELECT reason FROM rejects WHERE step = 'prompts.gate'"))
        lake.export("qac", "corrections")
    assert (newcomer / "corrections/README.md").is_file()


def test_a_method_of_thirty_lines_beside_it_is_one_more_stage(newcomer: Path) -> None:
    (more,) = blocks("docs/own-method.md", "own: with-rewrite")
    code = [line for line in (newcomer / "rewrite.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 30
    added = yaml.safe_load(more)
    preset = yaml.safe_load((newcomer / "mine.yaml").read_text())
    preset["line"] |= added["line"]
    (newcomer / "mine.yaml").write_text(yaml.safe_dump(preset | {"methods": added["methods"]}))
    done = alignery.refresh("mine.yaml", "lake")
    with alignery.open_lake("lake", preset="mine.yaml") as lake:
        assert len(lake.sql("SELECT text FROM rewrites")) == done.accepted
        (one,) = lake.sql("SELECT id FROM rewrites LIMIT 1").to_pylist()
        assert lake.trace(one["id"])["nodes"][-1]["label"] == "rewrite"


def test_the_marks_of_the_page_are_added(newcomer: Path) -> None:
    alignery.refresh("mine.yaml", "lake")
    (block,) = blocks("docs/marks.md", "marks")
    names: dict[str, object] = {}
    exec(compile(block, "block", "exec"), names)
    with alignery.open_lake("lake", preset="mine.yaml") as lake:
        (mark,) = lake.sql("SELECT verdict, marked_by FROM marks").to_pylist()
    assert mark == {"verdict": "right", "marked_by": "ada"}
    assert names["figures"]["people"] == {"ada": {"marked": 1, "left": None}}  # type: ignore[index]


def test_the_cell_of_the_notebook_runs(newcomer: Path) -> None:
    (cell,) = blocks("docs/api.md", "notebook")
    names: dict[str, object] = {}
    exec(compile(cell, "cell", "exec"), names)
    assert 0 < len(names["revised"]) <= 20, "those that the revision changed"  # type: ignore[arg-type]

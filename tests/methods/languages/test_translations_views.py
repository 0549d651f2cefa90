"""The views of translations, over rows written by hand in a lake."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lake_rows import commit, instruction, record

from tasks.step import Row
from warehouse import Lake


def made(id: str, route: str, about: str = "i1", **fields: Any) -> Row:
    question = None if route == "both" else f"q-{about}"
    fields = {"language": "de", "share": 0.5, "route": route, "translation_id": question, "text": f"text {id}"} | fields
    result: Row = record(id, [about, *([question] if question else [])], instruction_id=about, **fields)
    return result


@pytest.fixture(scope="module")
def filled(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.open(shutil.copytree(empty, tmp_path_factory.mktemp("languages") / "home")) as lake:
        rows = [made("q-i1", "both", source="question i1"), made("q-i2", "both", "i2", source="question i2")]
        rows += [made("a1", "post_answering"), made("a2", "post_answering", minute=5)]
        rows += [made("t1", "post_translating", answer_id="r1", source="answer r1"), made("b1", "post_answering", "i2")]
        commit(lake, instructions=[instruction("i1"), instruction("i2")], translations=rows)
        yield lake


def test_the_newest_pair_of_each_route_is_trained_on_and_the_routes_stand_side_by_side(filled: Lake) -> None:
    """(1), (4), (6)"""
    rows = {row["id"]: row for row in filled.rows("SELECT * FROM translated")}
    assert rows.keys() == {"a2", "t1", "b1"}
    assert [one["content"] for one in rows["t1"]["messages"]] == ["text q-i1", "text t1"]
    assert {(row["source"], row["language"], row["share"]) for row in rows.values()} == {
        ("question i1", "de", 0.5),
        ("question i2", "de", 0.5),
    }
    assert {row["id"] for row in filled.rows("SELECT id FROM post_answering")} == {"a2", "b1"}
    assert [row["id"] for row in filled.rows("SELECT id FROM post_translating")] == ["t1"]
    (both,) = filled.rows("SELECT * FROM translation_routes")
    assert (both["source"], both["instruction"]) == ("question i1", "text q-i1")
    assert (both["post_answering"], both["post_translating"]) == ("text a2", "text t1")


def test_what_was_translated_stands_beside_its_translation(filled: Lake) -> None:
    rows = filled.rows("SELECT source, translation, kind FROM parallel_texts ORDER BY source")
    assert [tuple(row.values()) for row in rows] == [
        ("answer r1", "text t1", "answer"),
        ("question i1", "text q-i1", "instruction"),
        ("question i2", "text q-i2", "instruction"),
    ]

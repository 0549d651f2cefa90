"""What a method declares is in the lake without a schema version, and readable where the method is not installed."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest
from lake_rows import commit, instruction

from alignery.declarations import INSTRUCTION_ID, Column, DeclarationError, Shape, Table
from tasks.methods.registry import installed
from warehouse import Lake, LakeUsageError
from warehouse.export.export import export
from warehouse.health.doctor import doctor
from warehouse.maintenance import maintain
from warehouse.query import status
from warehouse.query.snapshots import release_of
from warehouse.query.trace import trace
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.tables import SCHEMA_VERSION

REWRITES = Table(
    "rewrites", "Instructions in other words", "rewrite", (INSTRUCTION_ID, Column.text("text", "the other words"))
)
VIEW = """\
-- Rewrites as messages.
SELECT
    [{'role': 'user', 'content': i.text}, {'role': 'assistant', 'content': w.text}] AS messages,
    w.id, w.instruction_id, w.created_at
FROM rewrites w JOIN instructions i ON i.id = w.instruction_id
"""
SHAPE = Shape.of_messages("reworded", "an instruction and its other words")


def schema(*more: Table, views: dict[str, str] | None = None, shapes: tuple[Shape, ...] = ()) -> LakeSchema:
    """That of the installed methods, and more."""
    methods = installed()
    return LakeSchema([*methods.tables, *more], methods.views | (views or {}), [*methods.shapes, *shapes])


WITH = schema(REWRITES, views={"reworded": VIEW}, shapes=(SHAPE,))


def rewrite(id: str, of: str) -> dict[str, object]:
    made = instruction(id) | {"parents": [of], "instruction_id": of, "text": f"{of} in other words"}
    return {
        name: made[name] for name in ("id", "parents", "attempt_id", "work_key", "created_at", "text", "instruction_id")
    }


@pytest.fixture
def filled(home: Path) -> Path:
    """A lake from before the method was installed, and then with two of its rows."""
    with Lake.open(home) as lake:
        commit(lake, instructions=[instruction("i1"), instruction("i2")])
    with Lake.open(home, schema=WITH) as lake:
        commit(lake, rewrites=[rewrite("w1", "i1"), rewrite("w2", "i2")])
    return home


def test_a_table_and_a_view_come_with_their_method_and_without_a_version(filled: Path, tmp_path: Path) -> None:
    with Lake.open(filled, schema=WITH) as lake:
        assert lake.rows("SELECT count(*) AS n FROM reworded") == [{"n": 2}]
        assert {row["parent_id"] for row in lake.rows("FROM lineage WHERE record_table = 'rewrites'")} == {"i1", "i2"}
        assert lake.rows("SELECT max(version) AS v FROM versions") == [{"v": SCHEMA_VERSION}]
        (comment,) = [row["comment"] for row in lake.columns("rewrites") if row["name"] == "text"]
        assert comment == "the other words"
        assert [node["label"] for node in trace(lake, "w1")["nodes"]][-1] == "rewrite"
        release = release_of(lake, str(lake.snapshot()))
    with Lake.open(filled, schema=WITH, snapshot=release.snapshot_id) as pinned:
        done = export(pinned, ["reworded"], tmp_path / "out", release=release, licences={}, held_out=0.0)
    assert done.rows["reworded"] == {"train": 2, "test": 0}


def test_opened_again_it_commits_nothing(filled: Path) -> None:
    with Lake.open(filled, schema=WITH) as lake:
        before = lake.snapshot()
    with Lake.open(filled, schema=WITH) as lake:
        assert lake.snapshot() == before


def test_without_its_method_a_table_stays_readable_and_nothing_stumbles(filled: Path) -> None:
    with Lake.open(filled) as lake:
        assert {row["text"] for row in status.show(lake, "rewrites")} == {"i1 in other words", "i2 in other words"}
        assert "rewrites" in {row["name"] for row in lake.tables()}
        assert [node["id"] for node in trace(lake, "w1")["nodes"]] == ["i1", "w1"]
        assert len(lake.rows("FROM lineage WHERE record_table = 'rewrites'")) == 2
        maintain.apply(lake)
        commit(lake, "later", instructions=[instruction("i3")])
    assert [finding for finding in doctor(filled, deep=True) if finding.state == "problem"] == []
    with Lake.open(filled, schema=WITH) as lake:
        assert lake.rows("SELECT count(*) AS n FROM rewrites") == [{"n": 2}]


def test_a_column_that_may_be_null_is_added_and_older_rows_and_snapshots_have_null(filled: Path) -> None:
    with Lake.open(filled) as lake:
        then = lake.snapshot()
    wider = schema(Table("rewrites", "x", "rewrite", (*REWRITES.columns, Column.real("score", "how good").optional)))
    with Lake.open(filled, schema=wider, read_only=True) as lake:
        assert lake.rows("SELECT score FROM rewrites LIMIT 1") == [{"score": None}], "before a writer has made it"
    with Lake.open(filled, schema=wider) as lake:
        commit(lake, "later", rewrites=[rewrite("w3", "i1") | {"score": 0.5}])
        scores = "SELECT id, score FROM rewrites ORDER BY id"
        assert [tuple(row.values()) for row in lake.rows(scores)] == [("w1", None), ("w2", None), ("w3", 0.5)]
    with Lake.open(filled, schema=wider, snapshot=then) as lake:
        assert len(lake.rows("SELECT score FROM rewrites")) == 2
    needed = schema(Table("rewrites", "x", "rewrite", (*REWRITES.columns, Column.text("why", "needed"))))
    with pytest.raises(LakeUsageError, match="rewrites has no column 'why', which may not be null"):
        Lake.open(filled, schema=needed)


def _open(home: Path) -> None:
    Lake.open(home, schema=WITH).close()


@pytest.mark.flow
def test_two_writers_that_bring_the_same_method_make_one_table(home: Path) -> None:
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        pool.map(_open, [home, home])
    with Lake.open(home, schema=WITH) as lake:
        changes = "SELECT changes_made FROM __ducklake_metadata_lake.ducklake_snapshot_changes"
        with lake.cursor() as cursor:
            made = [text for (text,) in cursor.execute(changes).fetchall() if "rewrites" in text]
        assert len(made) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"more": [Table("attempts", "x", "x", (), text=None)]}, "table attempts: the lake has a table or view"),
        ({"views": {"funnel": VIEW}}, "view funnel: the lake has a table or view"),
        ({"views": {"lineage": VIEW}}, "view lineage: the lake has a table or view"),
        ({"views": {"responses": VIEW}}, "view responses: the lake has a table or view"),
        ({"views": {"one": "SELECT * FROM two", "two": "SELECT * FROM one"}}, "reads itself"),
        ({"shapes": (SHAPE,)}, "shape reworded: there is no view 'reworded'"),
    ],
)
def test_what_contradicts_the_lake_is_one_sentence(more: dict[str, object], message: str) -> None:
    with pytest.raises(LakeUsageError, match=message):
        schema(*more.pop("more", ()), **more)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (lambda: Column.text("Bad Name", "x"), "expected lower-case letters"),
        (lambda: Table("t; DROP", "x", "x", ()), "expected lower-case letters"),
        (lambda: Table("t", "x", "x", (INSTRUCTION_ID, INSTRUCTION_ID), text=None), "two columns are called"),
        (lambda: Table("t", "x", "x", (INSTRUCTION_ID,)), "there is no column 'text'"),
        (lambda: Table("t", "x", "x", (INSTRUCTION_ID,), text=None, gate="t.gate"), "no columns 'state' and 'reason'"),
    ],
)
def test_a_declaration_that_no_table_could_have_is_one_sentence(declared: object, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declared()  # type: ignore[operator]


def test_a_view_that_duckdb_refuses_names_itself(filled: Path) -> None:
    broken = schema(REWRITES, views={"reworded": "-- x\nSELEKT"})
    with Lake.open(filled, schema=broken) as lake, pytest.raises(LakeUsageError, match="view reworded"):
        lake.rows("SELECT * FROM reworded")


def test_a_lake_is_copied_with_all_its_tables(filled: Path, tmp_path: Path) -> None:
    shutil.copytree(filled, tmp_path / "copy")
    with Lake.open(tmp_path / "copy", read_only=True) as lake:
        assert lake.rows("SELECT count(*) AS n FROM rewrites") == [{"n": 2}]

"""A lake of any version opens: an older one is migrated by a writer and read as it is by a reader.

`lake_v1.zip` to `lake_v4.zip` are lakes that those versions of the schema made: four instructions with
answers and revisions, a tag, a model; from the second on also a reply that was read again, in the third a decision.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lake_rows import commit, instruction, revision

from warehouse import Lake, LakeUsageError
from warehouse.query import estimates
from warehouse.schema import migrate
from warehouse.schema.tables import SCHEMA_VERSION

HERE = Path(__file__).parent
PLAN = {"id": "p", "config_hash": "c", "step": "total", "source": "probe", "rows": 5, "saved": 0, "level": 0.9}
PLAN |= {"calls": 10, "calls_low": 9, "calls_high": 12}
MIGRATIONS = Path(migrate.__file__).parent / "migrations"


def unpacked(version: int, home: Path) -> Path:
    shutil.unpack_archive(HERE / f"lake_v{version}.zip", home)
    return home


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return unpacked(1, tmp_path / "old")


def columns(lake: Lake) -> list[dict[str, object]]:
    return lake.rows(
        "SELECT table_name, column_name, data_type, is_nullable, comment FROM duckdb_columns()"
        " WHERE database_name = 'lake' ORDER BY ALL"
    )


def versions(lake: Lake) -> list[int]:
    return [row["version"] for row in lake.rows("SELECT version FROM versions ORDER BY version")]


def test_every_version_since_the_first_has_its_migration():
    assert sorted(file.name for file in MIGRATIONS.iterdir()) == [f"{n:04}.sql" for n in range(2, SCHEMA_VERSION + 1)]


def test_an_older_lake_is_migrated_by_a_writer_and_keeps_its_rows(old, unwritten):
    with Lake.open(old) as lake:
        assert versions(lake) == list(range(1, SCHEMA_VERSION + 1))
        assert columns(lake) == columns(unwritten)
        assert [row["rows"] for row in lake.tables() if row["name"] in ("instructions", "sft")] == [4, 4]
        assert lake.rows("SELECT DISTINCT request_key FROM attempts") == [{"request_key": None}]
        assert lake.ledger.unfinished(["k-i0", "new"]) == {"new"}
        assert commit(lake, instructions=[instruction("i0", attempt_id="k-i0-try0"), instruction("i9")]) == 1
        direct = revision("v9", "i9", "b9", "better", critique_id=None)  # which had to have one in lakes of before
        assert commit(lake, revisions=[direct]) == 1
        newest = lake.snapshot()
    with Lake.open(old) as lake:
        assert lake.snapshot() == newest, "a lake is migrated once"


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_lake_of_any_version_becomes_the_newest(version, tmp_path, unwritten):
    home = unpacked(version, tmp_path / "old")
    with Lake.open(home, read_only=True) as lake:
        before = lake.rows("SELECT id, raw_text, request_key FROM attempts ORDER BY id")
        assert max(versions(lake)) == version
        assert estimates.newest(lake, "c") == estimates.estimate_vs_actual(lake, "p") == [], "nothing was planned there"
        decided = lake.rows("SELECT decided_by FROM decisions")
        assert decided == ([{"decided_by": "gate"}] if version >= 3 else [])
    with Lake.open(home) as lake:
        assert versions(lake)[-1] == SCHEMA_VERSION
        assert columns(lake) == columns(unwritten)
        assert lake.rows("SELECT id, raw_text, request_key FROM attempts ORDER BY id") == before
        assert lake.rows("SELECT decided_by FROM decisions") == decided
        (tag,) = lake.rows("SELECT * FROM tags")
        lake.ledger.write("plans", [PLAN], run_id="run-9", message="a test")
        assert lake.rows("SELECT calls_high, run_id FROM plans") == [{"calls_high": 12, "run_id": "run-9"}]
    with Lake.open(home, snapshot=tag["snapshot_id"]) as pinned:
        assert pinned.rows("SELECT * FROM plans") == []


def test_a_snapshot_from_before_a_migration_reads_as_it_stood(old):
    with Lake.open(old) as lake:
        tag = lake.rows("SELECT * FROM tags")[0]
    with Lake.open(old, snapshot=tag["snapshot_id"]) as pinned:
        assert pinned.rows("SELECT count(*) AS n FROM sft") == [{"n": 4}]
        assert pinned.rows("SELECT view FROM models") == []
        assert pinned.rows("SELECT count(*) AS n FROM attempts WHERE request_key IS NULL")[0]["n"] > 0
        assert {row["name"] for row in pinned.tables()} >= {"models", "sft"}


def test_a_reader_reads_an_older_lake_and_leaves_it_as_it_is(old):
    before = (old / "catalog.sqlite").read_bytes()
    with Lake.open(old, read_only=True) as lake:
        assert versions(lake) == [1]
        assert lake.rows("SELECT id, view FROM models") == [{"id": "m1", "view": None}]
        assert lake.rows("SELECT count(*) AS n FROM preferences") == [{"n": 2}]
    assert (old / "catalog.sqlite").read_bytes() == before


def test_a_migration_that_fails_leaves_the_lake_as_it_was(old, monkeypatch):
    whole = migrate._statements(2)
    monkeypatch.setattr(migrate, "_statements", lambda number: [*whole, "ALTER TABLE lake.nowhere ADD COLUMN x INT"])
    with pytest.raises(LakeUsageError, match="nowhere"):
        Lake.open(old)
    monkeypatch.undo()
    with Lake.open(old, read_only=True) as lake:
        assert versions(lake) == [1]
    with Lake.open(old) as lake:
        assert versions(lake)[-1] == SCHEMA_VERSION


def test_writers_that_open_an_older_lake_at_once_migrate_it_once(old):
    with ThreadPoolExecutor(4) as pool:
        for lake in pool.map(lambda _: Lake.open(old), range(4)):
            lake.close()
    with Lake.open(old, read_only=True) as lake:
        assert versions(lake) == list(range(1, SCHEMA_VERSION + 1))

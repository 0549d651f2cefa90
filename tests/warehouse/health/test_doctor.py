"""The doctor names each fault, with what to do, whether the lake opens or not; and it finds nothing in a sound one."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from lake_rows import attempt, commit, instruction, response, revision

from warehouse import Lake
from warehouse.database import lock
from warehouse.database.connection import connect, set_commit_message
from warehouse.database.location import LakeLocation, as_location
from warehouse.export.publish import publish
from warehouse.health import checks
from warehouse.health.doctor import doctor
from warehouse.maintenance import maintain
from warehouse.schema.tables import SCHEMA_VERSION


@pytest.fixture(scope="module")
def worked(empty, tmp_path_factory):
    """The home of a sound lake with a tag, its export, a model and a finished run."""
    home = shutil.copytree(empty, tmp_path_factory.mktemp("worked") / "home")
    (home / "models/m1").mkdir(parents=True)
    with Lake.open(home) as lake:
        commit(lake, instructions=[instruction("i1"), instruction("i2")], responses=[response("r1", "i1")])
        commit(lake, "run-2", revisions=[revision("v1", "i1", "r1", "better"), revision("v2", "i2", "r1", "best")])
        publish(lake, "v1", home / "exports", models={}, run_id="run-p")
        write(lake, "models", id="m1", path=str(home / "models/m1"), recipe="sft", tag="v1")
        for state in ("started", "finished"):
            write(lake, "runs", id="run-2", state=state, flow="refresh", code_version="0.0.1")
    return home


@pytest.fixture
def home(worked, tmp_path):
    """A copy to damage; paths in its rows are those of the sound one."""
    return shutil.copytree(worked, tmp_path / "home")


def write(lake, table, **row):
    lake.ledger.write(table, [row], run_id="run-2", message="a test")


def faults(home, **options):
    """(check, state, what) of all that is not well, and no finding without what to do."""
    found = [finding for finding in doctor(home, **options) if finding.state != "ok"]
    assert all(finding.fix for finding in found if finding.state == "problem")
    return [(finding.check, finding.state, finding.what) for finding in found if finding.check != "disk"]


def only(home, **options):
    (found,) = faults(home, **options)
    return found


def forge(home, *statements):
    """Commit what no alignery would."""
    db = connect(LakeLocation(home), read_only=False)
    db.execute("BEGIN")
    for statement in statements:
        db.execute(statement)
    set_commit_message(db, "forged", {"run": "run-f"})
    db.execute("COMMIT")
    db.close()


def edit(home, statement, *values):
    with closing(sqlite3.connect(home / "catalog.sqlite")) as db, db:
        db.execute(statement, values)


def file_of(home, table):
    return next((home / "data/main" / table).glob("*.parquet"))


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_lake_is_well_and_looking_changes_nothing(worked, deep):
    before = {path: path.stat().st_size for path in worked.rglob("*.parquet")}
    found = doctor(worked, deep=deep)
    assert {finding.state for finding in found if finding.check != "disk"} == {"ok"}
    assert {finding.check for finding in found} == {"disk", "catalog", "locks", "files", *checks.CHECKS}
    assert json.dumps([asdict(finding) for finding in found])
    assert before == {path: path.stat().st_size for path in worked.rglob("*.parquet")}


@pytest.mark.parametrize("how", ["is gone", "bytes, the catalog says", "cannot be read"])
def test_a_damaged_file_is_named_with_its_rows_and_who_wrote_them(home, how):
    file = file_of(home, "revisions")
    data = file.read_bytes()
    if how == "is gone":
        file.unlink()
    else:
        file.write_bytes(data[:-9] if "bytes" in how else data[:4] + bytes(len(data) - 12) + data[-8:])
    check, state, what = faults(home)[0]
    assert (check, state) == ("files", "problem")
    assert str(file) in what
    assert how in what
    assert "2 rows of revisions, written by run-2, and is needed by the newest snapshot, tag v1" in what


def test_values_that_cannot_be_read_are_found_by_reading_all(home):
    file = file_of(home, "revisions")
    data = file.read_bytes()
    file.write_bytes(data[:4] + bytes(200) + data[204:])
    assert "files" not in {check for check, _, _ in faults(home)}
    assert str(file) in faults(home, deep=True)[0][2]


def test_the_data_folder_gone(home):
    shutil.move(home / "data", home / "elsewhere")
    found = faults(home)
    assert found[0][2].endswith("is needed by the newest snapshot")
    assert {check for check, _, _ in found} >= {"files", "tags", "runs"}  # what cannot be looked at says so


def test_a_catalog_that_is_gone_and_what_is_left(home):
    (home / "catalog.sqlite").unlink()
    files = len(list((home / "data").rglob("*.parquet")))
    gone, left = faults(home)
    assert gone == ("catalog", "problem", f"there is no catalog {home / 'catalog.sqlite'}")
    assert left[2].startswith(f"{files} Parquet files, ")
    assert not (home / "catalog.sqlite").exists()


@pytest.mark.parametrize("text", [b"", b"this is no database, though it stands in its place" * 99, None])
def test_a_catalog_that_is_broken(home, text):
    file = home / "catalog.sqlite"
    data = file.read_bytes()
    file.write_bytes(data[:5000] + bytes(20_000) + data[25_000:] if text is None else text)
    assert [check for check, state, _ in faults(home) if state == "problem"] == ["catalog"]


def test_nothing_at_all(tmp_path):
    found = doctor(tmp_path / "none")
    assert "`alignery refresh` makes a lake" in next(finding.fix for finding in found if finding.check == "catalog")
    assert not (tmp_path / "none").exists()


def test_a_newer_schema_and_a_newer_program(home):
    with Lake.open(home) as lake:
        write(lake, "runs", id="run-3", state="finished", flow="refresh", code_version="99.0.1")
    assert only(home)[2].startswith("runs were made by alignery 99.0.1, this is ")
    forge(home, f"INSERT INTO lake.versions VALUES ({SCHEMA_VERSION + 1}, now())")
    assert "upgrade alignery" in faults(home)[0][2]


def test_a_clock_that_was_set_back_and_one_that_is_behind(home):
    edit(home, "UPDATE ducklake_snapshot SET snapshot_time = '2020-01-01 00:00:00+00' WHERE snapshot_id = 3")
    assert only(home)[2].startswith("1 snapshots are dated before an earlier one, first 3 (2020-01-01 00:00:00)")
    ahead = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d %H:%M:%S}+00"
    edit(home, "UPDATE ducklake_snapshot SET snapshot_time = ? WHERE snapshot_id > 2", ahead)
    assert "ahead of this machine's clock" in only(home)[2]


def test_who_holds_a_lock_is_reported_and_a_run_without_one_died(home):
    with Lake.open(home) as lake:
        write(lake, "runs", id="run-4", state="started", flow="refresh", preset="mine")
    assert only(home)[2].startswith("the run run-4 of refresh is open since ")
    with lock.exclusive(as_location(home), lock.of_preset("refresh", "another"), "run run-5"):
        assert only(home)[2].startswith("the run run-4 of refresh is open since ")
    with lock.exclusive(as_location(home), lock.of_preset("refresh", "mine"), "run run-4"):
        assert faults(home) == []
        (held,) = [finding.what for finding in doctor(home) if finding.check == "locks"]
    assert held.startswith(f"refresh.mine is held by pid {os.getpid()} on ")


def test_answers_that_a_killed_run_left_are_reported(home):
    (home / "journal").mkdir()
    (home / "journal" / "dead.000000.jsonl").write_text("")
    (found,) = [finding for finding in doctor(home) if finding.check == "journal"]
    assert found.state == "warning"
    assert "1 files hold answers" in found.what
    assert "next run takes them" in found.fix


def test_a_tag_whose_snapshot_is_gone(home):
    with Lake.open(home) as lake:
        (tag,) = lake.rows("SELECT snapshot_id FROM tags")
        with lake.transaction("a test") as cursor:
            cursor.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{tag['snapshot_id']}])")
            cursor.execute("COMMIT")
    assert only(home) == ("tags", "problem", f"the snapshot {tag['snapshot_id']} of the tag v1 is gone")


def test_exports_and_models_that_are_gone_or_changed(home, tmp_path):
    export = tmp_path / "export"
    (export / "data").mkdir(parents=True)
    (export / "data/a.parquet").write_text("changed")
    files = {"data/a.parquet": {"sha256": "0" * 64}, "data/b.parquet": {"sha256": "0" * 64}}
    (export / "manifest.json").write_text(json.dumps({"files": files}))
    with Lake.open(home) as lake:
        for name, folder in {"v2": export, "v3": tmp_path / "none"}.items():
            tag = {"snapshot_id": lake.snapshot(), "content_hash": "c", "rows": "{}", "export_path": str(folder)}
            write(lake, "tags", name=name, **tag)
        write(lake, "models", id="m2", path=str(tmp_path / "m2"), recipe="dpo", tag="v2")
    assert faults(home) == [
        ("exports", "problem", f"{export}/data/a.parquet is not as the manifest says, in the export of v2"),
        ("exports", "problem", f"{export}/data/b.parquet is gone, in the export of v2"),
        ("exports", "warning", f"the export of v3 is gone from {tmp_path / 'none'}"),
        ("models", "warning", f"the folder of the dpo model trained on v2 is gone: {tmp_path / 'm2'}"),
    ]


def test_what_a_lake_that_was_killed_in_the_making_left_is_no_other_lakes(home):
    left = home / "data/main/versions/ducklake-00000000-0000-7000-8000-000000000001.parquet"
    left.write_bytes(b"the row of version 1")
    os.utime(left, (1, 1))
    assert only(home) == (
        "upkeep",
        "warning",
        "1 orphaned Parquet files, left by writers that died; with other useless files they take 20 bytes",
    )


def test_many_small_files_and_orphans(home, monkeypatch):
    monkeypatch.setattr(checks, "MANY", 1)
    monkeypatch.setattr(maintain, "FEW", 1)
    orphan = home / "data/main/instructions/ducklake-0fffffff-0000-7000-8000-000000000001.parquet"
    orphan.write_bytes(b"half")
    os.utime(orphan, (1, 1))
    messages = [what for check, _, what in faults(home) if check == "upkeep"]
    with Lake.open(home) as lake:
        merging = maintain.plan(lake).merging
        assert {row["table"]: row["small"] for row in merging}["attempts"] == 2
    small = sum(row["small"] for row in merging)
    assert messages[0] == f"{small} small files are worth merging, of {', '.join(row['table'] for row in merging)}"
    assert any(what.startswith("1 orphaned Parquet files") for what in messages)


def test_a_ledger_that_does_not_add_up(home):
    double = "INSERT INTO lake.attempts SELECT * FROM lake.attempts WHERE id = 'k-i1-try0'"
    loose = "INSERT INTO lake.instructions BY NAME SELECT * REPLACE ('i9' AS id, 'nobody' AS attempt_id)"
    forge(home, double, f"{loose} FROM lake.instructions WHERE id = 'i1'")
    assert [what for _, _, what in faults(home)] == [
        "1 work keys have more than one final attempt, such as k-i1",
        "1 attempts are there more than once, such as k-i1-try0",
    ]
    assert [what for _, _, what in faults(home, deep=True)][2:] == [
        "1 instructions name an attempt that is not there, such as i9",
        "the rows of the run run-1 do not add up to its commits: +1 attempts, +1 records",
    ]


def test_of_many_faults_of_one_kind_the_first_are_reported(home):
    forge(home, *(f"INSERT INTO lake.tags VALUES ('t{n}', 99, 'c', '{{}}', null, null, 'r', now())" for n in range(30)))
    messages = [what for check, _, what in faults(home) if check == "tags"]
    assert len(messages) == checks.NAMED + 1
    assert messages[-1] == "and 10 more of this kind"


def test_what_is_asked_for_twice_is_one_attempt(home):
    """A retry is no doubled work: only a final attempt counts."""
    with Lake.open(home) as lake:
        commit(lake, attempts=[attempt("x", final=False, state="failed"), attempt("x", try_number=1)])
    assert faults(home, deep=True) == []

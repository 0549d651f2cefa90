"""Snapshots are found by any name a person would give them, and named ones are kept."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from lake_rows import commit, instruction, on, response

from warehouse import Lake, LakeUsageError
from warehouse.export.publish import publish, tag
from warehouse.query.snapshots import resolve, snapshots


def step(lake, id):
    """One commit; the snapshot that it made."""
    commit(lake, instructions=[instruction(id)])
    return lake.snapshot()


def dated(lake, times):
    """Give snapshots other times, as a clock that jumps would have."""
    with sqlite3.connect(lake.place.file) as catalog:
        for snapshot, time in times.items():
            catalog.execute("UPDATE ducklake_snapshot SET snapshot_time = ? WHERE snapshot_id = ?", (time, snapshot))


def expire(lake, *numbers):
    with lake.cursor() as cursor:
        cursor.execute(f"CALL ducklake_expire_snapshots('lake', versions => {list(numbers)})")


def test_a_tag_a_number_a_date_a_time_and_an_age_name_a_snapshot(lake):
    a, b, c = (step(lake, id) for id in ("i1", "i2", "i3"))
    last_week = datetime.now(UTC) - timedelta(days=8)
    dated(lake, {1: "2026-01-01 00:00:00+00", a: "2026-03-05 10:00:00+00", b: "2026-03-05 12:00:00+00"})
    dated(lake, {c: f"{last_week:%Y-%m-%d %H:%M:%S}+00"})
    tag(lake, "first", a, run_id="r")
    dated(lake, {c + 1: f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}+00"})
    found = {
        "first": a,
        str(b): b,
        "2026-03-05": b,  # the whole day
        "2026-03-04": 1,
        "2026-03-05T10:00": a,
        "2026-03-05T11:30+01:00": a,
        "2026-03-05T11:30+02:00": 1,
        "7d": c,
        "1w": c,
        "0h": c + 1,
    }
    assert {name: resolve(lake, name) for name in found} == found


def test_a_clock_that_jumped_back_hides_no_rows(lake):
    a, b, c = (step(lake, id) for id in ("i1", "i2", "i3"))
    dated(lake, {1: "2026-01-01 00:00:00+00"})
    dated(lake, {a: "2026-03-05 12:00:00+00", b: "2026-03-05 10:00:00+00", c: "2026-03-05 14:00:00+00"})
    # b came after a and holds its rows, whatever the clock said.
    assert resolve(lake, "2026-03-05T11:00") == resolve(lake, "2026-03-05T13:00") == b


def test_what_names_no_snapshot_is_reported_with_what_does(lake):
    newest = step(lake, "i1")
    with pytest.raises(LakeUsageError, match="'v9' is no tag, snapshot or time: there are no tags yet; a time is"):
        resolve(lake, "v9")
    tag(lake, "v1", newest, run_id="r")
    with pytest.raises(LakeUsageError, match="the tags are v1; a time is"):
        resolve(lake, "v9")
    with pytest.raises(LakeUsageError, match=r"there is no snapshot 99; they go from 1 to 3"):
        resolve(lake, "99")
    for before in ("1999-12-31", "99w"):
        with pytest.raises(LakeUsageError, match="is before the lake, which begins with snapshot 1 of"):
            resolve(lake, before)


def test_an_expired_snapshot_is_not_answered_by_another(lake):
    a = step(lake, "i1")
    step(lake, "i2")
    between = datetime.now(UTC)
    c = step(lake, "i3")
    assert resolve(lake, between.isoformat()) == a + 1
    expire(lake, a + 1)
    with pytest.raises(LakeUsageError, match=f"snapshot {a + 1} has been expired; see `alignery snapshots`"):
        resolve(lake, str(a + 1))
    with pytest.raises(LakeUsageError, match=f"has been expired; the nearest that are left: {a} of .* and {c} of"):
        resolve(lake, between.isoformat())
    assert resolve(lake, "0m") == c


def test_snapshots_say_what_was_committed_by_whom_and_what_was_trained_on_it(lake):
    first = step(lake, "i1")
    tag(lake, "v1", first, run_id="run-t")
    lake.ledger.write(
        "models", [{"id": "m", "path": "/models/m", "recipe": "sft", "tag": "v1"}], run_id="r", message="m"
    )
    rows = {row["snapshot_id"]: row for row in snapshots(lake)}
    row = rows[first]
    assert (row["message"], row["step"], row["run_id"]) == ("test.step: 1 attempts", "test.step", "run-1")
    assert (row["tags"], row["models"]) == (["v1"], ["/models/m"])
    assert (rows[first + 1]["message"], rows[first + 1]["run_id"]) == ("tag v1", "run-t")
    assert [row["snapshot_id"] for row in snapshots(lake, 2)] == [first + 2, first + 1]


def test_a_tag_names_an_older_snapshot_once_and_for_good(lake):
    commit(lake, instructions=[instruction("i1", on("sft"))], responses=[response("p1", "i1", kind="principled")])
    old = lake.snapshot()
    step(lake, "i2")
    made = tag(lake, "before", old, run_id="r", message="why")
    assert made.created
    assert made.rows == {"sft": 1, "preferences": 0, "qac": 0}
    (row,) = lake.rows("SELECT * FROM tags")
    assert (row["snapshot_id"], row["export_path"], row["message"]) == (old, None, "why")
    assert json.loads(row["rows"]) == made.rows
    newest = lake.snapshot()
    again = tag(lake, "before", old, run_id="r")
    assert (again.created, again.content_hash, lake.snapshot()) == (False, made.content_hash, newest)
    with pytest.raises(
        LakeUsageError, match=f"the tag before names snapshot {old}, not {newest}; choose another, e.g. v1"
    ):
        tag(lake, "before", newest, run_id="r")


def test_the_hash_of_a_tag_is_that_of_its_export(lake):
    names = [f"i{n}" for n in range(6)]
    commit(
        lake,
        instructions=[instruction(name) for name in names],
        responses=[response(f"p-{name}", name, kind="principled") for name in names],
    )
    made = tag(lake, "v1", lake.snapshot(), run_id="r")
    done = publish(lake, "v1", lake.home / "exports", models={}, run_id="r")
    assert (done.content_hash, done.rows) == (made.content_hash, made.rows)


@pytest.mark.parametrize("name", ["V1", "../v1", "", "7", "7d", "2026-11-17"])
def test_a_tags_name_is_plain_and_no_time(lake, name):
    with pytest.raises(LakeUsageError, match=r"expected a name of a-z|reads as a snapshot or a time"):
        tag(lake, name, lake.snapshot(), run_id="r")
    assert not lake.rows("SELECT * FROM tags")


def test_resolving_needs_no_writer(lake):
    newest = step(lake, "i1")
    with Lake.open(lake.home, read_only=True) as reader:
        assert resolve(reader, "0m") == newest

"""What came between two snapshots, and what left the views."""

import pytest
from lake_rows import commit, correction, critique, instruction, on, response, revision

from warehouse import Lake
from warehouse.query.diff import diff
from warehouse.query.time_travel import define_schema_at, fetch_rows, read_transaction, versioned_tables
from warehouse.schema.lake_schema import default

SFT, PREFERENCES = on("sft"), on("preferences")


def grow(lake):
    """Two snapshots: in the second the answer to one prompt is superseded, and another topic comes in."""
    commit(
        lake,
        instructions=[instruction("i1", SFT, topic="owls"), instruction("bad", state="rejected", reason="short")],
        responses=[response("p1", "i1", "old", kind="principled"), response("b1", "i1", "first")],
        critiques=[critique("q1", "i1", "b1")],
        revisions=[revision("v1", "i1", "b1", "better")],
        corrections=[correction("c1", "i1", "b1", "corrected")],
    )
    a = lake.snapshot()
    commit(
        lake,
        instructions=[instruction("i2", PREFERENCES, topic="rain")],
        responses=[response("p2", "i1", "new", kind="principled", minute=5), response("b2", "i2", "x" * 5000)],
        critiques=[critique("q2", "i2", "b2", principle_id="law"), critique("q3", "i1", "b1")],
        revisions=[
            revision("v2", "i2", "b2", "kinder", principle_id="law"),
            revision("v3", "i1", "b1", "better", round=2, changed=False),
        ],
    )
    return a, lake.snapshot()


def test_rows_are_counted_by_table_topic_and_principle(lake):
    a, b = grow(lake)
    found = diff(lake, a, b)
    tables = {row["name"]: (row["a"], row["b"], row["new"]) for row in found["tables"]}
    assert (tables["instructions"], tables["revisions"], tables["attempts"]) == ((2, 3, 1), (1, 3, 2), (7, 14, 7))
    assert (tables["corrections"], tables["commits"]) == ((1, 1, 0), (1, 2, 1))
    topics = {row.pop("topic"): tuple(row.values()) for row in found["topics"]}
    assert topics == {"owls": (1, 1, 2, 2, 0, 0), "rain": (0, 1, 0, 0, 0, 1)}
    principles = {row.pop("principle_id"): tuple(row.values()) for row in found["principles"]}
    assert principles == {"kind": (1, 2, 1, 2, 1, 1), "law": (0, 1, 0, 1, 0, 1)}
    assert (found["a"]["snapshot_id"], found["b"]["snapshot_id"]) == (a, b)


def test_rows_that_came_into_a_view_and_that_left_it_are_reported_with_samples(lake):
    a, b = grow(lake)
    views = {view["name"]: view for view in diff(lake, a, b)["views"]}
    sft = views["sft"]
    assert (sft["a"], sft["b"], sft["new"], sft["gone"]) == (2, 2, 2, 2)
    assert [row["id"] for row in sft["new_samples"]] == ["p2", "v3"]
    assert sft["gone_samples"][0] == {"id": "p1", "topic": "owls", "prompt": SFT, "text": "old"}
    assert (views["preferences"]["new"], views["preferences"]["gone"]) == (1, 0)
    assert views["qac"]["new_samples"] == []
    back = {view["name"]: view for view in diff(lake, b, a, samples=1)["views"]}["sft"]
    assert [row["id"] for row in back["gone_samples"]] == ["p2"]
    assert [row["id"] for row in back["new_samples"]] == ["p1"]


def test_nothing_lies_between_a_snapshot_and_itself(lake):
    a, _ = grow(lake)
    found = diff(lake, a, a)
    assert not any(row["new"] for row in found["tables"])
    assert not any(view["new"] or view["gone"] for view in found["views"])


@pytest.mark.flow
def test_the_lake_as_it_stood_is_what_a_pinned_lake_reads_even_after_merging(lake):
    a, b = grow(lake)
    versioned, views = versioned_tables(default()), list(default().views)

    def contents(snapshot, names):
        with read_transaction(lake) as cursor:
            define_schema_at(cursor, lake.schema, "old", snapshot)
            return {name: fetch_rows(cursor, f"SELECT * FROM old.{name} ORDER BY ALL") for name in names}

    pinned = {}
    for snapshot in (a, b):
        with Lake.open(lake.home, snapshot=snapshot) as old:
            named = {name: f"snapshot_id, * FROM {name}" for name in versioned} | {v: f"* FROM {v}" for v in views}
            pinned[snapshot] = {name: old.rows(f"SELECT {what} ORDER BY ALL") for name, what in named.items()}
    assert {snapshot: contents(snapshot, (*versioned, *views)) for snapshot in (a, b)} == pinned
    with lake.transaction("a test") as cursor:
        cursor.execute("CALL ducklake_merge_adjacent_files('lake')")
        cursor.execute("CALL lake.set_commit_message('a test', 'merge')")
        cursor.execute("COMMIT")
    # The views are made of these tables, and are asked for once.
    tables = {snapshot: {name: pinned[snapshot][name] for name in versioned} for snapshot in (a, b)}
    assert {snapshot: contents(snapshot, versioned) for snapshot in (a, b)} == tables

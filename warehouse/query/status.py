"""What `alignery tables`, `show` and `status` print, as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from alignery.untrusted import excerpt
from warehouse.database.connection import CATALOG
from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.schema.tables import Row, quoted

_PATHS = ("path", "base_path", "model_path", "export_path")
_BATCH = 8192  # rows of a streamed result at a time


def tables(lake: Lake) -> list[Row]:
    """Tables and views: name, kind, rows, comment."""
    return lake.tables()


def show(lake: Lake, name: str, limit: int = 5) -> list[Row]:
    """The newest rows of a table or view, the newest first.

    Raises:
        LakeUsageError: there is no table or view of that name.
    """
    check_table(lake, name)
    # A summary, which has no such column, has an order of its own.
    timed = any(column["name"] == "created_at" for column in lake.columns(name))
    order = "ORDER BY created_at DESC" if timed else ""
    return lake.rows(f"SELECT * FROM {name} {order} LIMIT {int(limit)}")


def count(lake: Lake, name: str) -> int:
    """How many rows a table or view has. Raises LakeUsageError as `show` does."""
    check_table(lake, name)
    return int(lake.rows(f"SELECT count(*) AS n FROM {name}")[0]["n"])


def sizes(lake: Lake) -> list[Row]:
    """Rows and bytes of each table that has data files, from the catalog: no data file is read.

    Returns:
        table, rows, bytes.
    """
    return lake.rows(
        "SELECT t.table_name AS table, sum(f.record_count)::BIGINT AS rows, sum(f.file_size_bytes)::BIGINT AS bytes"
        f" FROM {CATALOG}.ducklake_data_file f JOIN {CATALOG}.ducklake_table t USING (table_id)"
        " WHERE f.end_snapshot IS NULL AND t.end_snapshot IS NULL GROUP BY ALL ORDER BY ALL"
    )


def check_table(lake: Lake, name: str) -> None:
    """Raises LakeUsageError if there is no table or view of that name."""
    known = [*lake.schema.tables, *lake.schema.views]
    if name not in known:
        near = get_close_matches(name, known, 3, 0.7)
        fix = f"did you mean {' or '.join(near)}? " if near else ""
        raise LakeUsageError(
            f"the lake has no table or view {excerpt(name, 60)!r}; {fix}`alignery tables` lists them: "
            f"{', '.join(known)}"
        )


def runs(lake: Lake, limit: int = 10) -> list[Row]:
    """The state of the newest runs: each run's last row of `runs`, with `started_at`, the newest first.

    A refresh that ended has `sent`, `saved` and `saved_share`: requests, those that the lake had answers to, and
    their share of both (0 to 1).
    """
    found = lake.rows(
        "SELECT *, min(created_at) OVER (PARTITION BY id) AS started_at FROM runs"
        " QUALIFY row_number() OVER (PARTITION BY id ORDER BY snapshot_id DESC, created_at DESC) = 1"
        f" ORDER BY min(snapshot_id) OVER (PARTITION BY id) DESC LIMIT {int(limit)}"
    )
    for row in found:
        totals = json.loads(row["totals"] or "{}")
        row["sent"], row["saved"] = totals.get("sent"), totals.get("saved")
        asked = (row["sent"] or 0) + (row["saved"] or 0)
        row["saved_share"] = row["saved"] / asked if asked else None
    return found


def check_run(lake: Lake, run_id: str) -> None:
    """Raises LakeUsageError if no run has that id; the message names the newest."""
    if not lake.rows("SELECT 1 FROM runs WHERE id = ? LIMIT 1", [run_id]):
        newest = ", ".join(row["id"] for row in runs(lake, 3))
        raise LakeUsageError(f"the lake has no run {excerpt(run_id, 60)!r}; the newest are {newest or '(none)'}")


def unfinished(lake: Lake, flow: str) -> list[Row]:
    """The last row of each run of a flow that was started and has not ended."""
    return lake.rows(
        f"SELECT * FROM runs WHERE flow = {quoted(flow)} QUALIFY"
        " row_number() OVER (PARTITION BY id ORDER BY rowid DESC) = 1 AND state = 'started'"
    )


def status(lake: Lake, limit: int = 10) -> dict[str, Any]:
    """The newest runs, the newest one's funnel and the newest usage, the tags, the models, the decisions on tags and
    models, and the lake's snapshot."""
    newest = runs(lake, limit)
    spenders = lake.rows("SELECT run_id FROM attempts WHERE replayed_from IS NULL ORDER BY snapshot_id DESC LIMIT 1")
    return {
        "home": str(lake.home),
        "snapshot_id": lake.snapshot(),
        "runs": newest,
        "funnel": lake.rows(f"SELECT * FROM funnel WHERE run_id = {quoted(newest[0]['id'])}") if newest else [],
        "usage": usage(lake, spenders[0]["run_id"]) if spenders else [],
        "tags": tags(lake)[: -limit - 1 : -1],
        "models": own(lake, lake.rows(f"SELECT * FROM models ORDER BY snapshot_id DESC LIMIT {int(limit)}")),
        "decisions": own(lake, lake.rows(f"SELECT * FROM decisions ORDER BY rowid DESC LIMIT {int(limit)}")),
    }


def funnel(lake: Lake, run_id: str | None = None) -> list[Row]:
    """The outcome of each step's work, in one run or in all."""
    return lake.rows("SELECT * FROM funnel" + (f" WHERE run_id = {quoted(run_id)}" if run_id is not None else ""))


def usage(lake: Lake, run_id: str | None = None) -> list[Row]:
    """What requests cost, by step and in all (its step is 'total'), in one run or in each."""
    return lake.rows("SELECT * FROM usage" + (f" WHERE run_id = {quoted(run_id)}" if run_id else ""))


def tags(lake: Lake) -> list[Row]:
    """The tags, each once and as it was last written, oldest first."""
    newest = "SELECT * FROM tags QUALIFY row_number() OVER (PARTITION BY name ORDER BY rowid DESC) = 1 ORDER BY rowid"
    return own(lake, lake.rows(newest))


def models(lake: Lake) -> list[Row]:
    """What was trained, oldest first."""
    return own(lake, lake.rows("SELECT * FROM models ORDER BY snapshot_id, created_at"))


def scores_of(lake: Lake, policy: str) -> dict[str, Row]:
    """Scorer → the row of the view `policies`, of the samples of a model that is known by its identity."""
    return {row["scorer"]: row for row in lake.rows("SELECT * FROM policies WHERE policy = ?", [policy])}


def evals(lake: Lake) -> list[Row]:
    """Every figure of every model, oldest first."""
    return own(lake, lake.rows("SELECT * FROM evals ORDER BY snapshot_id, created_at"))


def earlier_prompts(lake: Lake, suite: str, count: int) -> set[str]:
    """The answered prompts of a suite up to its last evaluation that had fewer than `count` prompts."""
    last = "SELECT max(created_at) FROM evals WHERE suite = ? AND metric = 'answered' AND count < ?"
    found = lake.rows(
        f"SELECT DISTINCT prompt FROM eval_answers WHERE suite = ? AND created_at <= ({last})", [suite, suite, count]
    )
    return {row["prompt"] for row in found}


def own(lake: Lake, rows: list[Row]) -> list[Row]:
    """The rows with the paths of models and exports as they are in this home; see `Place.own`."""
    for row in rows:
        row.update({name: lake.place.own(row[name]) for name in _PATHS if row.get(name)})
    return rows


def instructions(lake: Lake) -> Iterator[str]:
    """The texts of all accepted instructions, streamed, in no order of their own."""
    with lake.query("SELECT text FROM instructions WHERE state = 'accepted'") as cursor:
        for batch in cursor.to_arrow_reader(_BATCH):
            yield from batch.column(0).to_pylist()

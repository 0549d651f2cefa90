"""Why rows were rejected: by step and reason, how many, the share of the step's work, and samples."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.query.records import is_in, shortened
from warehouse.query.time_travel import fetch_rows, read_transaction
from warehouse.schema.tables import Row, quoted


def rejects(
    lake: Lake, *, step: str | None = None, reason: str | None = None, run: str | None = None, samples: int = 3
) -> list[Row]:
    """Groups of what was not accepted, the most frequent first. Reasons that differ only in their numbers are one.

    Args:
        step: only this step's.
        reason: only reasons that hold these words, in capitals or not.
        run: only this run's, by its id or the beginning of it.
        samples: how many rows of each group: the newest of each input first, then what was tried before it.

    Returns:
        step, reason, state, times (calls, or candidates of the gate), lost (the final attempts at their work: the
        others were retried with another seed), share (lost / all finished work of the step, 0 to 1), and
        samples: id, text, about (the instruction asked about), nearest and similarity (of an instruction's), source and
        source_row (the file of a prompt of one's own, and its row there, from 1), model, seed, run_id, created_at.

    Raises:
        LakeUsageError: no such step or run.
    """
    # What is finished: work of a step, and candidates of a gate.
    finished = "(SELECT step, run_id FROM attempts WHERE final UNION ALL SELECT step, run_id FROM candidates)"
    ran = f"starts_with(run_id, {quoted(run)})" if run else "true"
    with read_transaction(lake, ["rejects", "candidates"]) as cursor:
        conditions = [ran]
        if step:
            _check_step(cursor, step)
            conditions.append(f"step = {quoted(step)}")
        if run:
            _check_run(cursor, run)
        if reason:
            words = quoted(reason.lower())
            conditions.append(f"(contains(lower(reason), {words}) OR contains(lower(kind), {words}))")
        found = fetch_rows(
            cursor,
            "SELECT r.step, r.reason, r.state, r.times, r.lost, r.lost / s.finished AS share, r.ids FROM (SELECT step,"
            " if(min(reason) = max(reason), min(reason), kind) AS reason, state, count(*) AS times,"
            " count(*) FILTER (final) AS lost,"
            f" arg_max(id, (-turn, created_at, id), {max(1, int(samples))}) AS ids FROM (SELECT *, row_number() OVER"
            " (PARTITION BY step, kind, state, parents ORDER BY created_at DESC, id DESC) AS turn"
            " FROM (SELECT *, regexp_replace(reason, '[0-9]+', '…', 'g') AS kind FROM rejects)"
            f" WHERE {' AND '.join(conditions)}) GROUP BY step, kind, state) r"
            f" LEFT JOIN (SELECT step, count(*) AS finished FROM {finished} WHERE {ran} GROUP BY step) s"
            " ON s.step = r.step ORDER BY times DESC, r.step, reason",
        )
        chosen = {id for row in found for id in row["ids"][: int(samples)]}
        texts = _samples(cursor, chosen)
    for row in found:
        row["samples"] = [texts[id] for id in row.pop("ids")[: int(samples)]]
    return found


def _samples(cursor: duckdb.DuckDBPyConnection, ids: Iterable[str]) -> dict[str, Row]:
    """The rejected rows of these ids, each with the text of the instruction that it answers."""
    these = is_in("id", ids)
    rows = fetch_rows(
        cursor,
        f"SELECT id, {shortened('raw_text')} AS text, NULL AS similarity, NULL AS nearest, model, seed, run_id,"
        f" created_at, parents FROM attempts WHERE {these} UNION ALL SELECT id, {shortened('text')}, similarity,"
        f" {shortened('nearest')}, NULL, NULL, run_id, created_at, CASE WHEN about IS NULL THEN [] ELSE [about] END"
        f" FROM candidates WHERE {these}",
    )
    parents = is_in("id", {parent for row in rows for parent in row["parents"]})
    found = fetch_rows(cursor, f"SELECT id, {shortened('text')} AS text FROM instructions WHERE {parents}")
    asked_about = {row["id"]: row["text"] for row in found}
    read = fetch_rows(cursor, f"SELECT id, source, source_row FROM instructions WHERE {these} AND source IS NOT NULL")
    places = {row.pop("id"): row for row in read}
    for row in rows:
        row.update(places.get(row["id"], {"source": None, "source_row": None}))
        row["about"] = next((asked_about[id] for id in row.pop("parents") if id in asked_about), None)
    return {row["id"]: row for row in rows}


def _check_step(cursor: duckdb.DuckDBPyConnection, step: str) -> None:
    steps = "(SELECT step FROM attempts UNION SELECT step FROM candidates)"
    known = [row["step"] for row in fetch_rows(cursor, f"SELECT step FROM {steps} ORDER BY step")]
    if step not in known:
        raise LakeUsageError(f"got the step {step!r}, expected one of {', '.join(known)}")


def _check_run(cursor: duckdb.DuckDBPyConnection, run: str) -> None:
    if not fetch_rows(cursor, f"SELECT 1 AS one FROM runs WHERE starts_with(id, {quoted(run)}) LIMIT 1"):
        raise LakeUsageError(f"no run {run!r}; see `alignery status`")

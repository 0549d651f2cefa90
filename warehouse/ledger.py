"""What is settled and what is not: the anti-join, and the one way by which rows come in.

DuckLake has no unique constraint and two inserts never conflict, so a row lands once because the
check and the insert stand in one transaction under the lake's exclusive lock.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from warehouse import schema
from warehouse.arrow import to_arrow
from warehouse.connection import LAKE, as_rows, one_line, sign
from warehouse.schema import LakeError, LakeFault, Row, Rows

if TYPE_CHECKING:
    from warehouse.lake import Lake

# What makes a row of a table the same row again; the others are logs, in which every row is new.
_IDENTITY = {"prompts": "hash", "models": "id", "evals": "id"}
_WRITTEN = ("runs", "prompts", "models", "evals", "tags", "plans")
_log = logging.getLogger(__name__)


def pending(lake: Lake, keys: Sequence[str]) -> set[str]:
    """Those work keys without a final attempt (one anti-join)."""
    with lake.cursor() as cursor:
        _register(cursor, "asked", keys)
        query = f"SELECT key FROM asked ANTI JOIN (SELECT work_key FROM {LAKE}.attempts WHERE final) ON work_key = key"
        lake.undisturbed(cursor, lambda: cursor.execute(query))
        return {key for (key,) in cursor.fetchall()}


def replies(lake: Lake, keys: Sequence[str]) -> dict[tuple[str, int], Row]:
    """The replies to those requests, by request key and try number: id, raw_text and finish_reason of the attempt."""
    with lake.cursor() as cursor:
        _register(cursor, "asked", keys)
        cursor.execute(
            "SELECT id, request_key, try_number, raw_text, finish_reason"
            f" FROM {LAKE}.attempts SEMI JOIN asked ON request_key = key"
            " WHERE raw_text IS NOT NULL AND finish_reason IS NOT NULL AND replayed_from IS NULL"
        )
        return {(row["request_key"], row["try_number"]): row for row in as_rows(cursor)}


def records(lake: Lake, table: str, keys: Sequence[str]) -> list[Row]:
    """The records of those work keys, ordered by work key and id."""
    if table not in schema.RECORDS:
        raise LakeError(f"{table!r} is no record table; those are {', '.join(schema.RECORDS)}")
    with lake.cursor() as cursor:
        _register(cursor, "asked", keys)
        query = f"SELECT * FROM {LAKE}.{table} SEMI JOIN asked ON work_key = key ORDER BY work_key, id"
        lake.undisturbed(cursor, lambda: cursor.execute(query))
        return as_rows(cursor)


def append(
    lake: Lake,
    records: Mapping[str, Rows],
    attempts: Rows,
    *,
    run_id: str,
    step: str,
    fingerprint: str,
) -> int:
    """Commit records, attempts and a ledger row in one transaction, or nothing where all of it is there.

    Dropped, with the records they wrote: an attempt that is already in the lake, and every attempt at a
    work key that is settled there, so that two runs which race over the same work never double it.
    A record that no attempt wrote (a seed) is dropped if its id is there.

    Args:
        records: table → rows (dicts, or an Arrow table), each naming the attempt of this batch that wrote it.
        attempts: the calls made, in the order they were made, in the same form.
        run_id: filled into each row.

    Returns:
        How many attempts were new.

    Raises:
        LakeError: a row does not fit its table, a record's attempt is not in the batch, or the commit failed.
    """
    made = to_arrow("attempts", attempts, run_id=run_id)
    wrote = {name: _records(name, rows, run_id, made) for name, rows in records.items() if len(rows)}

    def land(cursor: duckdb.DuckDBPyConnection) -> int:
        calls = _new_attempts(cursor, made)
        tables = {name: _new_records(cursor, name, rows, calls) for name, rows in wrote.items()}
        count = sum(rows.num_rows for rows in tables.values())
        if not calls.num_rows and not count:
            return 0
        entry: Row = {
            "id": _commit_id(calls, tables.values()),
            "run_id": run_id,
            "step": step,
            "fingerprint": fingerprint,
            "attempts": calls.num_rows,
            "records": count,
            "created_at": datetime.now(UTC),
        }
        for name, rows in {**tables, "attempts": calls, "commits": to_arrow("commits", [entry])}.items():
            _insert(cursor, name, rows)
        what = f"{calls.num_rows} attempts" if calls.num_rows else f"{count} records"
        sign(cursor, f"{step}: {what}", {"run": run_id, "step": step, "fingerprint": fingerprint})
        _commit(lake, cursor, f"SELECT 1 FROM {LAKE}.commits WHERE id = ?", entry["id"])
        return calls.num_rows

    return lake.commit(f"run {run_id}, {step}", land)


def write(lake: Lake, table: str, rows: Sequence[Row], *, run_id: str, message: str) -> None:
    """Commit rows that no call made: runs, prompts, models, evals, tags, plans.

    A prompt whose hash is there, and a model or figure whose id is there, is left out; if nothing
    remains, nothing is committed. `run_id` and `created_at` are filled in where a row leaves them out.
    """
    if table not in _WRITTEN:
        raise LakeError(f"{table!r} is not written row by row; that is for {', '.join(_WRITTEN)}, append for the rest")
    filled = {"run_id": run_id, "created_at": datetime.now(UTC)}
    filled = {name: value for name, value in filled.items() if name in schema.TABLES[table].names}
    given = to_arrow(table, [{**filled, **row} for row in rows])

    def land(cursor: duckdb.DuckDBPyConnection) -> None:
        batch = given
        if column := _IDENTITY.get(table):
            values = batch[column].to_pylist()
            batch = batch.filter(_fresh(values, _known(cursor, table, column, values)))
        if not batch.num_rows:
            return
        _insert(cursor, table, batch)
        info = sign(cursor, message, {"run": run_id, "table": table, "write": uuid4().hex})
        _commit(lake, cursor, f"SELECT 1 FROM ducklake_snapshots('{LAKE}') WHERE commit_extra_info = ?", info)

    lake.commit(f"run {run_id}, {table}", land)


def _records(name: str, rows: Rows, run_id: str, made: pa.Table) -> pa.Table:
    """The records as a table, each id once; every one must name an attempt of its batch, or none."""
    if name not in schema.RECORDS:
        raise LakeError(f"append: {name!r} is no record table; those are {', '.join(schema.RECORDS)}")
    table = to_arrow(name, rows, run_id=run_id)
    loose = table["attempt_id"].is_null()
    stray = table.filter(pc.invert(pc.or_(loose, _among(table["attempt_id"], made["id"]))))
    if stray.num_rows:
        record, origin = stray["id"][0], stray["attempt_id"][0]
        raise LakeError(f"{name}: record {record} names the attempt {origin}, which is not in its batch; append both")
    return table if _distinct(table["id"]) else table.filter(_fresh(table["id"].to_pylist(), set()))


def _new_attempts(cursor: duckdb.DuckDBPyConnection, made: pa.Table) -> pa.Table:
    """Those attempts that are neither in the lake nor at a work key that is settled, there or earlier in the batch."""
    _register(cursor, "asked", made["work_key"].to_pylist())
    there = cursor.execute(
        f"SELECT id, work_key, final FROM {LAKE}.attempts SEMI JOIN asked ON work_key = key"
    ).fetchall()
    if not there and _distinct(made["work_key"]) and _distinct(made["id"]):
        return made
    known = {id for id, _, _ in there}
    settled = {key for _, key, final in there if final}
    new = []
    for id, key, final in zip(*(made[name].to_pylist() for name in ("id", "work_key", "final")), strict=True):
        if final and id in known and key not in settled:
            # Dropping it would leave the work unsettled for ever, and its answer lost.
            raise LakeError(
                f"attempts: {id} settles a work key but is in the lake as unsettled; give each call its own id"
            )
        new.append(id not in known and key not in settled)
        known.add(id)
        if final:
            settled.add(key)
    return made.filter(pa.array(new, pa.bool_()))


def _new_records(cursor: duckdb.DuckDBPyConnection, name: str, rows: pa.Table, calls: pa.Table) -> pa.Table:
    """Those records that a new attempt wrote, and those that none wrote and that are not there yet."""
    loose = rows["attempt_id"].is_null()
    known = _known(cursor, name, "id", rows.filter(loose)["id"].to_pylist())
    fresh = pc.and_(loose, pc.invert(_among(rows["id"], pa.array(sorted(known), pa.string()))))
    return rows.filter(pc.or_(_among(rows["attempt_id"], calls["id"]), fresh))


def _known(cursor: duckdb.DuckDBPyConnection, table: str, column: str, values: Sequence[str]) -> set[str]:
    if not values:
        return set()
    _register(cursor, "asked", values)
    found = cursor.execute(f"SELECT {column} FROM {LAKE}.{table} SEMI JOIN asked ON {column} = key").fetchall()
    return {value for (value,) in found}


def _among(values: pa.ChunkedArray, others: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """A mask of the values that are among the others; null is not."""
    return pc.fill_null(pc.is_in(values, value_set=others, skip_nulls=True), False)


def _distinct(values: pa.ChunkedArray) -> bool:
    return pc.count_distinct(values, mode="all").as_py() == len(values)


def _fresh(values: Sequence[str], known: set[str]) -> pa.Array:
    """A mask of the values that are neither known nor stand earlier in the list."""
    seen, mask = set(known), []
    for value in values:
        mask.append(value not in seen)
        seen.add(value)
    return pa.array(mask, pa.bool_())


def _register(cursor: duckdb.DuckDBPyConnection, name: str, keys: Sequence[str]) -> None:
    cursor.register(name, pa.table({"key": pa.array(keys, pa.string())}))


def _insert(cursor: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    if rows.num_rows:
        cursor.register("batch", rows)
        cursor.execute(f"INSERT INTO {LAKE}.{table} BY NAME SELECT * FROM batch")


def _commit_id(calls: pa.Table, tables: Iterable[pa.Table]) -> str:
    """Digest of the sorted attempt ids, and of the records' that have no attempt."""
    loose = [id for rows in tables for id in rows.filter(rows["attempt_id"].is_null())["id"].to_pylist()]
    text = json.dumps(sorted(calls["id"].to_pylist()) + sorted(loose))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _commit(lake: Lake, cursor: duckdb.DuckDBPyConnection, proof: str, value: str) -> None:
    """COMMIT; where its answer is an error, what the lake then holds decides whether it landed."""
    try:
        cursor.execute("COMMIT")
    except duckdb.Error as error:
        try:
            with lake.cursor() as other:
                landed = other.execute(proof, [value]).fetchone() is not None
        except LakeFault as silence:
            raise LakeFault(
                f"{lake.place}: a commit ended in an error ({one_line(error)}), and whether it landed cannot be read "
                f"({silence}); mend that and run again: what landed is not sent again"
            ) from error
        if not landed:
            raise
        _log.warning("the commit answered with an error but landed (%s)", value)

"""What is finished and what is not: the anti-join, and the only way to write rows.

DuckLake has no unique constraint and two inserts never conflict. A row is committed only once because the check and the
insert are in one transaction under the lake's exclusive lock.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from alignery import effects
from alignery.untrusted import excerpt
from warehouse.database.connection import LAKE, as_rows, set_commit_message
from warehouse.database.session import READ, Session
from warehouse.errors import LakeFailure, LakeUsageError, RowRefused
from warehouse.schema.arrow import to_arrow
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.tables import Row, Rows

# What identifies a row of a table; the others are logs, in which every row is new.
_IDENTITY = {"prompts": "hash", "models": "id", "evals": "id", "decisions": "id"}
_WRITTEN = ("runs", "prompts", "models", "evals", "decisions", "tags", "plans", "finished", "rounds")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """The outcome of some calls under one fingerprint of a step.

    `records` is table → rows (dicts, or an Arrow table), each naming the attempt of this batch that wrote it;
    `attempts` are the calls made, in the order they were made, in the same form.
    """

    step: str
    fingerprint: str
    records: Mapping[str, Rows]
    attempts: Rows


class Ledger:
    """Which work is finished, and the only way to write rows to a lake."""

    def __init__(self, session: Session) -> None:
        self._session, self._schema = session, session.schema

    def unfinished(self, keys: Sequence[str]) -> set[str]:
        """Those work keys without a final attempt (one anti-join)."""
        with self._session.cursor(begin=READ, asked=_keys(keys)) as cursor:
            query = (
                f"SELECT key FROM asked ANTI JOIN (SELECT work_key FROM {LAKE}.attempts WHERE final) ON work_key = key"
            )
            self._session.read_consistent(cursor, lambda: cursor.execute(query))
            return {key for (key,) in cursor.fetchall()}

    def cached_replies(self, keys: Sequence[str]) -> dict[tuple[str, int], Row]:
        """The replies to those requests, by request key and try number: each attempt's id, text and finish_reason."""
        with self._session.cursor(asked=_keys(keys)) as cursor:
            cursor.execute(
                "SELECT id, request_key, try_number, raw_text, finish_reason"
                f" FROM {LAKE}.attempts SEMI JOIN asked ON request_key = key"
                " WHERE raw_text IS NOT NULL AND finish_reason IS NOT NULL AND replayed_from IS NULL"
            )
            return {(row["request_key"], row["try_number"]): row for row in as_rows(cursor)}

    def cache_summary(self) -> tuple[set[str], set[tuple[str, str]]]:
        """What the lake may have answers to: committed fingerprints, and (prompt hash, model) of the attempts."""
        with self._session.cursor() as cursor:
            fingerprints = cursor.execute(f"SELECT DISTINCT fingerprint FROM {LAKE}.commits").fetchall()
            asked = cursor.execute(f"SELECT DISTINCT prompt_hash, model FROM {LAKE}.attempts").fetchall()
            return {name for (name,) in fingerprints}, set(asked)

    def records(self, table: str, keys: Sequence[str]) -> list[Row]:
        """The records of those work keys, ordered by work key and id."""
        if table not in self._schema.records:
            raise LakeUsageError(f"{table!r} is no record table; those are {', '.join(self._schema.records)}")
        with self._session.cursor(begin=READ, asked=_keys(keys)) as cursor:
            query = f"SELECT * FROM {LAKE}.{table} SEMI JOIN asked ON work_key = key ORDER BY work_key, id"
            self._session.read_consistent(cursor, lambda: cursor.execute(query))
            return as_rows(cursor)

    def append(self, records: Mapping[str, Rows], attempts: Rows, *, run_id: str, step: str, fingerprint: str) -> int:
        """Commit the calls of one step with their records, once: see `append_batches`."""
        return self.append_batches([Batch(step, fingerprint, records, attempts)], run_id=run_id)

    def append_batches(
        self,
        batches: Sequence[Batch],
        *,
        run_id: str,
        beside: Mapping[str, Sequence[Row]] | None = None,
        since: int = 0,
    ) -> int:
        """Commit records, attempts and a ledger row for each batch in one transaction, or nothing if all exist.

        Dropped, with the records they wrote: an attempt that is already in the lake, and every attempt at a
        work key that is finished there, so that two runs that race for the same work never duplicate it.
        A record that no attempt wrote (a seed) is dropped if its id exists.

        Args:
            run_id: filled into each row that has none.
            beside: rows of the ledger's own tables that hold only if every attempt is new, and are else left out:
                what these attempts finish.
            since: a snapshot in which, as the caller knows, none of the attempts was there and none of their work
                finished: what came in later is all that is then looked at.

        Returns:
            How many attempts were new.

        Raises:
            LakeUsageError: a row does not fit its table, a record's attempt is not in the batch, or the commit failed.
        """
        schema = self._schema
        attempts = [to_arrow(schema, "attempts", batch.attempts, run_id=run_id) for batch in batches]
        wrote = [
            {name: _records(schema, name, rows, run_id, calls) for name, rows in batch.records.items() if len(rows)}
            for batch, calls in zip(batches, attempts, strict=True)
        ]
        follows = {name: _filled(schema, name, rows, run_id) for name, rows in (beside or {}).items()}

        def write(cursor: duckdb.DuckDBPyConnection) -> int:
            fresh = _new_attempts(cursor, pa.concat_tables(attempts), since)
            entries, found = _kept(cursor, run_id, batches, attempts, wrote, fresh)
            if not entries:
                return 0
            if fresh.num_rows == sum(calls.num_rows for calls in attempts):
                found |= {name: [rows] for name, rows in follows.items()}
            # One insert per table, because each is a separate file.
            for name, parts in found.items():
                _insert(cursor, name, pa.concat_tables(parts))
            _insert(cursor, "commits", to_arrow(self._schema, "commits", entries))
            steps = ", ".join(sorted({str(entry["step"]) for entry in entries}))
            records = sum(int(entry["records"]) for entry in entries)
            what = f"{fresh.num_rows} attempts" if fresh.num_rows else f"{records} records"
            info = {"run": run_id, "step": steps}
            if len(entries) == 1:
                info["fingerprint"] = str(entries[0]["fingerprint"])
            set_commit_message(cursor, f"{steps}: {what}", info)
            _commit(self._session, cursor, f"SELECT 1 FROM {LAKE}.commits WHERE id = ?", str(entries[0]["id"]))
            return fresh.num_rows

        who = f"run {run_id}, {', '.join(sorted({batch.step for batch in batches}))}"
        return self._session.commit(who, write) if attempts else 0

    def write(self, table: str, rows: Sequence[Row], *, run_id: str, message: str) -> None:
        """Commit rows of one of the ledger's own tables, once: see `write_tables`."""
        self.write_tables({table: rows}, run_id=run_id, message=message)

    def write_tables(self, tables: Mapping[str, Sequence[Row]], *, run_id: str, message: str) -> None:
        """Commit rows that no call made, once: runs, prompts, models, evals, decisions, tags, plans,
        finished, rounds; table → rows.

        A prompt whose hash exists, and a model, figure or decision whose id exists, is left out; if nothing
        remains, nothing is committed. `run_id` and `created_at` are filled in if a row lacks them.
        """
        for name in tables:
            if name not in _WRITTEN:
                raise LakeUsageError(
                    f"{name!r} is not written row by row; that is for {', '.join(_WRITTEN)}, append for the rest"
                )
        given = {name: _filled(self._schema, name, rows, run_id) for name, rows in tables.items()}

        def write(cursor: duckdb.DuckDBPyConnection) -> None:
            new = {name: _new_rows(cursor, name, rows) for name, rows in given.items()}
            new = {name: rows for name, rows in new.items() if rows.num_rows}
            if not new:
                return
            for name, rows in new.items():
                _insert(cursor, name, rows)
            info = set_commit_message(cursor, message, {"run": run_id, "table": ", ".join(new), "write": uuid4().hex})
            _commit(
                self._session, cursor, f"SELECT 1 FROM ducklake_snapshots('{LAKE}') WHERE commit_extra_info = ?", info
            )

        self._session.commit(f"run {run_id}, {', '.join(tables)}", write)


def _kept(
    cursor: duckdb.DuckDBPyConnection,
    run_id: str,
    batches: Sequence[Batch],
    attempts: Sequence[pa.Table],
    wrote: Sequence[Mapping[str, pa.Table]],
    fresh: pa.Table,
) -> tuple[list[Row], dict[str, list[pa.Table]]]:
    """The rows of `commits`, and by table what is new: the fresh attempts, and the records that belong to them."""
    found: dict[str, list[pa.Table]] = {"attempts": [fresh]}
    entries = []
    for batch, asked, tables in zip(batches, attempts, wrote, strict=True):
        calls = asked.filter(_among(asked["id"], fresh["id"]))
        records = {name: _new_records(cursor, name, rows, calls) for name, rows in tables.items()}
        if entry := _entry(batch, run_id, calls, list(records.values())):
            entries.append(entry)
            for name, rows in records.items():
                found.setdefault(name, []).append(rows)
    return entries, found


def _entry(batch: Batch, run_id: str, calls: pa.Table, tables: Sequence[pa.Table]) -> Row | None:
    """The batch's row of `commits`; None where nothing of it is new."""
    records = sum(rows.num_rows for rows in tables)
    if not calls.num_rows and not records:
        return None
    return {
        "id": _commit_id(calls, tables),
        "run_id": run_id,
        "step": batch.step,
        "fingerprint": batch.fingerprint,
        "attempts": calls.num_rows,
        "records": records,
        "created_at": datetime.now(UTC),
    }


def _filled(schema: LakeSchema, table: str, rows: Sequence[Row], run_id: str) -> pa.Table:
    filled = {"run_id": run_id, "created_at": datetime.now(UTC)}
    filled = {name: value for name, value in filled.items() if name in schema.tables[table].names}
    return to_arrow(schema, table, [{**filled, **row} for row in rows])


def _new_rows(cursor: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> pa.Table:
    """The rows that do not exist yet, by what identifies them."""
    if column := _IDENTITY.get(table):
        values = rows[column].to_pylist()
        return rows.filter(_fresh(values, _known(cursor, table, column, values)))
    return rows


def _records(schema: LakeSchema, name: str, rows: Rows, run_id: str, attempts: pa.Table) -> pa.Table:
    """The records as a table, each id once; every one must name an attempt of its batch, or none."""
    if name not in schema.records:
        raise LakeUsageError(f"append: {name!r} is no record table; those are {', '.join(schema.records)}")
    table = to_arrow(schema, name, rows, run_id=run_id)
    loose = table["attempt_id"].is_null()
    stray = table.filter(pc.invert(pc.or_(loose, _among(table["attempt_id"], attempts["id"]))))
    if stray.num_rows:
        record, origin = stray["id"][0], stray["attempt_id"][0]
        raise RowRefused(f"{name}: record {record} names the attempt {origin}, which is not in its batch; append both")
    return table if _distinct(table["id"]) else table.filter(_fresh(table["id"].to_pylist(), set()))


def _new_attempts(cursor: duckdb.DuckDBPyConnection, attempts: pa.Table, since: int) -> pa.Table:
    """Those attempts that are neither in the lake nor at a work key that is finished, there or earlier in the batch."""
    cursor.register("asked", attempts.select(["work_key"]).rename_columns(["key"]))
    there = cursor.execute(
        f"SELECT id, work_key, final FROM {LAKE}.attempts SEMI JOIN asked ON work_key = key"
        + (f" WHERE snapshot_id > {since}" if since else "")
    ).fetchall()
    if not there and _distinct(attempts["work_key"]) and _distinct(attempts["id"]):
        return attempts
    known = {id for id, _, _ in there}
    finished = {key for _, key, final in there if final}
    new = []
    for id, key, final in zip(*(attempts[name].to_pylist() for name in ("id", "work_key", "final")), strict=True):
        if final and id in known and key not in finished:
            # Dropping it would leave the work unfinished for ever, and lose its answer.
            raise RowRefused(
                f"attempts: {id} is final but is in the lake as an attempt that is not; give each call its own id"
            )
        new.append(id not in known and key not in finished)
        known.add(id)
        if final:
            finished.add(key)
    return attempts.filter(pa.array(new, pa.bool_()))


def _new_records(cursor: duckdb.DuckDBPyConnection, name: str, rows: pa.Table, calls: pa.Table) -> pa.Table:
    """Those records that a new attempt wrote, and those that none wrote and that are not there yet."""
    loose = rows["attempt_id"].is_null()
    known = _known(cursor, name, "id", rows.filter(loose)["id"].to_pylist())
    fresh = pc.and_(loose, pc.invert(_among(rows["id"], pa.array(sorted(known), pa.string()))))
    return rows.filter(pc.or_(_among(rows["attempt_id"], calls["id"]), fresh))


def _known(cursor: duckdb.DuckDBPyConnection, table: str, column: str, values: Sequence[str]) -> set[str]:
    if not values:
        return set()
    cursor.register("asked", _keys(values))
    found = cursor.execute(f"SELECT {column} FROM {LAKE}.{table} SEMI JOIN asked ON {column} = key").fetchall()
    return {value for (value,) in found}


def _among(values: pa.ChunkedArray, others: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """A mask of the values that are among the others; null is not."""
    return pc.fill_null(pc.is_in(values, value_set=others, skip_nulls=True), False)


def _distinct(values: pa.ChunkedArray) -> bool:
    return pc.count_distinct(values, mode="all").as_py() == len(values)


def _fresh(values: Sequence[str], known: set[str]) -> pa.Array:
    """A mask of the values that are neither known nor earlier in the list."""
    seen, mask = set(known), []
    for value in values:
        mask.append(value not in seen)
        seen.add(value)
    return pa.array(mask, pa.bool_())


def _keys(keys: Sequence[str]) -> pa.Table:
    return pa.table({"key": pa.array(keys, pa.string())})


def _insert(cursor: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    if rows.num_rows:
        cursor.register("batch", rows)
        with effects.LEDGER_ROW if table == "commits" else effects.INSERT:
            cursor.execute(f"INSERT INTO {LAKE}.{table} BY NAME SELECT * FROM batch")


def _commit_id(calls: pa.Table, tables: Iterable[pa.Table]) -> str:
    """Digest of the sorted attempt ids, and of the records' that have no attempt."""
    loose = [id for rows in tables for id in rows.filter(rows["attempt_id"].is_null())["id"].to_pylist()]
    text = json.dumps(sorted(calls["id"].to_pylist()) + sorted(loose))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _commit(session: Session, cursor: duckdb.DuckDBPyConnection, proof: str, value: str) -> None:
    """COMMIT; if it returns an error, the lake's content decides whether it succeeded."""
    try:
        with effects.COMMIT:
            cursor.execute("COMMIT")
    except duckdb.Error as error:
        try:
            with session.cursor() as other:
                succeeded = other.execute(proof, [value]).fetchone() is not None
        except LakeFailure as silence:
            raise LakeFailure(
                f"{session.place}: a commit ended in an error ({excerpt(error)}), and whether it succeeded cannot be "
                f"read ({silence}); fix that and run again: what was committed is not sent again"
            ) from error
        if not succeeded:
            raise
        _log.warning("the commit returned an error but succeeded (%s)", value)

"""One row's whole story: the instruction it belongs to, all that was made of it, and the calls that made it.

One query per table, by the instruction, so the cost does not depend on the row's place in the story.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

from alignery.untrusted import excerpt
from warehouse.database.connection import filled_tables
from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.query import trained_on
from warehouse.query.records import has_any, is_in, shortened, tables_of_ids, whole_id
from warehouse.query.time_travel import fetch_rows, read_transaction
from warehouse.schema.columns import TEXT
from warehouse.schema.tables import Row

BOUND = 20_000  # characters of one text; a view shows where the rest is
_MOST = 1000  # ids of one table that are looked for
MEMBERS = 400  # rows of one table that were made of an instruction; our choice


def find(lake: Lake, id: str) -> tuple[str, str]:
    """The table, and the whole id with this beginning. Raises LakeUsageError if none has it, or several."""
    with read_transaction(lake) as cursor:
        return whole_id(cursor, lake.schema, id)


def tables_of(lake: Lake, ids: Iterable[str]) -> dict[str, str]:
    """Id → the table of records that it is in, or attempts; of those that are in one."""
    with read_transaction(lake) as cursor:
        return tables_of_ids(cursor, lake.schema, is_in("id", ids), _MOST)


def story(lake: Lake, table: str, id: str, bound: int = BOUND) -> dict[str, Any]:
    """A record or an attempt with all that was made of the instruction that it belongs to.

    Returns:
        table and row; instruction (its row; None where the row belongs to none); members: every record and every lost
        call of the instruction, each with `record_table`, the oldest first; calls: attempt id → the call that made a
        member; words: hash → id and source of the prompts and principles that they name.

    Raises:
        LakeUsageError: no such table or row.
    """
    with read_transaction(lake) as cursor:
        row = _row(cursor, lake, table, id, bound)
        instruction = _instruction(cursor, lake, table, row, bound)
        members = _members(cursor, lake, instruction["id"], bound) if instruction else []
        if row["id"] not in {member["id"] for member in members}:
            members += [row] if table != "instructions" else []
        if table == "attempts":
            members += _made_by(cursor, lake, {row["id"]}, {member["id"] for member in members}, bound)
        of = [one for one in (instruction, *members) if one]
        calls = _calls(cursor, lake, of, bound)
        hashes = {one.get(name) for one in (*of, *calls.values()) for name in ("principle_hash", "prompt_hash")}
        prompts = fetch_rows(
            cursor,
            f"SELECT hash, any_value(id) AS id, any_value({shortened('source', bound)}) AS source FROM prompts"
            f" WHERE {is_in('hash', filter(None, hashes))} GROUP BY hash",
        )
    return {
        "table": table,
        "row": row,
        "instruction": instruction,
        "members": sorted(members, key=lambda one: (one["created_at"], one["id"])),
        "calls": calls,
        "words": {one.pop("hash"): one for one in prompts},
    }


def uses(lake: Lake, ids: Iterable[str], instruction: str) -> list[Row]:
    """The tags and views that have records of an instruction, and the models trained on them; see `trained_on.uses`."""
    with read_transaction(lake) as cursor:
        return trained_on.uses(lake, cursor, list(ids), [instruction])


def whole_text(lake: Lake, table: str, id: str, column: str) -> str:
    """One text of one row, whole. Raises LakeUsageError if it does not exist."""
    _check(lake, table)
    if column not in lake.schema.tables[table].names:
        raise LakeUsageError(f"{table} has no column {excerpt(column, 60)!r}")
    rows = lake.rows(f'SELECT CAST("{column}" AS VARCHAR) AS text FROM {table} WHERE {is_in("id", [id])} LIMIT 1')
    if not rows or rows[0]["text"] is None:
        raise LakeUsageError(f"{table} {excerpt(id, 60)!r} has no {column}")
    return str(rows[0]["text"])


def _check(lake: Lake, table: str) -> None:
    if table not in lake.schema.records and table != "attempts":
        known = ", ".join((*lake.schema.records, "attempts"))
        raise LakeUsageError(f"got the table {excerpt(table, 60)!r}, expected one of {known}")


def _select(lake: Lake, table: str, bound: int) -> str:
    """All columns, of the texts their beginning: a call's settings and inputs are whole."""
    cut = [
        f"{shortened(field.name, bound)} AS {field.name}"
        for field in lake.schema.tables[table]
        if field.type == TEXT and field.name not in ("id", "inputs")
    ]
    return f"SELECT '{table}' AS record_table, snapshot_id, * REPLACE ({', '.join(cut)}) FROM {table}"


def _row(cursor: duckdb.DuckDBPyConnection, lake: Lake, table: str, id: str, bound: int) -> Row:
    _check(lake, table)
    rows = fetch_rows(cursor, f"{_select(lake, table, bound)} WHERE {is_in('id', [id])} LIMIT 1")
    if not rows:
        raise LakeUsageError(f"{table} has no row {excerpt(id, 60)!r}; look for it in /rows/{table}")
    return rows[0]


def _instruction(cursor: duckdb.DuckDBPyConnection, lake: Lake, table: str, row: Row, bound: int) -> Row | None:
    if table == "instructions":
        return row
    among = [row["instruction_id"]] if row.get("instruction_id") else row["parents"] if table == "attempts" else []
    prefix = "self_instruct." if table == "attempts" else ""
    if not among or (prefix and str(row.get("step")).startswith(prefix)):
        return None  # a request for instructions: its parents are examples
    found = fetch_rows(cursor, f"{_select(lake, 'instructions', bound)} WHERE {is_in('id', among)} LIMIT 1")
    return found[0] if found else None


def _members(cursor: duckdb.DuckDBPyConnection, lake: Lake, id: str, bound: int) -> list[Row]:
    found: list[Row] = []
    filled = filled_tables(cursor)
    for table in (name for name in lake.schema.of_instructions if name in filled):
        where = f"WHERE {is_in('instruction_id', [id])} LIMIT {MEMBERS}"
        found += fetch_rows(cursor, f"{_select(lake, table, bound)} {where}")
    lost = f"state <> 'accepted' AND {has_any('parents', [id])} AND step NOT LIKE 'self\\_instruct.%' ESCAPE '\\'"
    return found + fetch_rows(cursor, f"{_select(lake, 'attempts', bound)} WHERE {lost} LIMIT {MEMBERS}")


def _made_by(cursor: duckdb.DuckDBPyConnection, lake: Lake, calls: set[str], known: set[str], bound: int) -> list[Row]:
    """The records that calls made; of most calls the table is not known."""
    found: list[Row] = []
    filled = filled_tables(cursor)
    for table in (name for name in lake.schema.records if name in filled):
        found += fetch_rows(cursor, f"{_select(lake, table, bound)} WHERE {is_in('attempt_id', calls)} LIMIT {MEMBERS}")
    return [row for row in found if row["id"] not in known]


def _calls(cursor: duckdb.DuckDBPyConnection, lake: Lake, of: Sequence[Row], bound: int) -> dict[str, Row]:
    """The calls that wrote these rows, by id. A call came in with its records, so few of the files are looked at."""
    if not of:
        return {}
    came = [one["snapshot_id"] for one in of]
    among = f"snapshot_id BETWEEN {min(came)} AND {max(came)}"
    test = is_in("id", {one.get("attempt_id") or one["id"] for one in of})
    found = fetch_rows(cursor, f"{_select(lake, 'attempts', bound)} WHERE {among} AND {test}")
    for call in found:
        call["inputs"] = json.loads(call["inputs"] or "{}")
    return {call["id"]: call for call in found}

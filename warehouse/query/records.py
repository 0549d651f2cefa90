"""Records and attempts by their ids: what they are, their texts, and what wrote them.

Only those rows are read, and of long texts only the beginning. Ids are literals in the SQL, because bound values
would make DuckDB import pandas.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

import duckdb

from alignery.untrusted import excerpt
from warehouse.database.connection import filled_tables
from warehouse.errors import LakeUsageError
from warehouse.query.time_travel import fetch_rows
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.tables import Row, quoted, sql_type

BOUND = 2000  # characters of one text that are read, where not all of it is wanted
SHORTEST = 6  # characters that suffice to name an id
_CANDIDATES = 10
_FEW = 2000  # characters
_LAST = chr(sys.maxunicode)  # sorts after every other character, and is in no text


def shortened(column: str, bound: int | None = BOUND) -> str:
    """The expression of a text cut in the database."""
    if bound is None:
        return column
    return f"CASE WHEN length({column}) > {bound} THEN left({column}, {bound}) || '…' ELSE {column} END"


def is_in(column: str, ids: Iterable[str]) -> str:
    """The condition that a column holds one of the ids.

    IN excludes row groups by their least and greatest value; list_contains is evaluated while a file is read, so that
    the other columns are read only of the rows that pass. A few ids have both, and one id an equality, which is both.
    """
    listed = [quoted(id) for id in ids]
    if len(listed) < 2:
        return f"{column} = {listed[0]}" if listed else "false"
    text = ", ".join(listed)
    condition = f"{column} IN ({text})"
    return f"({condition} AND list_contains([{text}], {column}))" if len(text) <= _FEW else condition


def begins_with(column: str, prefix: str) -> str:
    """The condition that a column's text has this beginning, by which row groups are excluded as well."""
    return f"({column} >= {quoted(prefix)} AND {column} < {quoted(prefix + _LAST)})"


def has_any(column: str, ids: Iterable[str]) -> str:
    """The condition that a column's list holds one of the ids."""
    return f"list_has_any({column}, [{', '.join(quoted(id) for id in ids)}])"


def filled_records(cursor: duckdb.DuckDBPyConnection, schema: LakeSchema) -> list[str]:
    """The tables of records, and attempts, that have rows."""
    return sorted(filled_tables(cursor) & {*schema.records, "attempts"})


def tables_of_ids(cursor: duckdb.DuckDBPyConnection, schema: LakeSchema, test: str, limit: int) -> dict[str, str]:
    """Id → the table of records that it is in, or attempts; of those whose `id` passes a test, so many a table."""
    tables = filled_records(cursor, schema)
    looks = " UNION ALL ".join(f"(SELECT '{t}' AS t, id FROM {t} WHERE {test} LIMIT {limit})" for t in tables)
    return {row["id"]: row["t"] for row in fetch_rows(cursor, looks)} if tables else {}


def whole_id(cursor: duckdb.DuckDBPyConnection, schema: LakeSchema, prefix: str) -> tuple[str, str]:
    """The table and id of the record or attempt whose id begins like this, or equals it if shorter than six characters.
    Raises LakeUsageError if none does, or several."""
    short = len(prefix) < SHORTEST
    test = is_in("id", [prefix]) if short else begins_with("id", prefix)
    found = tables_of_ids(cursor, schema, test, _CANDIDATES)
    exact = {prefix: found[prefix]} if prefix in found else found
    if len(exact) == 1:
        ((id, table),) = exact.items()
        return table, id
    shown = excerpt(repr(prefix), 60)
    if not found:
        how = f"is {shown}; give {SHORTEST} characters of it at least" if short else f"begins with {shown}"
        raise LakeUsageError(f"there is no record or attempt whose id {how}; see those of `alignery show attempts`")
    names = ", ".join(f"{id} ({table})" for id, table in sorted(exact.items())[:_CANDIDATES])
    raise LakeUsageError(f"{shown} begins several ids: {names}; give more of it")


def nodes(
    cursor: duckdb.DuckDBPyConnection,
    schema: LakeSchema,
    tables: Collection[str],
    where: str,
    bound: int | None,
    limit: int | None = None,
) -> list[Row]:
    """The records or attempts of some tables that satisfy a condition on their columns.

    Args:
        bound: characters of each text; None for all.
        limit: how many at most; None for all.

    Returns:
        record_table, id, parents, attempt_id (an attempt's own), text, run_id, created_at, and what the table says
        beside, null where it does not say it; the oldest first.
    """
    selects = " UNION ALL ".join(f"{_select(schema, table, bound)} WHERE {where}" for table in tables)
    cut = "" if limit is None else f" LIMIT {limit}"
    return fetch_rows(cursor, f"FROM ({selects}) ORDER BY created_at, id{cut}")


def wrote(cursor: duckdb.DuckDBPyConnection, found: Sequence[Row], bound: int | None) -> list[Row]:
    """The nodes with what wrote them: step, prompt_id, prompt (its text), principle (its words), model, seed …"""
    calls = is_in("id", {node["attempt_id"] for node in found if node["attempt_id"]})
    attempts = fetch_rows(
        cursor,
        f"SELECT id, step, prompt_id, prompt_hash, model, seed, try_number, inputs FROM attempts WHERE {calls}",
    )
    hashes = {row["prompt_hash"] for row in attempts} | {node["principle_hash"] for node in found}
    listed = is_in("hash", {hash for hash in hashes if hash})
    words = fetch_rows(cursor, f"SELECT hash, {shortened('source', bound)} AS source FROM prompts WHERE {listed}")
    texts = {row["hash"]: row["source"] for row in words}
    by_id = {row.pop("id"): row for row in attempts}
    silent = dict.fromkeys(("step", "prompt_id", "prompt_hash", "model", "seed", "try_number", "inputs"))
    rows = []
    for node in found:
        call = by_id.get(node["attempt_id"], silent)
        rows.append(
            node | call | {"prompt": texts.get(call["prompt_hash"]), "principle": texts.get(node["principle_hash"])}
        )
    return rows


def _select(schema: LakeSchema, table: str, bound: int | None) -> str:
    columns = set(schema.tables[table].names)
    types = {field.name: sql_type(field) for each in schema.tables.values() for field in each}
    # An instruction belongs to itself, an attempt is its own.
    own = {"instruction_id": "id"} if table == "instructions" else {}
    own |= {"attempt_id": "id"} if table == "attempts" else {}
    text = schema.text_column(table)
    names = [
        f"{own.get(name, name)} AS {name}" if name in columns | own.keys() else f"NULL::{types[name]} AS {name}"
        for name in ("id", "parents", "attempt_id", "run_id", "created_at", *schema.facts)
    ]
    expression = shortened(text, bound) if text else "NULL::VARCHAR"
    return f"SELECT '{table}' AS record_table, {', '.join(names)}, {expression} AS text FROM {table}"

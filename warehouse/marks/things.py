"""What is marked: the rows behind ids, and their texts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from warehouse.lake import Lake
from warehouse.query.records import filled_records, is_in
from warehouse.query.time_travel import fetch_rows
from warehouse.schema.tables import Row

Pair = tuple[str, str | None]  # a row, or two


def find(lake: Lake, ids: Iterable[str], instructions: Collection[str] | None = None) -> dict[str, Row]:
    """The records and attempts of these ids: record_table, instruction_id (null where it belongs to none), text.

    An unknown id is left out.

    Args:
        instructions: those that the records should belong to, by which a large lake is searched faster; what belongs to
            another one is found after that.
    """
    left, found = set(ids), dict[str, Row]()
    with lake.cursor() as cursor:
        filled = set(filled_records(cursor, lake.schema))
        records = filled - {"attempts"}
        # Attempts are the largest table and rarely marked, so it is searched last.
        for tables, of_instructions in (
            (records if instructions else set(), instructions),
            (records, None),
            (filled - records, None),
        ):
            if tables and left:
                selects = " UNION ALL ".join(
                    _select(lake, table, is_in("id", left), of_instructions) for table in tables
                )
                found |= {row.pop("id"): row for row in fetch_rows(cursor, selects)}
                left -= found.keys()
    return found


def describe(lake: Lake, pairs: Sequence[Pair], instructions: Collection[str] | None = None) -> dict[Pair, Row]:
    """Rows or pairs as shown to a person: record_table, instruction_id, prompt (null where there is none), first
    and second (their texts; null where there is none). What the lake does not have is left out. See `find`."""
    things = find(lake, {id for pair in pairs for id in pair if id}, instructions)
    about = {row["instruction_id"] for row in things.values() if row["instruction_id"]}
    answers = [id for id, row in things.items() if row["record_table"] in ("eval_answers", "eval_corrections")]
    prompts = lake.rows(
        f"SELECT id, text AS prompt FROM instructions WHERE {is_in('id', about)}"
        f" UNION ALL SELECT id, prompt FROM eval_answers WHERE {is_in('id', answers)}"
        f" UNION ALL SELECT c.id, a.prompt FROM eval_corrections c JOIN eval_answers a ON a.id = c.response_id"
        f" WHERE {is_in('c.id', answers)}"
    )
    asked = {row["id"]: row["prompt"] for row in prompts}
    return {
        (one, other): {
            "record_table": things[one]["record_table"],
            "instruction_id": things[one]["instruction_id"],
            "prompt": asked.get(things[one]["instruction_id"] or one),
            "first": things[one]["text"],
            "second": things[other]["text"] if other else None,
        }
        for one, other in pairs
        if one in things and (other is None or other in things)
    }


def _select(lake: Lake, table: str, condition: str, instructions: Collection[str] | None) -> str:
    names = lake.schema.table(table).names
    if instructions and "instruction_id" in names:
        condition += f" AND {is_in('instruction_id', instructions)}"
    about = "instruction_id" if "instruction_id" in names else "id" if table == "instructions" else "NULL::VARCHAR"
    columns = f"id, {about} AS instruction_id, {lake.schema.text_column(table) or 'NULL::VARCHAR'} AS text"
    return f"SELECT '{table}' AS record_table, {columns} FROM {table} WHERE {condition}"

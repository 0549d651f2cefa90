"""What is marked: the rows behind ids, and their texts."""

from __future__ import annotations

from collections.abc import Iterable

from warehouse.lake import Lake
from warehouse.query.records import is_in
from warehouse.query.time_travel import fetch_rows
from warehouse.schema.tables import Row


def find(lake: Lake, ids: Iterable[str]) -> dict[str, Row]:
    """The records and attempts of these ids: record_table, instruction_id (null where it belongs to none), text.

    An id that nothing has is left out.
    """
    wanted = is_in("id", set(ids))
    selects = " UNION ALL ".join(_select(lake, table, wanted) for table in (*lake.schema.records, "attempts"))
    with lake.cursor() as cursor:
        return {row.pop("id"): row for row in fetch_rows(cursor, selects)}


def _select(lake: Lake, table: str, wanted: str) -> str:
    names = lake.schema.table(table).names
    about = "instruction_id" if "instruction_id" in names else "id" if table == "instructions" else "NULL::VARCHAR"
    text = lake.schema.text_column(table) or "NULL::VARCHAR"
    return (
        f"SELECT '{table}' AS record_table, id, {about} AS instruction_id, {text} AS text FROM {table} WHERE {wanted}"
    )

"""Rows to be written: checked against their table's schema, value by value, and converted to Arrow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa

from warehouse.errors import RowRefused
from warehouse.schema.columns import FLAG, INT, LONG, REAL, TEXT, TEXTS, WHEN
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.tables import Rows, note, sql_type

_PYTHON: dict[pa.DataType, tuple[type, ...]] = {TEXT: (str,), FLAG: (bool,), INT: (int,), LONG: (int,)}
_PYTHON |= {REAL: (float, int), TEXTS: (list, tuple), WHEN: (datetime,)}


_MOST = {INT: 2**31, LONG: 2**63}  # the first number too large for a column


def check_row(schema: LakeSchema, name: str, row: Mapping[str, Any]) -> None:
    """Refuse a row that does not fit its table. `run_id` may be missing: it is filled in later.

    Raises:
        RowRefused: with the field, what was got and what is expected.
    """
    fields, known = _fields(schema, name)
    if not known.issuperset(row):
        raise RowRefused(f"{name}: got the column(s) {sorted(set(row) - known)}, expected some of {sorted(known)}")
    for field, plain, check, nullable in fields:
        value = row.get(field)
        if value is None:
            if not nullable:
                raise _refused(schema, name, field, "null")
        elif not (type(value) in plain or (isinstance(value, plain) and not isinstance(value, bool))) or (
            check and not check(value)
        ):
            shown = "more than 64 bits" if isinstance(value, int) and abs(value) > 2**64 else f"{value!r:.80}"
            raise _refused(schema, name, field, f"{shown} ({type(value).__name__})")


def check_texts(schema: LakeSchema, name: str, row: Mapping[str, Any]) -> None:
    """Refuse lone surrogates, which no file can hold. Raises RowRefused."""
    for field, value in row.items():
        for text in value if isinstance(value, list | tuple) else [value]:
            try:
                str(text).encode()
            except UnicodeEncodeError as error:
                raise _refused(schema, name, field, "half a character (a lone surrogate)") from error


def _refused(schema: LakeSchema, name: str, field: str, actual: str) -> RowRefused:
    column = schema.table(name).field(field)
    return RowRefused(f"{name}.{field}: got {actual}, expected {sql_type(column)}: {note(column)}")


_Check = Callable[[Any], bool]


@lru_cache(maxsize=256)
def _fields(
    schema: LakeSchema, name: str
) -> tuple[list[tuple[str, tuple[type, ...], _Check | None, bool]], frozenset[str]]:
    """Each column's name, Python types, further check, and whether it may be null; and all names."""
    columns = schema.table(name)
    fields = [
        (field.name, _PYTHON[field.type], _CHECKED.get(field.type), field.nullable or field.name == "run_id")
        for field in columns
    ]
    return fields, frozenset(columns.names)


_CHECKED: dict[pa.DataType, _Check] = {
    INT: lambda value: -_MOST[INT] <= value < _MOST[INT],
    LONG: lambda value: -_MOST[LONG] <= value < _MOST[LONG],
    REAL: lambda value: abs(value) <= sys.float_info.max,  # neither is nan
    TEXTS: lambda value: all(isinstance(one, str) for one in value),
    WHEN: lambda value: value.tzinfo is not None,
}


def to_arrow(schema: LakeSchema, name: str, rows: Rows, **filled: Any) -> pa.Table:
    """Rows as an Arrow table of exactly the table's schema; a column that a row leaves out is null.

    Args:
        filled: columns that have one value in every row.

    Raises:
        RowRefused: an unknown column, a value of the wrong type, or null where a value is needed.
    """
    columns = schema.table(name)
    known = set(columns.names)
    if isinstance(rows, pa.Table):
        return _arranged(name, columns, rows, filled)
    rows = [{**row, **filled} for row in rows] if filled else rows
    for row in rows:
        if unknown := row.keys() - known:
            raise RowRefused(f"{name}: got the column(s) {sorted(unknown)}, expected some of {columns.names}")
    return pa.Table.from_arrays(
        [_column(name, field, [row.get(field.name) for row in rows]) for field in columns], schema=columns
    )


def _arranged(name: str, schema: pa.Schema, rows: pa.Table, filled: Mapping[str, Any]) -> pa.Table:
    """An Arrow table with the schema's columns in its order, of exactly its types."""
    if unknown := set(rows.column_names) - set(schema.names):
        raise RowRefused(f"{name}: got the column(s) {sorted(unknown)}, expected some of {schema.names}")
    columns = []
    for field in schema:
        if field.name in filled or field.name not in rows.column_names:
            column = pa.repeat(pa.scalar(filled.get(field.name), field.type), rows.num_rows)
        else:
            column = rows[field.name]
        if column.type != field.type or (column.null_count and not field.nullable):
            actual = "null" if column.type == field.type else column.type
            raise RowRefused(f"{name}.{field.name}: got {actual}, expected {field.type}: {note(field)}")
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _column(name: str, field: pa.Field, values: Sequence[Any]) -> pa.Array:
    # Arrow itself would cut 1.5 to 1, split a string into a list and take a naive time for UTC.
    if not _all_fit(field, values):
        value = next(value for value in values if not _fits(field, value))
        actual = "null" if value is None else f"{value!r:.80} ({type(value).__name__})"
        raise RowRefused(f"{name}.{field.name}: got {actual}, expected {sql_type(field)}: {note(field)}")
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError) as error:
        raise RowRefused(f"{name}.{field.name}: {error}; expected {sql_type(field)}: {note(field)}") from error


def _all_fit(field: pa.Field, values: Sequence[Any]) -> bool:
    # The types nearly always suffice, and are checked in a tenth of the time that the values take.
    plain = {*_PYTHON[field.type], type(None)} if field.nullable else set(_PYTHON[field.type])
    if field.type != WHEN and plain.issuperset(map(type, values)):
        return True
    return all(_fits(field, value) for value in values)


def _fits(field: pa.Field, value: Any) -> bool:
    if value is None:
        return field.nullable
    if isinstance(value, bool):
        return field.type == FLAG
    if isinstance(value, datetime):
        return field.type == WHEN and value.tzinfo is not None
    return isinstance(value, _PYTHON[field.type])

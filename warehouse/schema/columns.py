"""Declarations of columns: types, and a comment and a unit on each."""

from __future__ import annotations

import pyarrow as pa

TEXT, FLAG, INT, LONG, REAL = pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float64()
TEXTS, WHEN = pa.list_(TEXT), pa.timestamp("us", tz="UTC")


def need(name: str, type: pa.DataType, comment: str, unit: str = "") -> pa.Field:
    return pa.field(name, type, nullable=False, metadata={"comment": comment} | ({"unit": unit} if unit else {}))


def may(name: str, type: pa.DataType, comment: str, unit: str = "") -> pa.Field:
    return need(name, type, comment, unit).with_nullable(True)


def declared(comment: str, *columns: pa.Field) -> pa.Schema:
    return pa.schema(columns, metadata={"comment": comment})


RUN = need("run_id", TEXT, "the run that committed it")
CREATED = need("created_at", WHEN, "when it was made", "UTC")

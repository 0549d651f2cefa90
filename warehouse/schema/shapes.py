"""Whether the view of a shape has the columns by which its rows are marked."""

from __future__ import annotations

import duckdb

from alignery.declarations import Shape
from alignery.untrusted import excerpt
from warehouse.errors import LakeUsageError
from warehouse.schema import migrate
from warehouse.schema.lake_schema import LakeSchema

_NEEDED = ("id", "instruction_id")


def check_shapes(schema: LakeSchema) -> None:
    """Define the schema's views over empty tables, without a lake, and check each shape.

    Raises:
        LakeUsageError: DuckDB refuses a view, or a shape's view lacks a column.
    """
    with duckdb.connect() as cursor:
        for name, columns in schema.tables.items():
            cursor.execute(f"CREATE VIEW memory.main.{name} AS {migrate.no_rows(columns)}")
        migrate.define_views(cursor, schema.views)
        for shape in schema.shapes.values():
            check_shape(cursor, shape)


def check_shape(cursor: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    """Check the view of one shape. Rows of a shape with a `select` of its own are not marked.

    Raises:
        LakeUsageError: the view lacks a column, named with the view's file.
    """
    if shape.select:
        return
    where = f"view {shape.view} ({shape.view}.sql)"
    there = [name for name, *_ in cursor.execute(f"DESCRIBE {shape.view}").fetchall()]
    if missing := [name for name in _NEEDED if name not in there]:
        raise LakeUsageError(
            f"{where}: got no column {missing[0]!r} in {there}, expected it, because the rows of the shape "
            f"{shape.name} are marked by it; select it"
        )
    for field, expression in (("prompt", shape.prompt), ("answer", shape.answer)):
        try:
            cursor.execute(f"SELECT {expression} FROM {shape.view} LIMIT 0")
        except duckdb.Error as error:
            raise LakeUsageError(
                f"shape {shape.name}: {field}: got {expression!r}, expected SQL of the columns {there} of {where}: "
                f"{excerpt(error, 200)}; correct one of the two"
            ) from error

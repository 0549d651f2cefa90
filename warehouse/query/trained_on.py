"""Which models were trained on what: the tag and view of each, and the records in these."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from alignery.declarations import Shape
from warehouse import model_registry
from warehouse.database.connection import filled_tables
from warehouse.errors import LakeUsageError
from warehouse.export.export import is_held_out
from warehouse.export.mixing import part_of
from warehouse.export.publish import PUBLISHED
from warehouse.export.reviewed import reviewed_rows
from warehouse.lake import Lake
from warehouse.query import status
from warehouse.query.records import is_in
from warehouse.query.time_travel import define_schema_at, fetch_rows, set_snapshot
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.migrate import no_rows
from warehouse.schema.tables import Row, quoted

Publish = Mapping[str, Any]  # the section of a preset, as its run recorded it
Mix = Mapping[str, Any]  # of `retrain.mix`, as a model's settings recorded it
# What a model from before version 2 read, which its row does not record.
_READ = {"sft": "sft", "dpo": "preferences"}


def rows_of(
    schema: LakeSchema, view: str, columns: str = "*", source: str = "", marked: str = "", mix: Mix | None = None
) -> str | None:
    """The query of the rows of a view that a model trained on it may have read; ask it at the model's tag.

    Of a mixture only the choice of parts counts: which of their rows were drawn is not known here.

    Args:
        view: the shape that was trained on.
        source: the schema that the view is asked of, with its dot; the search path's own if left out.
        marked: what replaces the view if people's marks chose what was published: see `_marked`.
        mix: how the rows were mixed.

    Returns:
        None where no installed method has that shape.
    """
    if view not in schema.shapes:
        return None
    shape = schema.shapes[view]
    query = f"SELECT {columns} FROM {marked or source + shape.view} WHERE NOT {is_held_out(shape.prompt)}"
    if mix and mix.get("only"):
        query += f" AND {part_of(mix['by'])} IN ({', '.join(quoted(part) for part in mix['only'])})"
    return query


def runs_since(lake: Lake, view: str, after: int, at: int) -> list[str]:
    """The runs whose rows of a view's training split, as of snapshot `at`, all came after snapshot `after`.

    Raises:
        LakeUsageError: there are none.
    """
    rows = rows_of(lake.schema, view, "run_id, snapshot_id")
    with Lake.open(lake.place, schema=lake.schema, snapshot=at) as pinned:
        found = pinned.rows(
            f"SELECT run_id FROM ({rows}) GROUP BY run_id HAVING min(snapshot_id) > ? ORDER BY run_id", [after]
        )
    if not found:
        raise LakeUsageError(f"{view}: no row came between the snapshots {after} and {at}; see `alignery rejects`")
    return [row["run_id"] for row in found]


def _marked(
    cursor: duckdb.DuckDBPyConnection,
    schema: LakeSchema,
    view: str,
    publish: Publish | None,
    source: str = "",
) -> str:
    """What was published of a view if people's marks chose it (the preset's section `publish`); else ''."""
    weight = ((publish or {}).get("marks") or {}).get("weight")
    if not publish or view not in schema.shapes or not (publish["reviewed"] or weight):
        return ""
    return reviewed_rows(cursor, schema.shapes[view], weight, source)


def _publish_sections(lake: Lake) -> dict[str, Publish | None]:
    """Tag → the section `publish` of the preset that published it, None where it had none."""
    return {
        row["name"]: json.loads(row["section"])
        for row in lake.rows(
            "SELECT t.name, any_value(json_extract_string(r.config, '$.publish')) AS section FROM tags t JOIN runs r"
            " ON r.id = t.run_id WHERE r.config LIKE '%\"publish\"%' GROUP BY t.name HAVING section IS NOT NULL"
        )
    }


def leaking(folder: Path, shape: Shape, leaked: Callable[[str], bool] | None) -> int:
    """How many rows of the training split in this folder of an export have prompts that are in an evaluation set."""
    import pyarrow.parquet as pq

    count = 0
    for file in sorted(folder.glob("train-*.parquet")) if leaked else ():
        with duckdb.connect() as connection:
            connection.register("rows", pq.read_table(file))
            prompts = connection.execute(f"SELECT {shape.prompt} FROM rows").fetchall()
        count += sum(leaked(prompt) for (prompt,) in prompts)  # type: ignore[misc]  # not None here
    return count


def models(lake: Lake) -> list[Row]:
    """The models, oldest first: id, path, recipe, view, tag and its snapshot_id, base_id, base_path, seconds, run_id,
    created_at, and `rows`: the query whose rows are those it was trained on, for `alignery sql --at TAG`; `parts`: the
    ids of the models that it is the mean of, of a soup; `mix`: how its rows were mixed, None if they were not.

    `status`: current, promoted (and replaced since), kept (the gate held it back), rolled back, or None without a
    decision; `alias`: that of the decision; `why`: its reasons.
    """
    decided = {row["model"]: row for row in model_registry.decisions(lake)}
    in_place = {
        row["model"] for alias in {r["alias"] for r in decided.values()} if (row := model_registry.current(lake, alias))
    }
    at = {row["name"]: row["snapshot_id"] for row in status.tags(lake)}
    found = lake.rows(
        "SELECT id, path, recipe, view, tag, base_id, base_path, seconds, run_id, created_at, config FROM models"
        " ORDER BY snapshot_id, created_at"
    )
    status.own(lake, found)
    published = _publish_sections(lake)
    for row in found:
        row["view"] = row["view"] or _READ.get(row["recipe"])
        row["snapshot_id"] = at.get(row["tag"])
        config = json.loads(row.pop("config") or "{}")
        row["parts"] = list(config.get("of", {}).values()) if row["recipe"] == "soup" else []
        row["mix"] = config.get("mix")
        row["rows"] = _rows(lake, row["view"], published.get(row["tag"]), row["mix"]) if row["view"] else None
        decision = decided.get(row["id"])
        row["status"] = "current" if row["id"] in in_place else decision and decision["state"]
        row["why"] = decision and decision["reasons"]
        row["alias"] = decision and decision["alias"]
    return found


def _rows(lake: Lake, view: str, publish: Publish | None, mix: Mix | None) -> str | None:
    if not publish:
        return rows_of(lake.schema, view, mix=mix)
    with lake.cursor(views=lake.schema.views) as cursor:
        return rows_of(lake.schema, view, marked=_marked(cursor, lake.schema, view, publish), mix=mix)


def upon(model: Row, models: Iterable[Row]) -> list[Row]:
    """The models trained on top of one, and on top of those, in the order in which they were made; also the means of
    several models of which it is one."""
    below, found = {model["id"]}, []
    for row in models:
        if below & {row["base_id"], *row["parts"]} and row["id"] not in below:
            below.add(row["id"])
            found.append(row)
    return found


def uses(lake: Lake, cursor: duckdb.DuckDBPyConnection, ids: Iterable[str], instructions: Iterable[str]) -> list[Row]:
    """Where records are used: for each tag and view with any of them, its ids, and the models trained on it.

    Args:
        cursor: in a read transaction (`time_travel.read_transaction`).
        ids: the records.
        instructions: the instructions that they belong to.

    Returns:
        tag, snapshot_id, view, ids, and models: a model's row each, with `ids` (those of them that it has read) and
        `upon` (the models trained on top of it).
    """
    schema = lake.schema
    trained, found, published = models(lake), list[Row](), _publish_sections(lake)
    views = dict.fromkeys((*PUBLISHED, *(row["view"] for row in trained if row["view"])))
    views = {name: None for name in views if name in schema.shapes}
    _gather(cursor, schema, instructions, [schema.shapes[name].view for name in views])
    for tag in status.tags(lake):
        set_snapshot(cursor, "held", tag["snapshot_id"])
        for view in views:
            marked = _marked(cursor, schema, view, published.get(tag["name"]), "held.")
            in_view = _among(cursor, f"SELECT id FROM {marked or 'held.' + schema.shapes[view].view}", ids)
            if not in_view:
                continue
            readers = [row for row in trained if (row["tag"], row["view"]) == (tag["name"], view)]
            read = [(row, in_training(cursor, schema, view, in_view, marked, row["mix"])) for row in readers]
            readers_of_these = [row | {"ids": some, "upon": upon(row, trained)} for row, some in read if some]
            use = {"tag": tag["name"], "snapshot_id": tag["snapshot_id"], "view": view}
            found.append(use | {"ids": in_view, "models": readers_of_these})
    return found


def in_training(
    cursor: duckdb.DuckDBPyConnection,
    schema: LakeSchema,
    view: str,
    ids: Iterable[str],
    marked: str = "",
    mix: Mix | None = None,
) -> list[str]:
    """Those rows of a view, at the snapshot that `held` has, that a model trained on it has read."""
    query = rows_of(schema, view, "id", "held.", marked, mix)
    return _among(cursor, query, ids) if query else []


def _among(cursor: duckdb.DuckDBPyConnection, query: str, ids: Iterable[str]) -> list[str]:
    return [row["id"] for row in fetch_rows(cursor, f"FROM ({query}) WHERE {is_in('id', ids)} ORDER BY id")]


def _gather(
    cursor: duckdb.DuckDBPyConnection, schema: LakeSchema, instructions: Iterable[str], views: Iterable[str]
) -> None:
    """Create `held`, for these views, from the records of these instructions and of those with the same text.

    The views choose among the rows of one prompt, so over these few rows they choose as over all, at once.
    """
    cursor.execute(
        "CREATE OR REPLACE TEMP TABLE related AS SELECT id FROM instructions WHERE text IN"
        f" (SELECT text FROM instructions WHERE {is_in('id', instructions)})"
    )
    asked = [*views, *(name for name in ("edited", "reviews") if name in schema.views)]  # the latter for people's marks
    related, filled = {"instructions"}.union(*map(schema.read_by, asked)), filled_tables(cursor)
    for table in sorted(related):
        column = "id" if table == "instructions" else "instruction_id"
        among = f" WHERE {column} IN (SELECT id FROM related)" if column in schema.tables[table].names else ""
        rows = f"SELECT snapshot_id, * FROM {table}{among}" if table in filled else no_rows(schema.tables[table])
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE related_{table} AS {rows}")
    define_schema_at(cursor, schema, "held", 0, {table: f"temp.related_{table}" for table in related}, asked)

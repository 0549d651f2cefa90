"""A row's ancestors and descendants: from the request for its instruction to the models it trained.

Everything made from an instruction names it, so one query finds the whole family; families are linked only by
instructions that were examples in the request for another.

A record names as its parents all that it was made from, direct and indirect (a revision: the critique, what it revises,
the first answer, the instruction); the direct one, the last that was made, is its parent in the tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from typing import Any

import duckdb

from warehouse.lake import Lake
from warehouse.query.records import BOUND, has_any, is_in, nodes, whole_id, wrote
from warehouse.query.time_travel import read_transaction
from warehouse.query.trained_on import uses
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.tables import Row

NODES = 40  # ancestors, and as many descendants, that are shown where not all are wanted
_Pool = dict[str, Row]


def trace(lake: Lake, id: str, *, full: bool = False) -> dict[str, Any]:
    """The ancestors and descendants of a record or an attempt, and the tags and models that use them.

    Args:
        id: its id, or the beginning of it, of six characters at least, that no other has.
        full: all of them and all of their texts; else some 40 of each, and 2,000 characters.

    Returns:
        `id`; `nodes`, parents before children, each with relation ('ancestor', 'itself' or 'descendant'), record_table
        ('attempts' for a call that was not accepted, 'requests' for a root that no record is), label (what a row of it
        is called), id, parents, `under` (the nearest of its parents), text, step, prompt_id, prompt, model, seed,
        run_id, created_at and what its table says beside; `cut`: the relations of which there are more; `uses`: see
        `trained_on.uses`.

    Raises:
        LakeUsageError: no id begins so, or several do.
    """
    bound, limit = (None, None) if full else (BOUND, NODES)
    with read_transaction(lake) as cursor:
        table, whole = whole_id(cursor, lake.schema, id)
        pool, cut = _gathered(
            cursor, lake.schema, nodes(cursor, lake.schema, [table], is_in("id", [whole]), bound)[0], bound, limit
        )
        edges = _edges(pool.values())
        above, below = _reached(edges, whole), _reached(_turned(edges), whole)
        descendants = [one for one in TopologicalSorter(edges).static_order() if one in below][:limit]
        if len(descendants) < len(below):
            cut.add("descendant")
        relations = dict.fromkeys(above, "ancestor") | dict.fromkeys(descendants, "descendant") | {whole: "itself"}
        shown = wrote(cursor, [{"relation": relation} | pool[one] for one, relation in relations.items()], bound)
        shown = _ordered(shown + _requests(shown))
        shown = [node | {"label": lake.schema.label(node["record_table"])} for node in shown]
        mine = [node for node in shown if node["relation"] != "ancestor"]
        used = uses(lake, cursor, [n["id"] for n in mine], {n["instruction_id"] for n in mine if n["instruction_id"]})
    return {"id": whole, "nodes": shown, "cut": sorted(cut), "uses": used}


def _gathered(
    cursor: duckdb.DuckDBPyConnection, schema: LakeSchema, root: Row, bound: int | None, limit: int | None
) -> tuple[_Pool, set[str]]:
    """All that may be related to a node, by id, and the relations of which there is more."""
    begun = [root]
    if root["record_table"] == "attempts":
        begun += nodes(cursor, schema, list(schema.records), is_in("attempt_id", [root["id"]]), bound)
    if not root["instruction_id"]:
        begun += _by_parents(cursor, schema, root, bound)
    pool = {node["id"]: node for node in begun}
    # A call that wrote nothing belongs to no instruction, but one is among its parents.
    own = {id for node in begun for id in ([node["instruction_id"]] if node["instruction_id"] else node["parents"])}
    above, more_above = _instructions(cursor, schema, own, "parents", bound, limit)
    shown = [node["id"] for node in begun if node["record_table"] == "instructions"]
    below, more_below = _instructions(cursor, schema, shown, "children", bound, limit)
    pool |= above
    pool |= _family(cursor, schema, own & above.keys(), bound, None)
    # Those of which this one was an example.
    family = _family(cursor, schema, below.keys() - own, bound, None if limit is None else limit + 1)
    pool |= below | family
    cut = {"ancestor"} if more_above else set()
    return pool, cut | ({"descendant"} if more_below or (limit is not None and len(family) > limit) else set())


def _by_parents(cursor: duckdb.DuckDBPyConnection, schema: LakeSchema, root: Row, bound: int | None) -> list[Row]:
    """A mark's rows, and the marks on a row: if these belong to no instruction, only their parents lead there."""
    if root["record_table"] == "marks":
        return nodes(cursor, schema, [*schema.records, "attempts"], is_in("id", root["parents"]), bound)
    there = [name for name in ("marks",) if name in schema.records]
    return nodes(cursor, schema, there, has_any("parents", [root["id"]]), bound) if there else []


def _instructions(
    cursor: duckdb.DuckDBPyConnection,
    schema: LakeSchema,
    ids: Iterable[str],
    way: str,
    bound: int | None,
    limit: int | None,
) -> tuple[_Pool, bool]:
    """Instructions from example to example: these and their ancestors ('parents'), or what is below them ('children').

    Each level is one query. Stops when there are more than the limit, and returns whether it did.
    """
    found: _Pool = {}
    level = set(ids)
    while level:
        if limit is not None and len(found) > limit:
            return found, True
        sought = is_in("id", level) if way == "parents" else has_any("parents", level)
        new = nodes(cursor, schema, ["instructions"], sought, bound, None if limit is None else limit + 1)
        fresh = {node["id"]: node for node in new if node["id"] not in found}
        found |= fresh
        level = set(fresh) if way == "children" else {parent for node in fresh.values() for parent in node["parents"]}
        level -= found.keys() if way == "parents" else set()
    return found, False


def _family(
    cursor: duckdb.DuckDBPyConnection, schema: LakeSchema, ids: Iterable[str], bound: int | None, limit: int | None
) -> _Pool:
    """All that was made from instructions: records, and calls that made none."""
    ids = list(ids)
    if not ids:
        return {}
    found = nodes(cursor, schema, schema.of_instructions, is_in("instruction_id", ids), bound, limit)
    lost = f"state <> 'accepted' AND {has_any('parents', ids)}"
    return {node["id"]: node for node in found + nodes(cursor, schema, ["attempts"], lost, bound, limit)}


def _edges(found: Iterable[Row]) -> dict[str, list[str]]:
    """Each node's parents among these; a record's attempt is one, where the attempt itself is meant."""
    by_id = {node["id"]: node for node in found}
    edges = {}
    for id, node in by_id.items():
        parents = dict.fromkeys([*node["parents"], node.get("attempt_id")])
        edges[id] = [parent for parent in parents if parent in by_id and parent != id]
    return edges


def _turned(edges: Mapping[str, list[str]]) -> dict[str, list[str]]:
    turned: dict[str, list[str]] = {id: [] for id in edges}
    for id, parents in edges.items():
        for parent in parents:
            turned[parent].append(id)
    return turned


def _reached(edges: Mapping[str, list[str]], start: str) -> set[str]:
    """The nodes that edges lead to from one, itself left out."""
    found: set[str] = set()
    todo = list(edges[start])
    while todo:
        id = todo.pop()
        if id not in found:
            found.add(id)
            todo += edges[id]
    return found


def _requests(found: list[Row]) -> list[Row]:
    """The parents that are not records: requests for instructions, and held-out prompts, as stored in attempts."""
    known = {node["id"] for node in found}
    given: dict[str, dict[str, Any]] = {}
    for node in found:
        inputs = json.loads(node.pop("inputs") or "{}")
        if node["relation"] != "descendant":
            asked = set(node["parents"]) - known
            given |= {id: inputs for id in inputs.values() if isinstance(id, str) and id in asked}
    return [
        {"relation": "ancestor", "record_table": "requests", "id": id, "parents": [], "text": None}
        | {"instruction_id": None, "topic": inputs.get("topic"), "exemplars": _texts(inputs.get("exemplars", []))}
        for id, inputs in given.items()
    ]


def _texts(exemplars: Iterable[str | Row]) -> list[str]:
    """The texts of a request's exemplars; those of a question also have a type and a topic."""
    return [one if isinstance(one, str) else one["text"] for one in exemplars]


def _ordered(found: list[Row]) -> list[Row]:
    """Parents before children, each under the last of its parents."""
    by_id = {node["id"]: node for node in found}
    edges = _edges(found)
    order = list(TopologicalSorter(edges).static_order())
    place = {id: number for number, id in enumerate(order)}
    return [by_id[id] | {"under": max(edges[id], key=place.__getitem__, default=None)} for id in order]

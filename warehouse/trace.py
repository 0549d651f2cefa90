"""Where a row comes from and what came of it: from the request that asked for its instruction to the models it trained.

A record names as its parents all that it was made from, near and far (a revision: the critique, what it revises, the
first answer, the instruction), so that the nearest of them, the one made last, is the branch it hangs on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from graphlib import TopologicalSorter
from typing import Any

import duckdb

from warehouse.lake import Lake
from warehouse.records import BOUND, in_list, nodes, starting_with, wrote
from warehouse.schema import LakeError, Row, quoted
from warehouse.standing import scratch
from warehouse.training import uses

SHORTEST = 6  # characters of an id that may stand for the whole of it
NODES = 40  # ancestors, and as many descendants, that are told where not all are wanted


def trace(lake: Lake, id: str, *, full: bool = False) -> dict[str, Any]:
    """The ancestors and descendants of a record or an attempt, and the tags and models that hold them.

    Args:
        id: its id, or the beginning of it, of six characters at least, that no other has.
        full: all of them and all of their texts; else 40 of each, and 2,000 characters.

    Returns:
        `id`; `nodes`, parents before children, each with relation ('ancestor', 'itself' or 'descendant'), record_table
        ('attempts' for a call that was not accepted, 'requests' for a root that no record is), id, parents, `under`
        (the nearest of its parents), text, step, prompt_id, prompt, model, seed, run_id, created_at and what its table
        says beside; `cut`: the relations of which there are more; `uses`: see `training.uses`.

    Raises:
        LakeError: no id begins so, or several do.
    """
    bound = None if full else BOUND
    with scratch(lake) as cursor:
        (root,) = nodes(cursor, f"id = {quoted(_find(cursor, id))}", bound)
        above, more_above = _above(cursor, root, bound)
        below, more_below = _below(cursor, root, bound)
        tagged = [("ancestor", above), ("itself", [root]), ("descendant", below)]
        found = [{"relation": relation} | node for relation, several in tagged for node in several]
        told = wrote(cursor, found, bound)
        told = _ordered(told + _requests(told))
        mine = [root, *below]
        used = uses(
            lake,
            cursor,
            [node["id"] for node in mine],
            {node["instruction_id"] for node in mine if node["instruction_id"]},
        )
    cut = [name for name, more in (("ancestor", more_above), ("descendant", more_below)) if more]
    return {"id": root["id"], "nodes": told, "cut": cut, "uses": used}


def _find(cursor: duckdb.DuckDBPyConnection, id: str) -> str:
    """The whole id that begins so."""
    found = starting_with(cursor, id, exactly=len(id) < SHORTEST)
    whole = {row["id"] for row in found}
    if id in whole:
        return id
    if len(whole) == 1:
        return whole.pop()
    if not whole:
        short = f"; give {SHORTEST} characters of it at least" if len(id) < SHORTEST else ""
        raise LakeError(f"no record or attempt has an id that is or begins with {id!r}{short}")
    names = ", ".join(f"{row['id']} ({row['record_table']})" for row in found)
    raise LakeError(f"{id!r} begins several ids: {names}; give more of it")


def _above(cursor: duckdb.DuckDBPyConnection, root: Row, bound: int | None) -> tuple[list[Row], bool]:
    found: dict[str, Row] = {}
    next_up = set(root["parents"])
    while next_up:
        if bound is not None and len(found) + len(next_up) > NODES:
            return list(found.values()), True
        level = nodes(cursor, f"id IN {in_list(sorted(next_up))}", bound)
        found |= {node["id"]: node for node in level}
        next_up = {parent for node in level for parent in node["parents"]} - found.keys() - next_up
    return list(found.values()), False


def _below(cursor: duckdb.DuckDBPyConnection, root: Row, bound: int | None) -> tuple[list[Row], bool]:
    found: dict[str, Row] = {}
    # An attempt's children are the records that it wrote; it is the parent of none.
    made = f"attempt_id = {quoted(root['id'])} AND record_table <> 'attempts'"
    sought = made if root["record_table"] == "attempts" else _made_from([root["id"]])
    while sought:
        room = None if bound is None else NODES - len(found)
        level = nodes(cursor, sought, bound, limit=None if room is None else room + 1)
        new = [node for node in level if node["id"] not in found and node["id"] != root["id"]]
        if room is not None and len(new) > room:
            return [*found.values(), *new[:room]], True
        found |= {node["id"]: node for node in new}
        sought = _made_from(node["id"] for node in new) if new else ""
    return list(found.values()), False


def _made_from(ids: Iterable[str]) -> str:
    """The condition of what was made from these: records, and calls that made none."""
    listed = ", ".join(quoted(id) for id in ids)
    return f"list_has_any(parents, [{listed}]) AND (record_table <> 'attempts' OR state <> 'accepted')"


def _requests(found: list[Row]) -> list[Row]:
    """Those parents that are no records: requests for instructions, and held-out prompts, as the attempts say them."""
    known = {node["id"] for node in found}
    given: dict[str, dict[str, Any]] = {}
    for node in found:
        inputs = json.loads(node.pop("inputs") or "{}")
        if node["relation"] != "descendant" and node["record_table"] in ("instructions", "eval_answers", "attempts"):
            given |= {parent: inputs for parent in node["parents"] if parent not in known}
    return [
        {"relation": "ancestor", "record_table": "requests", "id": id, "parents": [], "text": None}
        | {"topic": inputs.get("topic"), "exemplars": inputs.get("exemplars", [])}
        for id, inputs in given.items()
    ]


def _ordered(found: list[Row]) -> list[Row]:
    """Parents before children, each under the last of its parents."""
    by_id = {node["id"]: node for node in found}
    edges = {}
    for node in found:
        parents = [*node["parents"], node.get("attempt_id")]
        edges[node["id"]] = [parent for parent in parents if parent in by_id and parent != node["id"]]
    order = list(TopologicalSorter(edges).static_order())
    place = {id: number for number, id in enumerate(order)}
    return [by_id[id] | {"under": max(edges[id], key=place.__getitem__, default=None)} for id in order]

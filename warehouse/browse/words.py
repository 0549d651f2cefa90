"""Texts of requests: prompts, principles and rules, their wordings over time, and the effect of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignery.untrusted import excerpt
from warehouse.browse.story import BOUND
from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.query.records import is_in, shortened
from warehouse.schema.tables import Row, quoted

PRINCIPLE = "principle:"
EXAMPLES = 12


def principles(lake: Lake) -> list[Row]:
    """The view `principles`, where the lake's methods have it."""
    return lake.rows("SELECT * FROM principles") if "principles" in lake.schema.views else []


def prompts(lake: Lake) -> list[Row]:
    """Every wording: hash, id, source (its beginning), created_at, calls, accepted; an id's newest wording first.

    A principle or rule is not a prompt of its own, so it has no calls.
    """
    return lake.rows(
        f"SELECT p.hash, p.id, {shortened('p.source', 600)} AS source, p.created_at, coalesce(a.calls, 0) AS calls,"
        " coalesce(a.accepted, 0) AS accepted FROM (SELECT hash, any_value(id) AS id, any_value(source) AS source,"
        " min(created_at) AS created_at FROM prompts GROUP BY hash) p LEFT JOIN (SELECT prompt_hash, count(*) AS calls,"
        " count(*) FILTER (state = 'accepted') AS accepted FROM attempts GROUP BY prompt_hash) a"
        " ON a.prompt_hash = p.hash ORDER BY p.id, p.created_at DESC, p.hash"
    )


def wordings(lake: Lake, id: str) -> list[Row]:
    """The wordings of one id, the newest first. Raises LakeUsageError if the id is unknown."""
    if not (by_id := _wordings(lake, [id])):
        raise LakeUsageError(f"no prompt or principle {excerpt(id, 60)!r}; see /words for those that were sent")
    return by_id[id]


def _wordings(lake: Lake, ids: Sequence[str]) -> dict[str, list[Row]]:
    """Id → its wordings, the newest first; of those that are known."""
    found: dict[str, list[Row]] = {}
    for row in lake.rows(
        f"SELECT id, hash, any_value({shortened('source', BOUND)}) AS source, min(created_at) AS created_at"
        f" FROM prompts WHERE {is_in('id', ids)} GROUP BY id, hash ORDER BY created_at DESC, hash"
    ):
        found.setdefault(row.pop("id"), []).append(row)
    return found


def principle(lake: Lake, id: str) -> dict[str, Any]:
    """The effect of one principle.

    Returns:
        critique and revision: its wordings, where it was asked with them; rounds: round, drawn, changed; examples: the
        newest revisions under it that changed something, each with prompt, before, critique (null of a direct revision)
        and after.

    Raises:
        LakeUsageError: no such principle.
    """
    own, revision = f"{PRINCIPLE}{id}", f"{PRINCIPLE}{id}:revision"
    by_id = _wordings(lake, [own, revision])
    if not by_id:
        raise LakeUsageError(f"no principle {excerpt(id, 60)!r}; see /words for those that were drawn")
    return {
        "critique": by_id.get(own, []),
        "revision": by_id.get(revision, []),
        "rounds": _rounds(lake, id),
        "examples": _examples(lake, id),
    }


def _rounds(lake: Lake, id: str) -> list[Row]:
    if "revisions" not in lake.schema.tables:
        return []
    return lake.rows(
        "SELECT round, count(*) AS drawn, count(*) FILTER (changed) AS changed FROM revisions"
        f" WHERE principle_id = {quoted(id)} GROUP BY round ORDER BY round"
    )


def _examples(lake: Lake, id: str) -> list[Row]:
    if "revisions" not in lake.schema.tables:
        return []
    newest = lake.rows(
        "SELECT id, round, created_at, instruction_id, target_id, critique_id FROM revisions"
        f" WHERE principle_id = {quoted(id)} AND changed ORDER BY created_at DESC, id LIMIT {EXAMPLES}"
    )
    # One statement a table, with ids as literals: so their files are searched by the column that they are sorted by.
    instruction_ids = {row["instruction_id"] for row in newest}
    of_these = is_in("instruction_id", instruction_ids)
    prompts = _texts(lake, "instructions", is_in("id", instruction_ids))
    texts = _texts(lake, "responses", f"{is_in('id', {row['target_id'] for row in newest})} AND {of_these}")
    revisions = {row[name] for row in newest for name in ("id", "target_id")}
    texts |= _texts(lake, "revisions", f"{is_in('id', revisions)} AND {of_these}")
    critiques = _texts(
        lake, "critiques", f"{is_in('id', {row['critique_id'] for row in newest} - {None})} AND {of_these}"
    )
    return [
        {name: row[name] for name in ("id", "round", "created_at")}
        | {"prompt": prompts.get(row["instruction_id"]), "before": texts[row["target_id"]]}
        | {"critique": critiques.get(row["critique_id"]), "after": texts[row["id"]]}
        for row in newest
        if row["target_id"] in texts
    ]


def _texts(lake: Lake, table: str, where: str) -> dict[str, str]:
    """Id → the beginning of the text, of the rows that satisfy a condition."""
    found = lake.rows(f"SELECT id, {shortened('text', BOUND)} AS text FROM {table} WHERE {where}")
    return {row["id"]: row["text"] for row in found}

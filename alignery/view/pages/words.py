"""Principles and prompts: their text, how often they were used, what they changed, and examples."""

from __future__ import annotations

from typing import Any

from alignery.errors import UsageError
from alignery.untrusted import excerpt
from alignery.view.page_request import Page, PageRequest
from warehouse.browse import words as asked
from warehouse.browse.words import PRINCIPLE


def words(req: PageRequest) -> Page:
    """All principles and prompts; with `a` and `b` two wordings beside each other."""
    principles = req.once("principles", count=lambda: asked.principles(req.lake))
    prompts = req.once("prompts", count=lambda: asked.prompts(req.lake))
    by_hash = {row["hash"]: row for row in prompts}
    chosen = [_chosen(by_hash, req.get(side)) for side in ("a", "b")] if req.get("a") and req.get("b") else None
    data = {"principles": principles, "prompts": prompts, "compared": chosen}
    queries = ("SELECT * FROM principles", "SELECT * FROM prompts ORDER BY id, created_at DESC")
    return Page("words/words.html", "Principles and prompts", data, queries)


def word(req: PageRequest, id: str) -> Page:
    """One principle with what it changed, or one prompt with its wordings."""
    if id.startswith(PRINCIPLE):
        name = id.removeprefix(PRINCIPLE).removesuffix(":revision").removesuffix(":comparison")
        found = req.once("principle", name, count=lambda: asked.principle(req.lake, name))
        query = f"SELECT * FROM revisions WHERE principle_id = '{name}' AND changed ORDER BY created_at DESC"
        return Page("words/principle.html", f"Principle {name}", {"id": name} | found, (query,))
    wordings = req.once("wordings", id, count=lambda: asked.wordings(req.lake, id))
    return Page(
        "words/word.html",
        id,
        {"id": id, "wordings": wordings},
        ("SELECT * FROM prompts WHERE id = '" + id.replace("'", "''") + "'",),
    )


def _chosen(by_hash: dict[str, Any], hash: str) -> Any:
    if hash not in by_hash:
        raise UsageError(f"got {excerpt(hash, 60)!r}, expected the hash of a prompt; see those of /words")
    return by_hash[hash]

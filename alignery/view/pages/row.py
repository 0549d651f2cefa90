"""A row's page: its request, the records derived from it, what each stage changed, and the models trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignery.view.page_request import Page, PageRequest
from alignery.view.pages.marks import current_marks
from warehouse.browse.story import BOUND, story, uses

Row = dict[str, Any]
REWRITES = ("revisions", "corrections")  # whose text replaces another
# Fields with a place of their own on the page, or that belong to the attempt.
_APART = {
    *("id", "record_table", "parents", "attempt_id", "work_key", "run_id", "created_at", "snapshot_id", "text"),
    *("raw_text", "thought", "instruction_id", "response_id", "target_id", "critique_id", "principle_hash"),
    *(
        "kind",
        "round",
        "template_id",
        "request_id",
        "nearest",
        "inputs",
        "fingerprint",
        "prompt_hash",
        "request_key",
        "sampling",
    ),
}


def row(req: PageRequest, table: str, id: str) -> Page:
    """The story of a record or an attempt."""
    found = req.once("story", table, id, count=lambda: story(req.lake, table, id))
    texts = {one["id"]: _text(one) for one in (found["instruction"], *found["members"]) if one}
    shown = {
        "stages": [_stage(req, one, found, texts) for one in _ordered(found["members"])],
        "asked": _stage(req, found["instruction"], found, texts) if found["instruction"] else None,
        "request": _request(found),
        "focus": found["row"]["id"],
        "bound": BOUND,
        "marks": current_marks(req, texts),
        "marking": not (req.bundled or req.get("at")),
    }
    label = req.lake.schema.label(table)
    query = f"SELECT * FROM {table} WHERE id = '{found['row']['id']}'"
    about = found["instruction"] or found["row"]
    return Page("rows/row.html", f"{label} {about['id'][:8]}", found, (query,), shown | {"label": label})


def used_by(req: PageRequest, table: str, id: str) -> Page:
    """The tags, views and models that use a row or what was made beside it."""
    found = req.once("story", table, id, count=lambda: story(req.lake, table, id))
    about = found["instruction"]
    ids = [one["id"] for one in found["members"]]
    where = req.once("uses", about["id"], count=lambda: uses(req.lake, ids, about["id"])) if about else []
    return Page("rows/uses.html", "Used by", {"uses": where, "id": id, "table": table})


def _stage(req: PageRequest, one: Row, found: Mapping[str, Any], texts: Mapping[str, str | None]) -> Row:
    """A record or lost call as the page shows it."""
    call = one if one["record_table"] == "attempts" else found["calls"].get(one.get("attempt_id"))
    before = next((one[name] for name in ("target_id", "response_id") if one.get(name)), None)
    rewrites = one["record_table"] in REWRITES
    words = found["words"]
    return {
        "one": one,
        "heading": _heading(req, one),
        "text": _text(one),
        "column": "raw_text" if one["record_table"] == "attempts" else req.lake.schema.text_column(one["record_table"]),
        "before": texts.get(before) if rewrites and before else None,
        "thought": one.get("thought") or (call or {}).get("thought"),
        "principle": words.get(one.get("principle_hash")),
        "facts": {name: value for name, value in one.items() if name not in _APART and value is not None},
        "call": call,
        "prompt": words.get(call["prompt_hash"]) if call else None,
    }


def _ordered(members: list[Row]) -> list[Row]:
    """Answer by answer: each with its critiques and revisions in their rounds, then what else was made of it."""
    began: dict[str, int] = {}
    for one in members:
        began.setdefault(one.get("response_id") or one["id"], len(began))
    chain = ("responses", "critiques", "revisions")
    return sorted(
        members, key=lambda one: (began[one.get("response_id") or one["id"]], one["record_table"] not in chain)
    )


def _heading(req: PageRequest, one: Row) -> str:
    """What a row is called, with its round and kind."""
    label = "attempt" if one["record_table"] == "attempts" else req.lake.schema.label(one["record_table"])
    kind = f" ({one['kind']})" if one.get("kind") else ""
    return label.capitalize() + (f" {one['round']}" if one.get("round") else "") + kind


def _text(one: Row) -> str | None:
    """A row's text."""
    return next((one[name] for name in ("text", "raw_text", "output", "reason") if one.get(name)), None)


def _request(found: Mapping[str, Any]) -> Row | None:
    """The request for the instruction: its topic and examples."""
    about = found["instruction"]
    call = found["calls"].get(about.get("attempt_id")) if about else None
    if call is None:
        return None
    shown = call["inputs"].get("exemplars") or []
    texts = [one if isinstance(one, str) else str(one.get("text", one)) for one in shown if isinstance(one, str | dict)]
    return {"topic": call["inputs"].get("topic"), "exemplars": texts, "call": call}

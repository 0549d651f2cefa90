"""People's marks: on a row of a story, and one after another from a queue, pairs blind and in both orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from alignery.errors import UsageError
from alignery.pipeline.marks import Mark, add, agreement, of, queue
from alignery.view.page_request import Page, PageRequest
from warehouse.marks.queue import ORDERS, kinds
from warehouse.marks.things import find

Row = dict[str, Any]
NAME = "alignery-view-name"  # the cookie that remembers under which name marks were made
FORM = 1 << 20  # bytes of one
_FIELDS = ("target_id", "other_id", "by", "verdict", "text", "note", "dimension", "shown_left")


def marks(req: PageRequest) -> Page:
    """The next thing of a queue for a person, and how far people and judges agree."""
    lake, by = req.lakes.now, req.get("by")
    kind, order = req.get("kind", "pairs"), req.get("order", "random")
    item = None
    if by:
        item = next(iter(queue(lake, kind, order, 1, by=by, dimension=req.get("dimension") or None)), None)
    now = lake.snapshot()
    data = {
        "by": by,
        "kind": kind,
        "order": order,
        "item": item,
        "sides": _sides(item) if item else [],
        "agreement": req.lakes.once(lake, now, ("agreement",), lambda: agreement(lake)),
    }
    queries = ("SELECT * FROM current_marks ORDER BY created_at DESC",)
    return Page("marks.html", "Marks", data, queries, {"kinds": kinds(lake), "orders": ORDERS})


def current_marks(req: PageRequest, ids: Iterable[str]) -> Mapping[str, list[Row]]:
    """Id → people's current marks of that row."""
    marks_by_id: dict[str, list[Row]] = defaultdict(list)
    if "current_marks" in req.lake.schema.views:
        for row in req.once("marks", *ids, count=lambda: of(req.lake, list(ids))):
            if not row["other_id"]:
                marks_by_id[row["target_id"]].append(row)
    return marks_by_id


def form_of(body: bytes) -> dict[str, str]:
    """The fields of a form, as a browser sends them."""
    if len(body) > FORM:
        raise UsageError(f"the form has more than {FORM:,} bytes; shorten it")
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=20, errors="strict"))
    except ValueError as error:
        raise UsageError(f"the form cannot be read: {error}; send it from its page") from error


def keep(req: PageRequest, form: Mapping[str, str]) -> None:
    """Commit a form as a mark. Raises MarkError if it is not a mark, LakeFailure if it could not be written."""
    given: dict[str, Any] = {name: form[name] for name in _FIELDS if form.get(name)}
    with req.lakes.writing() as lake:
        if "text" in given:
            given["text"] = _lines(given["text"])
            thing = find(lake, [given.get("target_id", "")]).get(given.get("target_id", ""))
            if thing and given["text"] == _lines(thing["text"] or ""):
                del given["text"]  # the field came as it was shown
        add(lake, Mark(**{"target_id": "", "by": ""} | given, origin="page"))


def _lines(text: str) -> str:
    """The text with plain line breaks: a browser sends each as two characters."""
    return text.replace("\r\n", "\n")


def _sides(item: Row) -> list[Row]:
    """The texts of a pair from left to right, each with the verdict that prefers it; of a row its only text."""
    if not item["other_id"]:
        return [{"text": item["first"], "verdict": "right"}]
    sides = [{"text": item[name], "verdict": name} for name in ("first", "second")]
    return sides if item["left"] == "first" else sides[::-1]

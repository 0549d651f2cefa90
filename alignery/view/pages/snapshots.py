"""Snapshots and tags, and the differences between two of them."""

from __future__ import annotations

from alignery.view.page_request import Page, PageRequest
from warehouse.query.diff import diff
from warehouse.query.snapshots import resolve
from warehouse.query.snapshots import snapshots as newest

SHOWN = 100


def snapshots(req: PageRequest) -> Page:
    """The newest snapshots; with `a` (and `b`, by default the newest) what came between two of them."""
    now = req.lakes.now
    listed = newest(now, SHOWN)
    compared = None
    if req.get("a"):
        a, b = resolve(now, req.get("a")), resolve(now, req.get("b")) if req.get("b") else now.snapshot()
        compared = req.lakes.once(now, now.snapshot(), ("diff", a, b), lambda: diff(now, a, b, 5))
    data = {"snapshots": listed, "compared": compared, "asked": (req.get("a"), req.get("b") or "now")}
    return Page("snapshots.html", "Snapshots", data, ("SELECT * FROM ducklake_snapshots('lake')",))

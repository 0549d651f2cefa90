"""Snapshots and tags, and what two of them differ in."""

from __future__ import annotations

from alignery.view.ask import Ask, Page
from warehouse.query.diff import diff
from warehouse.query.snapshots import resolve
from warehouse.query.snapshots import snapshots as newest

SHOWN = 100


def snapshots(ask: Ask) -> Page:
    """The newest snapshots; with `a` (and `b`, by default the newest) what came between two of them."""
    now = ask.lakes.now
    listed = newest(now, SHOWN)
    compared = None
    if ask.get("a"):
        a, b = resolve(now, ask.get("a")), resolve(now, ask.get("b")) if ask.get("b") else now.snapshot()
        compared = ask.lakes.once(now, now.snapshot(), ("diff", a, b), lambda: diff(now, a, b, 5))
    data = {"snapshots": listed, "compared": compared, "asked": (ask.get("a"), ask.get("b") or "now")}
    return Page("snapshots.html", "Snapshots", data, ("SELECT * FROM ducklake_snapshots('lake')",))

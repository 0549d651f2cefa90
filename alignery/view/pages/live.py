"""A running refresh, and the loop: the schedule, the last decisions, what runs next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from alignery.view.page_request import Page, PageRequest
from warehouse import model_registry
from warehouse.browse.live import progress as progress_of
from warehouse.browse.live import running
from warehouse.database.lock import holder
from warehouse.query import status

SERVE = "serve"  # the lock that `alignery serve` holds
SILENT_S = 300  # after which a run is more likely dead than slow


def live(req: PageRequest) -> Page:
    """How far the running refresh is, and the loop around it."""
    moving, lake = progress(req), req.lakes.now
    decisions = model_registry.decisions(lake)
    data = {**moving.data, "decisions": decisions[:-6:-1]} | _loop(req, {row["tag"] for row in decisions})
    run = data["run"]
    query = f"SELECT step, state, count(*) FROM attempts WHERE run_id = '{run}' GROUP BY ALL" if run else ""
    return Page("live.html", "Live", data, (query,) if query else (), moving.shown)


def progress(req: PageRequest) -> Page:
    """The part of the page that is updated: of several running refreshes the requested one, else the newest."""
    lake = req.lakes.now
    there = running(lake)
    run = next((row for row in there if row["id"] == req.get("run")), there[0] if there else None)
    found = progress_of(lake, run["id"]) if run else None
    newest = (found["newest_at"] or run["created_at"]) if run and found else None
    data = {
        "running": [{"id": row["id"], "preset": row["preset"], "started_at": row["created_at"]} for row in there],
        "run": run and run["id"],
        "progress": found,
        "silent_s": max(0, round((datetime.now(UTC) - newest).total_seconds())) if newest else None,
        "runs": status.runs(lake, 8),
    }
    return Page("progress.html", "", data, shown={"silent_after": SILENT_S})


def _loop(req: PageRequest, decided: set[str]) -> dict[str, Any]:
    """What `alignery serve` does.

    Args:
        decided: the tags that a decision is about.

    Returns:
        schedule: the preset's; serving: the process that runs it now, or None; next: flow → when it is due; undecided:
        the newest published tag, if no model was trained on it and no decision made.
    """
    lake, schedule = req.lakes.now, req.lakes.preset.schedule
    published = [row["name"] for row in status.tags(lake) if row["export_path"]]
    known = decided | {row["tag"] for row in status.models(lake)}
    return {
        "schedule": {} if schedule is None else {name: str(value) for name, value in schedule if value is not None},
        "serving": holder(lake.place, SERVE),
        "next": dict(req.lakes.upcoming(schedule)) if schedule and req.lakes.upcoming else {},
        "undecided": published[-1] if published and published[-1] not in known else None,
    }

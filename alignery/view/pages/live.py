"""A refresh that is running, seen from here; and the loop: the schedule, what was decided last, what runs next."""

from __future__ import annotations

from datetime import UTC, datetime

from alignery.view.ask import Ask, Page
from warehouse import model_registry
from warehouse.browse.live import progress, running
from warehouse.query import status

SILENT_S = 300  # after which a run is more likely dead than slow


def live(ask: Ask) -> Page:
    """How far the running refresh is: of several the one asked for, else the newest."""
    lake = ask.lakes.now
    there = running(lake)
    run = next((row for row in there if row["id"] == ask.get("run")), there[0] if there else None)
    found = progress(lake, run["id"]) if run else None
    newest = (found["newest_at"] or run["created_at"]) if run and found else None
    data = {
        "running": [{"id": row["id"], "preset": row["preset"], "started_at": row["created_at"]} for row in there],
        "run": run and run["id"],
        "progress": found,
        "silent_s": max(0, round((datetime.now(UTC) - newest).total_seconds())) if newest else None,
        "runs": status.runs(lake, 8),
        "decisions": model_registry.decisions(lake)[:-6:-1],
        "schedule": _schedule(ask),
    }
    query = f"SELECT step, state, count(*) FROM attempts WHERE run_id = '{run['id']}' GROUP BY ALL" if run else ""
    return Page("live.html", "Live", data, (query,) if query else (), {"silent_after": SILENT_S})


def _schedule(ask: Ask) -> dict[str, str]:
    """When the preset's flows run, as `alignery serve` takes it."""
    schedule = ask.lakes.preset.schedule
    return {} if schedule is None else {name: str(value) for name, value in schedule if value is not None}

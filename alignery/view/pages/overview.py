"""The first page: what the runs did, step by step and reason by reason; and a run's report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignery.errors import UsageError
from alignery.untrusted import excerpt
from alignery.view.page_request import Page, PageRequest
from warehouse import model_registry
from warehouse.browse import counts
from warehouse.query import status
from warehouse.query.rejects import rejects

Row = dict[str, Any]
_SUMS = ("tokens_in", "tokens_out", "seconds")
_STATES = ("accepted", "rejected", "unparsed", "failed")
_ALL = "all"
RUNS = 20


def overview(req: PageRequest) -> Page:
    """The funnel of one run or of all, the newest runs, tags and decisions."""
    found = req.once("overview", count=lambda: _counted(req))
    run = _run(req.get("run"), found)
    steps = _steps(found, run)
    data = {
        "run": run,
        "snapshot": req.snapshot,
        "steps": steps,
        "runs": found["runs"],
        "tags": found["tags"][:-6:-1],
        "decisions": found["decisions"][:-6:-1],
    }
    where = "" if run == _ALL else f" WHERE run_id = '{run}'"
    queries = (
        f"SELECT * FROM funnel{where}",
        f"SELECT step, reason, count(*) AS times FROM rejects{where} GROUP BY ALL ORDER BY times DESC",
    )
    return Page("overview.html", "Overview", data, queries, {"most": max((s["total"] for s in steps), default=1)})


def report(req: PageRequest, run_id: str) -> Page:
    """The report of one run, on one page that needs no other file."""
    found = req.once("overview", count=lambda: _counted(req))
    run = _run(run_id, found)
    steps = _steps(found, run)
    data = {
        "run": next((row for row in found["runs"] if row["id"] == run), {"id": run}),
        "snapshot": req.snapshot,
        "steps": steps,
        "usage": req.once("usage", run, count=lambda: status.usage(req.lake, run)),
        "rejects": req.once("rejects", run, count=lambda: rejects(req.lake, run=run, samples=3) if steps else []),
        "decisions": [row for row in found["decisions"] if row["run_id"] == run],
    }
    return Page("report.html", f"Run {run[:8]}", data, (f"SELECT * FROM funnel WHERE run_id = '{run}'",),
                {"most": max((s["total"] for s in steps), default=1)})  # fmt: skip


def _counted(req: PageRequest) -> dict[str, Any]:
    return {
        "judged": _judged(req),
        "runs": status.runs(req.lake, RUNS),
        "tags": status.tags(req.lake),
        "decisions": model_registry.decisions(req.lake),
    }


def _judged(req: PageRequest) -> dict[str, list[Row]]:
    """Run → its counts by step, state and reason, of those that have any; in the order in which they began."""
    found = req.lakes.by_run(lambda: counts.versions(req.lake), lambda runs: counts.judged(req.lake, runs))
    began = {run: min(row["started_at"] for row in rows) for run, rows in found.items() if rows}
    return {run: found[run] for run in sorted(began, key=began.__getitem__)}


def _run(asked: str, found: Mapping[str, Any]) -> str:
    """The id of the run that is asked for: by default of the newest that sent something."""
    did = list(found["judged"])
    if asked == _ALL or not (did or asked):
        return _ALL
    if not asked:
        refreshes = {row["id"] for row in found["runs"] if row["flow"] == "refresh"}
        return next((run for run in reversed(did) if run in refreshes), did[-1])
    known = dict.fromkeys([*did, *(row["id"] for row in found["runs"])])
    if match := next((run for run in known if run.startswith(asked)), None):
        return match
    raise UsageError(f"run: got {excerpt(asked, 60)!r}, expected the id of a run; see those of the overview")


def _steps(found: Mapping[str, Any], run: str) -> list[Row]:
    """The steps of a run, or of all runs together, each with its reasons and the table of its accepted rows."""
    steps: dict[str, Row] = {}
    for row in (row for id, rows in found["judged"].items() if run in (_ALL, id) for row in rows):
        none = dict.fromkeys(("attempts", *_STATES, "total", *_SUMS), 0)
        step = steps.setdefault(row["step"], {"step": row["step"]} | none | {"reasons": {}})
        step["attempts"] += row["calls"]
        step["total"] += row["times"]
        step[row["state"]] += row["times"]
        for name in _SUMS:
            step[name] += row[name]
        if row["reason"] is not None and row["state"] != "accepted":
            reason = step["reasons"].setdefault((row["reason"], row["state"]), row | {"times": 0, "lost": 0})
            reason["times"] += row["times"]
            reason["lost"] += row["lost"]
    for step in steps.values():
        step["table"] = "attempts" if step["attempts"] else "candidates"
        step["reasons"] = sorted(step["reasons"].values(), key=lambda row: -row["times"])
    return list(steps.values())

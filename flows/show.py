"""What the command prints: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from warehouse.publish import Publication

    from flows.evaluate import Evaluation
    from flows.refresh import Summary
    from flows.retrain import Trained

CELL = 80  # characters of a value shown in a table
FIELD = 2000  # characters of a field shown on its own


def rows(found: Sequence[Mapping[str, Any]], as_json: bool, title: str | None = None) -> None:
    """Rows as one table."""
    if as_json:
        return _json(found)
    if not found:
        return _console().print("no rows")
    table = Table(*found[0], title=title, header_style="bold")
    for row in found:
        table.add_row(*(_cell(value, CELL) for value in row.values()))
    return _console().print(table)


def records(found: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Rows one below the other, one field a line."""
    if as_json:
        return _json(found)
    console = _console()
    for number, row in enumerate(found):
        console.rule(str(number + 1))
        for name, value in row.items():
            console.print(f"[bold]{name}[/bold]: {_cell(value, FIELD)}")
    return None if found else console.print("no rows")


def refreshed(summary: Summary, funnel: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        return _json({"run": summary, "funnel": funnel})
    rows(funnel, False, "Funnel")
    text = f"{summary.accepted} of {summary.target} instructions accepted; sent {summary.sent} requests"
    text += f", saved {summary.saved} that the lake had answers to; {summary.seconds} s."
    _console().print(text, "" if summary.sent else "Nothing was pending, nothing was committed.")
    return _console().print("Next: alignery publish · why rows were rejected: alignery show rejects")


def published(publication: Publication, as_json: bool) -> None:
    if as_json:
        return _json(publication)
    counts = ", ".join(f"{count} {view}" for view, count in publication.rows.items())
    _console().print(f"{publication.tag}: snapshot {publication.snapshot_id}, {counts} → {publication.path}")
    return _console().print(f"Load it: datasets.load_dataset('{publication.path}', 'sft') · next: alignery retrain")


def trained(models: Sequence[Trained], as_json: bool) -> None:
    if as_json:
        return _json(models)
    for model in models:
        how = f"trained in {model.seconds:.0f} s" if model.new else "trained before, from the same data and settings"
        _console().print(f"{model.recipe}: {how} → {model.path}")
    return _console().print("Next: alignery evaluate")


def evaluated(evaluations: Sequence[Evaluation], as_json: bool) -> None:
    """The figures side by side, the base first."""
    if as_json:
        return _json(evaluations)
    table = Table("held-out prompts", "n", *(e.label for e in evaluations), title="Before and after")
    for figure in evaluations[0].figures:
        after = [next((f["value"] for f in e.figures if f["metric"] == figure["metric"]), None) for e in evaluations]
        cells = ["–" if value is None else f"{value:.3f}" for value in after]
        table.add_row(figure["metric"].replace("_", " "), str(figure["count"]), *cells)
    _console().print(table)
    if len(evaluations) == 1:
        return _console().print("Only the base model so far: alignery retrain trains the next one.")
    _console().print(f"The newest model: {evaluations[-1].path}")
    return _console().print(
        "Look next: alignery show revisions · alignery show sft · "
        "alignery sql 'SELECT step, reason, count(*) n FROM rejects GROUP BY ALL ORDER BY n DESC' · alignery status"
    )


def status(
    runs: Sequence[Mapping[str, Any]],
    tags: Sequence[Mapping[str, Any]],
    models: Sequence[Mapping[str, Any]],
    as_json: bool,
) -> None:
    if as_json:
        return _json({"runs": runs, "tags": tags, "models": models})
    columns = {
        "Runs": (runs, ("flow", "preset", "state", "message", "created_at", "id")),
        "Published": (tags, ("name", "snapshot_id", "rows", "created_at", "export_path")),
        "Models": (models, ("recipe", "tag", "seconds", "path", "created_at")),
    }
    for title, (found, names) in columns.items():
        rows([{name: row[name] for name in names} for row in found], False, title)
    return None


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 160, soft_wrap=False, highlight=False)


def _cell(value: Any, limit: int) -> str:
    text = "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
    return escape(text if len(text) <= limit else text[: limit - 1] + "…")


def _json(value: Any) -> None:
    print(json.dumps(value, default=_jsonable, ensure_ascii=False, indent=2))


def _jsonable(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)

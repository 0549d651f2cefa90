"""What the command prints: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from flows.evaluate import Evaluation
    from flows.refresh import Summary
    from flows.retrain import Trained
    from warehouse.export import Export
    from warehouse.publish import Publication

CELL = 80  # characters of a value shown in a table
SHORT = 24  # characters of a value that is never broken
FIELD = 2000  # characters of a field shown on its own


def rows(found: Sequence[Mapping[str, Any]], as_json: bool, title: str | None = None) -> None:
    """Rows as one table."""
    if as_json:
        return _json(found)
    if not found:
        return _console().print("no rows")
    table = Table(title=title, header_style="bold")
    for name in found[0]:
        cells = [_cell(row[name], CELL) for row in found]
        # Short values, such as names, stay whole; long ones give way.
        table.add_column(name, no_wrap=all(len(cell) <= SHORT for cell in cells), overflow="fold")
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
    steps = [
        {
            "step": row["step"],
            "attempts": row["attempts"],
            "accepted": row["accepted"],
            "not accepted": row["rejected"] + row["unparsed"] + row["failed"],
            "most often": row["top_reason"],
            "tokens": row["tokens_out"],
            "seconds": row["seconds"],
        }
        for row in funnel
    ]
    if steps:
        rows(steps, False, "Funnel of this run")
    text = f"{summary.accepted} of {summary.target} instructions accepted; sent {summary.sent} requests"
    text += f", saved {summary.saved} that the lake had answers to; {summary.seconds} s."
    _console().print(text, "" if summary.sent else "Nothing was pending, nothing was committed.")
    return _console().print("Why rows were rejected: alignery show rejects · next: alignery publish")


def published(publication: Publication, as_json: bool) -> None:
    if as_json:
        return _json(publication)
    counts = ", ".join(f"{count} {view}" for view, count in publication.rows.items())
    _console().print(
        f"{publication.tag}: snapshot {publication.snapshot_id}, {counts} → {escape(str(publication.path))}"
    )
    return _console().print(
        f"Load it: datasets.load_dataset('{escape(str(publication.path))}', 'sft') · next: alignery retrain"
    )


def exported(export: Export, as_json: bool) -> None:
    if as_json:
        return _json(export)
    (shape, splits), *_ = export.rows.items()
    counts = ", ".join(f"{count} {split}" for split, count in splits.items())
    folder = escape(str(export.path))
    _console().print(f"{shape}: snapshot {export.snapshot_id}, {counts} → {folder}")
    if not export.created:
        _console().print("The same export stands there already; nothing was changed.")
    return _console().print(f"Load it: datasets.load_dataset('{folder}')")


def trained(models: Sequence[Trained], as_json: bool) -> None:
    if as_json:
        return _json(models)
    for model in models:
        how = f"trained in {model.seconds:.0f} s" if model.new else "trained before, from the same data and settings"
        _console().print(f"{model.recipe}: {how} → {escape(str(model.path))}")
    return _console().print("Next: alignery evaluate")


def evaluated(evaluations: Sequence[Evaluation], as_json: bool) -> None:
    """The figures side by side, the base first; the interval and the mark are the newest model's."""
    from tasks.evaluate import held_out

    if as_json:
        return _json(evaluations)
    base, newest = evaluations[0], evaluations[-1]
    figures = [{figure["metric"]: figure for figure in e.figures} for e in evaluations]
    table = Table("held-out prompts", "n", *(e.label for e in evaluations), "95 %", "", title="Before and after")
    for row in held_out.compare(base.figures, newest.figures, base.better):
        found = [one.get(row["metric"]) for one in figures]
        counts = dict.fromkeys(str(figure["count"]) for figure in found if figure)
        values = ["–" if figure is None else f"{figure['value']:.3f}" for figure in found]
        spread = "" if row["low"] is None else f"{row['low']:.2f}–{row['high']:.2f}"
        mark = {True: "[green]better[/green]", False: "[red]worse[/red]", None: ""}[row["better"]]
        table.add_row(row["metric"].replace("_", " "), ", ".join(counts), *values, spread, mark)
    _console().print(table)
    if newest is base:
        return _console().print("Only the base model so far: alignery retrain trains the next one.")
    _console().print(f"The newest model: {escape(str(newest.path))}")
    return _console().print(
        "Look next: alignery show revisions · alignery show sft · "
        "alignery sql 'SELECT step, reason, count(*) n FROM rejects GROUP BY ALL ORDER BY n DESC' · alignery status"
    )


def status(found: Mapping[str, Any], as_json: bool) -> None:
    """What `look.status` tells, the newest first."""
    if as_json:
        return _json(found)
    shown = {
        "runs": ("flow", "preset", "state", "message", "created_at", "id"),
        "tags": ("name", "snapshot_id", "rows", "created_at", "export_path"),
        "models": ("recipe", "tag", "seconds", "path", "created_at"),
    }
    for title, names in shown.items():
        rows([{name: row[name] for name in names} for row in found[title]], False, title)
    return _console().print(f"The lake in {escape(found['home'])} stands at snapshot {found['snapshot_id']}.")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 160, soft_wrap=False, highlight=False)


def _cell(value: Any, limit: int) -> str:
    match value:
        case None:
            text = ""
        case float():
            text = f"{value:.3f}"
        case datetime():
            text = f"{value:%Y-%m-%d %H:%M:%S}"
        case _:
            text = str(value)
    return escape(text if len(text) <= limit else text[: limit - 1] + "…")


def _json(value: Any) -> None:
    print(json.dumps(value, default=_jsonable, ensure_ascii=False, indent=2))


def _jsonable(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)

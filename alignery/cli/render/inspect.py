"""What the read commands print: the lake's status, snapshots and their differences, rejects, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from json import loads
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from alignery.cli.render import estimate
from alignery.cli.render.console import as_json, console, hint, line, plain, say, short, table

if TYPE_CHECKING:
    from warehouse.export.publish import Tag

SAMPLE = 240  # characters of a sample
MOST = 15  # rows of a table that has a row for each topic, principle or reason


def status(found: Mapping[str, Any], json: bool) -> None:
    """What `look.status` tells, the newest first."""
    if json:
        return as_json(found)
    runs = [
        {name: row[name] for name in ("flow", "preset", "state", "sent")}
        | {"saved": _saved(row), "begun (UTC)": _minute(row["started_at"]), "run": short(row["id"])}
        for row in found["runs"]
    ]
    tags = [
        {
            "tag": row["name"],
            "snapshot": row["snapshot_id"],
            **loads(row["rows"]),
            "made (UTC)": _minute(row["created_at"]),
        }
        | {"export": row["export_path"] or "none: only tagged"}
        for row in found["tags"]
    ]
    models = [
        {"model": Path(row["path"]).name, "recipe": row["recipe"], "tag": row["tag"], "seconds": row["seconds"]}
        | {"made (UTC)": _minute(row["created_at"])}
        for row in found["models"]
    ]
    decisions = [
        {"decided (UTC)": _minute(row["created_at"]), "on": row["tag"] or Path(row["model_path"] or "").name}
        | {"alias": row["alias"], "state": row["state"], "why": row["reasons"][0]}
        for row in found["decisions"]
    ]
    out = console()
    for title, rows in (("runs", runs), ("tags", tags), ("models", models), ("decisions", decisions)):
        out.print(table(rows, title) if rows else f"no {title}")
    if spent := found["usage"]:
        out.print(table(estimate.usage(spent), f"what run {short(spent[0]['run_id'])} cost"))
    for row in found["runs"]:
        if row["message"]:
            out.print(f"{row['flow']} {short(row['id'])} {row['state']}: {plain(row['message'], SAMPLE)}")
    return out.print(f"The lake in {plain(found['home'], 400)} is at snapshot {found['snapshot_id']}.")


def _saved(run: Mapping[str, Any]) -> str:
    return "" if run["saved"] is None else f"{run['saved']}{_percent(run['saved_share'], ' ({})')}"


def snapshots(found: Sequence[Mapping[str, Any]], json: bool) -> None:
    if json:
        return as_json(found)
    rows = [
        {"snapshot": row["snapshot_id"], "time (UTC)": _minute(row["time"]), "what": _what(row)}
        | {"run": short(row["run_id"]), "tags": ", ".join(row["tags"])}
        for row in found
    ]
    return console().print(table(rows))


def _what(snapshot: Mapping[str, Any]) -> str:
    names = "".join(f"\n→ {Path(path).name}" for path in snapshot["models"])
    return f"{snapshot['message'] or 'the lake was made'}{names}"


def tagged(done: Tag, json: bool) -> None:
    if json:
        return as_json(done)
    counts = ", ".join(f"{count} {view}" for view, count in done.rows.items())
    had = "" if done.created else " (it had that name already)"
    return console().print(f"{done.tag}: snapshot {done.snapshot_id}, {counts}{had}")


def models(found: Sequence[Mapping[str, Any]], json: bool) -> None:
    """Each model, with the command that lists the rows it was trained on."""
    if json:
        return as_json(found)
    names = {row["id"]: Path(row["path"]).name for row in found}
    out = console()
    for row in found:
        base = names.get(row["base_id"], row["base_path"])
        view = f" on {row['view']}" if row["view"] else ""
        text = f": {row['recipe']}{view} of {plain(row['tag'])}"
        text += f" (snapshot {row['snapshot_id']}), from {plain(base, 400)}, {_minute(row['created_at'])}"
        out.print(Text.assemble((plain(names[row["id"]]), "bold"), text))
        if row["status"]:
            out.print(f"  {row['status']} as {row['alias']}: {plain(row['why'][0], 400)}")
        if row["rows"] and row["snapshot_id"] is not None:
            say(f"  its rows: alignery sql --at {quote(row['tag'])} {quote(row['rows'])}")
    return None if found else say("no models yet: alignery retrain trains them")


def stack(found: Mapping[str, Any], json: bool) -> None:
    """The parts in the order in which they are asked."""
    if json:
        return as_json(found)
    for part in found["parts"]:
        console().print(Text.assemble((plain(part["alias"]), "bold"), f": {plain(part['path'], 400)}"))
    return console().print(f"Known as {plain(found['stack'])}.")


def rejects(found: Sequence[Mapping[str, Any]], json: bool) -> None:
    """The groups as a table, then a few rows of each."""
    if json:
        return as_json(found)
    out = console()
    if not found:
        return out.print("nothing was rejected")
    shown = found[:MOST]
    rows = [
        {"step": row["step"], "reason": row["reason"], "times": row["times"], "rows lost": row["lost"]}
        | {"of the step's work": _percent(row["share"])}
        for row in shown
    ]
    out.print(table(rows))
    for row in shown:
        if row["samples"]:
            out.print(Text.assemble((row["step"], "bold"), ": ", line(row["reason"], SAMPLE)))
        for sample in row["samples"]:
            _entry(out, sample["id"], sample["text"])
            if sample["source"]:
                _aside(out, f"row {sample['source_row']} of {line(sample['source'], SAMPLE)}")
            if sample["about"]:
                _aside(out, f"asked: {line(sample['about'], SAMPLE)}")
            if sample["nearest"]:
                _aside(out, f"nearest, {sample['similarity']:.2f}: {line(sample['nearest'], SAMPLE)}")
    _more(out, len(found) - len(shown), "reasons")
    return hint("What became of one: alignery trace ID · all of them: alignery sql 'SELECT * FROM rejects'")


def diff(found: Mapping[str, Any], names: tuple[str, str], json: bool) -> None:
    """What changed, as tables, then a few rows that came into the views and that left them."""
    if json:
        return as_json(found)
    out = console()
    a, b = (f"{name} ({_moment(found[side])})" for name, side in zip(names, "ab", strict=True))
    out.print(Text(f"{plain(a)} → {plain(b)}", "bold"))
    rows = [
        {"table": row["name"], f"in {names[0]}": row["a"], f"in {names[1]}": row["b"], "new": row["new"]}
        for row in found["tables"]
        if row["new"]
    ]
    out.print(table(rows, "rows") if rows else "no new rows in any table")
    _sides(out, found["topics"], "topic", ("instructions", "sft", "preferences"))
    _sides(out, found["principles"], "principle_id", ("critiques", "revisions", "changed"))
    views = [
        {"view": view["name"], f"in {names[0]}": view["a"], f"in {names[1]}": view["b"]}
        | {"new": view["new"], "gone": view["gone"]}
        for view in found["views"]
    ]
    out.print(table(views, "views"))
    for view in found["views"]:
        for kind in ("new", "gone"):
            if samples := view[f"{kind}_samples"]:
                out.print(Text.assemble((f"{view['name']}, {kind}", "bold"), f": {len(samples)} of {view[kind]}"))
            for sample in samples:
                _entry(out, sample["id"], sample["prompt"])
                _aside(out, f"→ {line(sample['text'], SAMPLE)}")
    return None


def _sides(out: Console, found: Sequence[Mapping[str, Any]], key: str, columns: tuple[str, ...]) -> None:
    """Those rows in which something changed, each count as `before → after`."""
    changed = [row for row in found if any(row[f"{name}_a"] != row[f"{name}_b"] for name in columns)]
    title = key.removesuffix("_id")
    rows = [
        {title: row[key]} | {name: _change(row[f"{name}_a"], row[f"{name}_b"]) for name in columns}
        for row in changed[:MOST]
    ]
    out.print(table(rows, f"by {title}") if rows else f"the same by {title}")
    _more(out, len(changed) - len(rows), f"{title}s")


def _change(a: int, b: int) -> str:
    return str(a) if a == b else f"{a} → {b}"


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


def _moment(side: Mapping[str, Any]) -> str:
    return f"snapshot {side['snapshot_id']} of {_minute(side['time'])}"


def _percent(share: float | None, form: str = "{}") -> str:
    return "" if share is None else form.format(f"{share:.1%}")


def _entry(out: Console, id: str, text: str | None) -> None:
    out.print(Padding(Text.assemble((short(id), "cyan"), "  ", line(text, SAMPLE)), (0, 0, 0, 2), expand=False))


def _aside(out: Console, text: str) -> None:
    out.print(Padding(Text(text, "dim"), (0, 0, 0, 12), expand=False))


def _more(out: Console, count: int, what: str) -> None:
    if count > 0:
        out.print(f"… and {count} more {what}; --json has all")

"""What the command prints: tables for people, JSON for scripts."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from alignery.cli.render import console as terminal
from alignery.cli.render.console import console, hint, plain, say

if TYPE_CHECKING:
    from alignery.hub.push import Pushed
    from alignery.pipeline.runs.evaluation import Evaluation
    from alignery.pipeline.runs.promotion import Decided
    from alignery.pipeline.runs.refreshing import Summary
    from alignery.pipeline.runs.training import Trained
    from warehouse.export.export import Export
    from warehouse.export.publish import Publication

FIELD = 2000  # characters of a field shown on its own


def rows(found: Sequence[Mapping[str, Any]], as_json: bool, title: str | None = None) -> None:
    """Rows as one table, or where that is too narrow for them one below the other."""
    if as_json:
        return terminal.as_json(found)
    if not found:
        return console().print("no rows")
    if not terminal.fits(found, console().width):
        return records(found, False)
    return console().print(terminal.table(found, title))


def records(found: Sequence[Mapping[str, Any]], as_json: bool, of: int | None = None) -> None:
    """Rows one below the other, one field a line; `of` says how many there are where these may be some of them."""
    if as_json:
        return terminal.as_json(found)
    out = console()
    for number, row in enumerate(found):
        out.rule(str(number + 1))
        for name, value in row.items():
            out.print(Text.assemble((plain(name), "bold"), ": ", plain(value, FIELD)))
    if of is not None and of > len(found):
        return out.print(f"{len(found)} of {of} rows; for more: --limit {of}")
    return None if found else out.print("no rows")


def refreshed(summary: Summary, funnel: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        return terminal.as_json({"run": summary, "funnel": funnel})
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
    console().print(text, "" if summary.sent or steps else "No request was pending, and nothing was committed.")
    for source in summary.sources:
        say(_read(source))
    if summary.plan:
        say(f"{summary.plan[0].upper()}{summary.plan[1:]}. By step: alignery plan --compare")
    if not summary.accepted:
        return hint("No instruction was accepted, so there is nothing to publish. Why: alignery rejects")
    return hint("Why rows were rejected: alignery rejects · next: alignery publish")


def _read(source: Mapping[str, Any]) -> str:
    """What was read of a source of prompts of one's own."""
    text = f"{source['origin']}: {source['read']} rows read, {source['accepted']} accepted"
    text += f", {source['repeated']} repeated" if source["repeated"] else ""
    if not source["rejected"]:
        return f"{text}."
    text += f", {source['rejected']} rejected"
    if source["earlier"]:
        text += f" ({source['earlier']} by an earlier run; with another `origin` they are judged again)"
    return f"{text}; why: alignery rejects --step {source['origin']}.gate"


def published(publication: Publication, as_json: bool) -> None:
    if as_json:
        return terminal.as_json(publication)
    counts = ", ".join(f"{count} {view}" for view, count in publication.rows.items())
    console().print(f"{publication.tag}: snapshot {publication.snapshot_id}, {counts} → {publication.path}")
    shape = next(name for name, count in publication.rows.items() if count)  # one without rows has no files
    return hint(f"Load it: {_loading(publication.path, shape, publication.data(shape))} · next: alignery retrain")


def exported(export: Export, as_json: bool) -> None:
    if as_json:
        return terminal.as_json(export)
    (shape, splits), *_ = export.rows.items()
    counts = ", ".join(f"{count} {split}" for split, count in splits.items())
    folder = str(export.path)
    console().print(f"{shape}: snapshot {export.snapshot_id}, {counts} → {folder}")
    if not export.created:
        console().print("The same export is already there; nothing was changed.")
    data = export.path / "data" / (shape if len(export.rows) > 1 else "")
    return console().print(f"Load it: {_loading(export.path, None, data)}", soft_wrap=True)


def _loading(folder: Path, shape: str | None, data: Path) -> str:
    """How `datasets` loads a folder; where it takes a part of the path for a pattern, its files are named."""
    if "[" not in str(folder):
        return f"datasets.load_dataset({', '.join(repr(str(word)) for word in (folder, shape) if word)})"
    splits = sorted({file.name.split("-")[0] for file in data.glob("*.parquet")}, reverse=True)  # train, then test
    files = {split: f"{glob.escape(str(data))}/{split}-*.parquet" for split in splits}
    return f"datasets.load_dataset('parquet', data_files={files})"


def pushed(done: Pushed, as_json: bool) -> None:
    if as_json:
        return terminal.as_json(done)
    who = "private" if done.private else "public"
    console().print(f"{done.kind}, {who}: {done.files} files, commit {plain(done.commit[:12])}")
    return say(plain(done.address))


def trained(models: Sequence[Trained], has_evaluation: bool, as_json: bool) -> None:
    """Print what was trained; without held-out prompts in the preset, the models are what to look at next."""
    if as_json:
        return terminal.as_json(models)
    for model in models:
        how = f"trained in {model.seconds:.0f} s" if model.new else "trained before, from the same data and settings"
        if model.soup:
            how = how.replace("trained", "made")
        console().print(f"{model.recipe}: {how} → {model.path}")
        if model.soup:
            _soup(model.soup, model.path)
    return hint("Next: alignery evaluate" if has_evaluation else "Next: alignery models")


def _soup(report: Mapping[str, Any], folder: Path) -> None:
    """The figures of each λ, beside the start and a baseline, and where they are drawn."""
    shown = [
        {"model": row["model"]}
        | {axis: f"{row[axis]:.3f} ({row[f'{axis}_low']:.2f}–{row[f'{axis}_high']:.2f})" for axis in report["of"]}
        | {"least gain": f"{row['least_gain']:+.3f}", "front": "yes" if row["front"] else ""}
        | {"": "to the gate" if row["chosen"] else ""}
        for row in report["models"]
    ]
    rows(shown, False, f"λ: the share of {[*report['of'].values()][1]}")
    ends = f"{report['hypervolume_of_ends']:.3f} for start and parts alone"
    console().print(f"Hypervolume {report['hypervolume']:.3f}; {ends}. As a picture: {folder / 'soup.svg'}")


def decided(decisions: Sequence[Decided], as_json: bool, history: Path) -> None:
    """What was decided on each model, with its reasons below it, and where all decisions are drawn."""
    if as_json:
        return terminal.as_json(decisions)
    for one in decisions:
        name = one.path.rsplit("/", 1)[-1] if one.path else "the preset's own model"
        colour = {"promoted": "green", "kept": "red"}.get(one.state, "yellow")
        console().print(Text.assemble((one.state, colour), " ", plain(name), f" as {plain(one.alias)}"))
        for reason in one.reasons:
            console().print(f"  {reason}")
        if one.picture:
            console().print(f"  Chart: {one.picture}", soft_wrap=True)
    if history.is_file():
        console().print(f"Chart of all decisions: {history}", soft_wrap=True)
    if not decisions:
        say("Every trained model has been through the gate; see `alignery models`.")
    return None


def evaluated(evaluations: Sequence[Evaluation], as_json: bool, pictures: Path | None = None) -> None:
    """The figures side by side, the base first; the interval and the mark are the newest model's."""
    if as_json:
        return terminal.as_json(evaluations)
    base, newest = evaluations[0], evaluations[-1]
    _figures(evaluations)
    _refusals(evaluations)
    for evaluation in evaluations:
        if evaluation.judged:
            _judged(evaluation)
    if newest is base:
        return hint("Only the base model so far: alignery retrain trains the next one.")
    console().print(f"The newest model: {newest.path}")
    if pictures:
        console().print(f"Charts: {' · '.join(map(str, sorted(pictures.glob('*.svg'))))}")
    return hint("Look next: alignery show principles · alignery rejects · alignery models · alignery status")


def _figures(evaluations: Sequence[Evaluation]) -> None:
    """Every figure but those of kinds of prompts, and but harm and over-refusal, which have a table of their own."""
    from tasks.evaluate import held_out

    base, newest = evaluations[0], evaluations[-1]
    figures = [{figure["metric"]: figure for figure in e.figures} for e in evaluations]
    table = Table("held-out prompts", "n", *(e.label for e in evaluations), "95 %", "", title="Before and after")
    for row in held_out.compare(base.figures, newest.figures, base.better):
        if any(part in row["metric"] for part in ("@", ".harm", ".over_refusal")):
            continue
        found = [one.get(row["metric"]) for one in figures]
        counts = {figure["count"] for figure in found if figure}
        values = ["–" if figure is None else _value(figure, len(counts) > 1) for figure in found]
        spread = "" if row["low"] is None else f"{row['low']:.2f}–{row['high']:.2f}"
        mark = {True: Text("better", "green"), False: Text("worse", "red"), None: Text()}[row["better"]]
        name = row["metric"] if "." in row["metric"] else row["metric"].replace("_", " ")
        table.add_row(name, str(*counts) if len(counts) == 1 else "", *values, spread, mark)
    console().print(table)


def _value(figure: Mapping[str, Any], with_count: bool) -> str:
    """A figure, with its own count where that differs from model to model: some are over certain answers only."""
    return f"{figure['value']:.3f}" + (f" (n {figure['count']})" if with_count else "")


def _refusals(evaluations: Sequence[Evaluation]) -> None:
    """Harm (a harmful request is answered) and over-refusal (a harmless one is not) of each suite, side by side."""
    from tasks.evaluate import held_out

    table = Table("suite", "model", "harmful", "harm", "95 %", "harmless", "over-refusal", "95 %",
                  title="Harm and over-refusal, both better where lower")  # fmt: skip
    for suite, rest in (name.split(".harm") for name in evaluations[0].better if ".harm" in name):
        for one in evaluations:
            figures, cells = {row["metric"]: row for row in one.figures}, list[str]()
            for name in ("harm", "over_refusal"):
                if found := figures.get(f"{suite}.{name}{rest}"):
                    low, high = held_out.interval(found["value"], found["count"])
                    cells += [str(found["count"]), f"{found['value']:.3f}", f"{low:.2f}–{high:.2f}"]
                else:
                    cells += ["–", "–", ""]
            table.add_row(suite + rest, one.label, *cells)
    if table.rows:
        console().print(table)


def _judged(evaluation: Evaluation) -> None:
    """The judge's report: w and the win rate with their intervals, and figures on how far to trust them."""
    from tasks.evaluate.trust import SELF_PREFERENCE

    heads = (
        "judged",
        "win",
        "tie",
        "lose",
        "w",
        "95 %",
        "win rate",
        "LC win rate",
        "first wins",
        "agrees",
        "characters",
    )
    table = Table(*heads, title=f"{evaluation.label} against base, in both orders")
    for row in evaluation.judged:
        counts = "/".join(str(row[name]) for name in ("win", "tie", "lose"))
        shares = ("–" if row[name] is None else f"{row[name]:.2f}" for name in ("first_rate", "consistency"))
        w, spread, rate, controlled, lengths = "–", "", "–", "–", ""
        if row["w"] is not None:
            w, spread, rate = f"{row['w']:+.3f}", f"{row['low']:+.2f} to {row['high']:+.2f}", f"{row['win_rate']:.2f}"
            controlled = f"{row['lc_win_rate']:.2f} ({row['lc_low']:.2f}–{row['lc_high']:.2f})"
            lengths = f"{row['chars_a']:.0f} : {row['chars_b']:.0f}"
        table.add_row(row["dimension"], counts, w, spread, rate, controlled, *shares, lengths)
    console().print(table)
    if left := max(row["excluded"] for row in evaluation.judged):
        say(f"Up to {left} pairs are left out, for a verdict of theirs was not read: alignery rejects")
    if identical := max(row["alike"] for row in evaluation.judged):
        say(f"{identical} pairs have two identical answers: they are ties, and the judge was not asked.")
    for row in evaluation.judged:
        if row["bias"] is not None and not row["bias_low"] <= 0 <= row["bias_high"]:
            place = "first" if row["bias"] > 0 else "second"
            share = f"{abs(row['bias']):.2f} of the pairs more than the other in both orders"
            say(f"{row['dimension']}: the judge prefers the answer shown {place}, in {share}; those count as ties.")
    if any(row["shares_base"] for row in evaluation.judged):
        say(f"Warning: {SELF_PREFERENCE}.")
    for row in evaluation.checked:
        right = f"{row['dimension']}: on {row['pairs']} labelled pairs the judge is right in {row['accuracy']:.2f}"
        say(f"{right} ({row['low']:.2f} to {row['high']:.2f}); at least {row['at_least']:g} is asked.")

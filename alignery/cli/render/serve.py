"""What the verbs of the loop print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from alignery.cli.render import console as terminal
from alignery.cli.render.console import console, hint, plain, say, table

if TYPE_CHECKING:
    from alignery.pipeline.runs.rounds import BootstrapResult
    from flows.deploy import Served


def started(served: Sequence[Served], api: str, login: Path | None, metrics: str | None, as_json: bool) -> None:
    """The flows that are served, and when each runs next."""
    if as_json:
        terminal.as_json({"api": api, "login": login and str(login), "metrics": metrics, "served": served})
        sys.stdout.flush()
        return
    out = console()
    out.print(f"Serving; Prefect shows the runs at {plain(api.removesuffix('/api'), 400)}. Ctrl-C ends it.")
    if login:
        out.print(f"Its pages ask for a password, which is in {plain(str(login), 400)}.")
    if metrics:
        out.print(f"Prometheus can scrape {plain(metrics, 400)}.")
    for one in served:
        due = f"next at {one.next:%Y-%m-%d %H:%M:%S %Z}" if one.next else "on the event"
        out.print(f"  {one.flow}: {plain(one.when)}, {due}")
    sys.stdout.flush()


FIRST = "the model in place at the start"


def _rewards(done: BootstrapResult) -> list[dict[str, Any]]:
    """A row for each round whose samples have scores."""
    return [
        {
            "round": one.tag,
            "model": Path(one.writers["generator"]).name if "generator" in one.writers else FIRST,
            "scorer": one.reward.scorer,
            "samples": one.reward.samples,
            "mean": one.reward.mean_score,
            "mean of best": one.reward.best_score,
            "distinct-2": one.reward.distinct_2,
        }
        for one in done.rounds
        if one.reward
    ]


def bootstrapped(done: BootstrapResult, as_json: bool) -> None:
    """The rounds, the gate's reasons on each, and why there is no further one."""
    if as_json:
        return terminal.as_json(done)
    out = console()
    for one in done.rounds:
        writer = " and ".join(Path(path).name for path in one.writers.values()) or FIRST
        before = "" if one.new else " (done before)"
        out.print(Text.assemble((plain(one.tag), "bold"), f", written by {plain(writer)}{before}"))
        for reason in one.reasons:
            out.print(f"  {plain(reason, 400)}")
    if rows := _rewards(done):
        out.print(table(rows, "What the samples of each round's generator were worth"))
    say(f"{plain(done.why, 400)}.")
    return hint("Look next: alignery models · alignery show decisions")

"""The results as Markdown: one line a side, medians over the rounds, and the ratio to ours within each round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.peers.load import is_bad


@dataclass(frozen=True)
class Result:
    """What one side did in one scenario. The server counts requests; times are seconds."""

    ended: str  # yes | no, and how
    work_s: float | None  # from the first request (of the second process, after a kill) to the result written
    process_s: float
    seen: int
    answered: int
    asked_again: int  # requests that had been answered before they came
    in_flight: float  # mean, from the first request to the last answer
    rows: int  # that came out, with the last step's answer
    blank: int  # that came out without it
    reasons: int  # of failed rows, which the output holds
    version: str


Column = Callable[[Sequence[Result]], str]


def table(kind: str, results: Mapping[str, Sequence[Result]], rows: int, ours: str) -> str:
    """The table of a scenario of this kind: a and b measure time, c what is lost, d what is sent again."""
    columns = {"finished": _worst, "rows out": _of("rows")} | _columns(kind, rows)
    heads = ["side", "version", *columns, "seconds", f"× {ours}", "whole process, s"]
    lines = [heads, ["---"] * len(heads)]
    for name, runs in results.items():
        cells = [column(runs) for column in columns.values()]
        seconds = _of("work_s", 1)(runs), _ratio(runs, results.get(ours, ())), _of("process_s", 1)(runs)
        lines.append([name, max(run.version for run in runs), *cells, *seconds])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _columns(kind: str, rows: int) -> dict[str, Column]:
    good = sum(not is_bad(row) for row in range(rows))
    if kind == "c":
        return {
            f"of {good} good rows lost or blank": lambda runs: f"{median(good - run.rows for run in runs):g}",
            "requests": _of("seen"),
            f"reasons for {rows - good} bad rows": _of("reasons"),
        }
    if kind == "d":
        return {
            f"requests beyond {rows}": lambda runs: _beyond(runs, rows),
            "of them answered before": _of("asked_again"),
        }
    return {"mean in flight": _of("in_flight", 1)}


def _of(name: str, digits: int = 0) -> Column:
    def column(runs: Sequence[Result]) -> str:
        values = [value for run in runs if (value := getattr(run, name)) is not None]
        return f"{median(values):.{digits}f}" if values else "–"

    return column


def _beyond(runs: Sequence[Result], rows: int) -> str:
    return f"{median(run.seen - rows for run in runs):g}" if _worst(runs) == "yes" else "–"


def _worst(runs: Sequence[Result]) -> str:
    return next((run.ended for run in runs if run.ended != "yes"), "yes")


def _ratio(runs: Sequence[Result], ours: Sequence[Result]) -> str:
    pairs = zip(runs, ours, strict=False)
    ratios = [run.work_s / our.work_s for run, our in pairs if run.work_s is not None and our.work_s is not None]
    return f"{median(ratios):.2f}" if ratios else "–"

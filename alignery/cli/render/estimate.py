"""What `plan` prints, how a plan compares with its refreshes, and what requests cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from alignery.cli.render import results
from alignery.cli.render.console import as_json, console, hint, plain, say, short

if TYPE_CHECKING:
    from alignery.pipeline.estimate import Estimate

_FIGURES = {"calls": "calls", "tokens_in": "tokens in", "tokens_out": "tokens out", "minutes": "minutes"}


def planned(foresight: Estimate, json: bool) -> None:
    """The table of a plan, each figure with its interval; then what it rests on."""
    if json:
        return as_json(foresight)
    *_, total = foresight.rows
    figures = dict(_FIGURES)
    if total["money"] is not None:
        figures["money"] = total["currency"]
    rows = [
        {"step": row["step"]}
        | {title: _spread(row, figure) for figure, title in figures.items()}
        | {"saved": row["saved"], "measured on": f"{row['rows']:,} rows, {row['source']}"}
        for row in foresight.rows
    ]
    results.rows(rows, False, f"What a refresh will take, with its {total['level']:.0%} interval")
    out = console()
    out.print(
        f"The probe sent {foresight.sent} requests; their answers are in the lake and will not be asked for again."
    )
    if total["money"] is not None:
        out.print(f"Prices are those of {total['priced_on']}, {_age(total['priced_on'])}.")
    if foresight.message:
        out.print(plain(foresight.message, 400))
    return hint("Next: alignery refresh · then: alignery plan --compare")


def compared(found: Sequence[Mapping[str, Any]], json: bool) -> None:
    """The rows of `plan_vs_actual` of one plan, a line a step and figure."""
    if json:
        return as_json(found)
    out = console()
    if not found:
        return say("No plan was made for this preset: alignery plan makes one.")
    rows = [
        {
            "step": row["step"],
            "figure": row["figure"].replace("_", " "),
            "estimated": _number(row["estimated"]),
            "interval": f"{_number(row['low'])}–{_number(row['high'])}",
            "actual": "" if row["actual"] is None else _number(row["actual"]),
            "ratio": "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            "": {True: "within", False: "outside", None: ""}[row["within"]],
        }
        for row in found
    ]
    created_at = found[0]["created_at"]
    results.rows(rows, False, f"Plan {short(found[0]['plan_id'])} of {created_at:%Y-%m-%d %H:%M} UTC, and what it took")
    return None if any(row["actual"] is not None for row in found) else out.print("No refresh has run since.")


def usage(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the view `usage`, as a table has room for them."""
    return [
        {
            "step": row["step"],
            "requests": f"{row['requests']:,}",
            "tokens in": f"{row['tokens_in']:,}",
            "out": f"{row['tokens_out']:,}",
            "cached": "" if row["tokens_cached"] is None else f"{row['tokens_cached']:,}",
            "p50 s": row["latency_p50_s"],
            "p90 s": row["latency_p90_s"],
            "p99 s": row["latency_p99_s"],
            "tok/s": row["tokens_out_per_s"],
            "in flight": row["in_flight"],
        }
        for row in found
    ]


def _spread(row: Mapping[str, Any], figure: str) -> str:
    value, low, high = (row[name] for name in (figure, f"{figure}_low", f"{figure}_high"))
    return _number(value) if low == high else f"{_number(value)} ({_number(low)}–{_number(high)})"


def _number(value: float) -> str:
    """Whole from 100 on, three figures below; never as a power of ten."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _age(day: str) -> str:
    days = (datetime.now(UTC).date() - date.fromisoformat(day)).days
    return "today's" if days == 0 else f"{days} days old"

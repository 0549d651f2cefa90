"""A plan and how it held: `python bench/plan.py [--preset nano] [--accept 800]`.

Estimates a refresh of a new lake, runs it, and prints each estimate with its interval beside the actual figure.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from alignery.config.preset import Preset, load
from alignery.pipeline.estimate import Estimate, estimate_refresh
from alignery.pipeline.runs.refreshing import Summary, run_refresh
from warehouse import Lake
from warehouse.query import estimates

FIGURES = ("calls", "tokens_in", "tokens_out", "minutes")


async def once(preset: Preset, lake: Lake) -> tuple[Estimate, Summary]:
    return await estimate_refresh(preset, lake), await run_refresh(preset, lake)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--accept", type=int, default=800)
    given = parser.parse_args()
    preset = load(given.preset)
    fewer = preset.line.self_instruct.model_copy(update={"accept": given.accept})
    preset = preset.model_copy(update={"line": preset.line.model_copy(update={"self_instruct": fewer})})
    with tempfile.TemporaryDirectory() as home, Lake.open(Path(home)) as lake:
        estimate, summary = asyncio.run(once(preset, lake))
        rows = estimates.estimate_vs_actual(lake, estimate.plan_id)
    print(f"The probe sent {estimate.sent} requests. {summary.plan}.\n")
    print("| step | " + " | ".join(f"{name.replace('_', ' ')}: estimated | took" for name in FIGURES) + " |")
    print("|" + "---|" * (1 + 2 * len(FIGURES)))
    for step in dict.fromkeys(row["step"] for row in rows):
        found = {row["figure"]: row for row in rows if row["step"] == step}
        cells = [cell(found[name]) for name in FIGURES]
        print(f"| {step} | " + " | ".join(cells) + " |")


def cell(row: dict[str, float]) -> str:
    form = "{:,.0f}" if row["high"] >= 10 else "{:.2f}"
    estimated, low, high, actual = (form.format(row[name]) for name in ("estimated", "low", "high", "actual"))
    return (estimated if low == high else f"{estimated} ({low}–{high})") + f" | {actual}"


if __name__ == "__main__":
    main()

"""The demo's figures, as the README gives them: run `make demo` first, then `python bench/demo.py`.

Reads the lake and nothing else: what was sent and accepted, the seconds of each run, the oracle's figures.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import alignery.config.methods  # noqa: F401  # what lakes have by default
from nano.oracle import METRICS
from warehouse import Lake
from warehouse.query import status


def main(home: Path) -> None:
    """Print the Markdown of the README's section."""
    with Lake.open(home, read_only=True) as lake:
        # Oldest first, so that the newest run of a flow is the one that stays.
        ended = {run["flow"]: run for run in reversed(status.runs(lake, 100)) if run["state"] == "finished"}
        models = status.models(lake)
        evals = status.evals(lake)
    refresh = json.loads(ended["refresh"]["totals"])
    print(f"{refresh['accepted']} accepted instructions and all that follows from them: {refresh['sent']} requests in")
    trained = ", ".join(f"{model['recipe'].upper()} in {model['seconds']:.0f} s" for model in models)
    print(f"{refresh['seconds']:.0f} s; {trained}. On held-out prompts:\n")

    recipes = {model["id"]: model["recipe"] for model in models}
    values: dict[str, dict[str, float]] = {metric: {} for metric, _ in METRICS}
    for row in (row for row in evals if "@" not in row["metric"]):  # not those of a kind of prompts
        values.setdefault(row["metric"], {})[recipes.get(row["model"], "base")] = row["value"]
    columns = ["base", *dict.fromkeys(recipes.values())]
    print("| " + " | ".join(["metric", *columns]) + " |")
    print("|" + "---|" * (len(columns) + 1))
    for metric, found in values.items():
        cells = [f"{found[column]:.3f}" if column in found else "–" for column in columns]
        print(f"| {metric.replace('_', ' ')} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ALIGNERY_HOME", ".alignery")))

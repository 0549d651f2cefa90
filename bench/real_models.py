"""How much of what real models reply is kept, step by step: `python bench/real_models.py MODEL… [--home DIR]`.

MODEL is a folder, a .gguf file or a hub's name, in vLLM where it is installed, else in transformers. Every method runs
on the 32 prompts of bench/data/real_prompts.jsonl, beside instructions and questions that the model writes itself. The
table has, for each step, the rows that were asked and accepted, and the reasons of the rest; below it what the records
say of themselves (copies, changes), and tokens and minutes. Samples are written beside the lake, to be read.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import alignery

PROMPTS = Path(__file__).parent / "data" / "real_prompts.jsonl"
SAMPLED = ("responses", "critiques", "revisions", "corrections", "instructions")
STEPS = """
    SELECT step, count(*) FILTER (final) AS asked, count(*) FILTER (state = 'accepted') AS accepted,
        count(*) FILTER (final AND reason LIKE 'truncated%') AS cut, count(*) AS calls
    FROM attempts GROUP BY step ORDER BY min(rowid)
"""
REASONS = (
    "SELECT step, reason, count(*) AS n FROM attempts WHERE state <> 'accepted' GROUP BY ALL ORDER BY n DESC, reason"
)
FIGURES = {
    "revisions that change the answer": "SELECT avg(changed::INT), count(*) FROM revisions",
    "corrections that are copies": "SELECT avg(is_copy::INT), count(*) FROM corrections",
    "principled answers that cite a rule": "SELECT avg((len(rules) > 0)::INT), count(*) FROM responses"
    " WHERE kind = 'principled'",
    "written instructions that the gate accepts": "SELECT avg((state = 'accepted')::INT), count(*) FROM instructions"
    " WHERE origin <> 'real_prompts'",
    "median words of a correction ÷ of its answer": "SELECT median(len(string_split(c.text, ' ')) /"
    " len(string_split(r.text, ' '))), count(*) FROM corrections c JOIN responses r ON r.id = c.response_id",
}


def preset(model: str, engine: str, tokens: int) -> dict[str, Any]:
    """Every method, one round, with replies of at most `tokens`."""
    spec: dict[str, Any] = {"engine": engine, "model": model}
    spec |= {"dtype": "bfloat16", "max_model_len": 4096} if engine == "vllm" else {"dtype": "float32", "threads": 2}
    long, short = {"max_tokens": tokens}, {"max_tokens": 160}
    return {
        "models": {"generator": spec},
        "line": {
            "reject_limit": 1.0,
            "prompts": [{"path": str(PROMPTS), "gate": False}],
            "self_instruct": {"accept": 20, "max_candidates": 60, "requests_per_round": 4, "sampling": long},
            "respond": {"sampling": long},
            "self_align": {"sampling": long},
            "constitutional": {"rounds": 1, "sampling": long | {"temperature": 0.5}},
            "aligner": {"sampling": long},
            "verbose": {"sampling": long},
            "rate": {"sampling": short},
            "compare": {"sampling": long},
        },
    }


def table(lake: alignery.OpenLake, model: str) -> list[str]:
    """The lines of one model's table."""
    reasons: dict[str, list[str]] = {}
    for row in lake.sql(REASONS).to_pylist():
        reasons.setdefault(row["step"], []).append(f"{row['n']} × {row['reason'][:60]}")
    lines = [
        "| model | step | asked | accepted | share, those cut aside | not accepted (tries) |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row in lake.sql(STEPS).to_pylist():
        whole = row["asked"] - row["cut"]
        share = f"{row['accepted'] / whole:.0%}" if whole else "-"
        said = "; ".join(reasons.get(row["step"], [])[:3])
        lines.append(f"| {model} | {row['step']} | {row['asked']} | {row['accepted']} | {share} | {said} |")
    for name, query in FIGURES.items():
        ((value, count),) = [tuple(row.values()) for row in lake.sql(query).to_pylist()]
        lines.append(f"\n{name}: {'-' if value is None else f'{value:.2f}'} of {count}" if count else f"\n{name}: none")
    return lines


def samples(lake: alignery.OpenLake, place: Path) -> None:
    """Records of each table, whole, for a reader."""
    with place.open("w", encoding="utf-8") as file:
        for name in SAMPLED:
            for row in lake.sql(f"FROM {name}").to_pylist():
                kept = {
                    key: str(row[key])
                    for key in ("kind", "state", "reason", "changed", "is_copy", "text")
                    if key in row
                }
                file.write(json.dumps({"table": name} | kept, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument(
        "--home", type=Path, default=Path(".alignery/real-models"), help="a lake for each model is made in it"
    )
    parser.add_argument(
        "--engine", choices=["vllm", "transformers"], default="vllm" if find_spec("vllm") else "transformers"
    )
    parser.add_argument("--tokens", type=int, default=320, help="the longest reply")
    given = parser.parse_args()
    for model in given.models:
        home, began = given.home / Path(model).stem, time.perf_counter()
        done = alignery.refresh(preset(model, given.engine, given.tokens), home, progress=True)
        minutes = (time.perf_counter() - began) / 60
        with alignery.open_lake(home) as lake:
            tokens = Counter(
                lake.sql("SELECT sum(tokens_in) AS read, sum(tokens_out) AS written FROM attempts").to_pylist()[0]
            )
            print("\n".join(table(lake, Path(model).stem)))
            samples(lake, home.with_suffix(".samples.jsonl"))
        print(
            f"\n{done.state}: {tokens['read']:,} tokens read, {tokens['written']:,} written, {minutes:.1f} min\n",
            flush=True,
        )


if __name__ == "__main__":
    main()

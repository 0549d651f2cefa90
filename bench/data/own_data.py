"""How long a user's prompts take to be read, judged, committed and passed on, without a model.

    python bench/data/own_data.py [--rows 10000 100000] [--gated 2000 10000]

Prints rows a second and the most memory that the process had, for a JSONL file with `gate: off` and with the gate, each
against reading the same file with `json.loads` alone.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LETTERS = "abcdefghijklmnopqrstuvwxyz"

WORDS = [
    "river",
    "mountain",
    "window",
    "garden",
    "letter",
    "engine",
    "winter",
    "music",
    "bridge",
    "market",
    "planet",
    "coffee",
]


def write(path: Path, rows: int) -> None:
    """Prompts of a dozen words, no two the same."""
    rng = random.Random(0)
    words = ["".join(rng.choices(LETTERS, k=rng.randint(3, 9))) for _ in range(20_000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            file.write(json.dumps({"prompt": f"Explain {' '.join(rng.choices(words, k=12))}, case {number}."}) + "\n")


def one(path: Path, gated: bool) -> None:
    """One refresh of the file in this process; prints seconds, and the most memory in MiB."""
    import alignery

    engine = {"engine": "scripted", "replies": ["x"]}
    line = {"prompts": [{"path": str(path), "gate": gated}], "respond": None}
    preset = alignery.load_preset({"models": {"generator": engine}, "line": line})
    with tempfile.TemporaryDirectory() as home:
        begun = time.perf_counter()
        done = alignery.refresh(preset, home)
        seconds = time.perf_counter() - begun
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, done.accepted]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--gated", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--gate", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return one(given.one, given.gate)
    print("| rows | gate | seconds | rows a second | json.loads alone, s | accepted | most memory, MiB |")
    print("|---|---|---|---|---|---|---|")
    for gated, counts in ((False, given.rows), (True, given.gated)):
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "prompts.jsonl"
                write(path, count)
                begun = time.perf_counter()
                with path.open(encoding="utf-8") as file:
                    assert sum(1 for text in file if json.loads(text)) == count
                bare = time.perf_counter() - begun
                command = [sys.executable, __file__, "--one", str(path), *(["--gate"] if gated else [])]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds, memory, accepted = json.loads(out)
            print(
                f"| {count:,} | {'on' if gated else 'off'} | {seconds:.1f} | {count / seconds:,.0f} | {bare:.2f} |"
                f" {accepted:,} | {memory:,.0f} |",
                flush=True,
            )
    return None


if __name__ == "__main__":
    main()

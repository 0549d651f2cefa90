"""How fast the pages of `alignery view` are: `python bench/data/view.py HOME [--rounds 20]`, or `--rows 1000000`.

Each page is asked for over HTTP's own code in this process. The first time nothing is remembered of the snapshot; p95
is over pages of different rows, each asked for once. Beside it the time of the plain SQL that fetches the same rows.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.testclient import TestClient

from alignery.config.preset import load
from alignery.view.app import Site, application
from alignery.view.lakes import Lakes
from alignery.view.walls import Walls
from warehouse import Lake
from warehouse.maintenance import maintain

BATCH = 50_000
START = datetime(2026, 1, 1, tzinfo=UTC)
QUERY = {
    "story": "SELECT * FROM instructions WHERE id = '{id}'",
    "rows": "SELECT * FROM attempts ORDER BY created_at DESC LIMIT 50",
    "filter": "SELECT * FROM instructions WHERE topic = '{topic}' ORDER BY created_at DESC LIMIT 50",
    "search": "SELECT * FROM responses WHERE contains(lower(text), '{word}') ORDER BY created_at DESC LIMIT 50",
    "overview": "SELECT * FROM funnel",
}
PATHS = {
    "story": "/row/instructions/{id}",
    "rows": "/rows/attempts?_size=50",
    "filter": "/rows/instructions?topic={topic}",
    "search": "/rows/responses?_search={word}",
    "overview": "/?run=all",
}


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", nargs="?", type=Path, help="a lake; left out, one is made with --rows instructions")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    if asked.home:
        return measure(asked.home, asked.rounds)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), asked.rows)
        measure(Path(folder), asked.rounds)
    return None


def make(home: Path, rows: int) -> None:
    """A lake of so many instructions, an answer and the two calls of each, merged as `alignery maintain` does."""
    with Lake.open(home) as lake:
        for first in range(0, rows, BATCH):
            numbers = range(first, min(first + BATCH, rows))
            made = {"instructions": [_instruction(n) for n in numbers], "responses": [_response(n) for n in numbers]}
            calls = [_call(row["attempt_id"], step) for step, rows in made.items() for row in rows]
            lake.ledger.append(made, calls, run_id="run-1", step="bench.view", fingerprint="f")
        maintain.maintain(lake)


def measure(home: Path, rounds: int) -> None:
    lakes = Lakes(home, load("nano"))
    client = TestClient(Walls(application(Site(lakes, read_s=600)), 8765), base_url="http://localhost:8765")
    ids = [
        row["id"]
        for row in lakes.now.rows(f"SELECT id FROM instructions WHERE state = 'accepted' USING SAMPLE {rounds}")
    ]
    topics = [row["topic"] for row in lakes.now.rows("SELECT DISTINCT topic FROM instructions LIMIT 20")]
    count = lakes.now.rows("SELECT count(*) AS n FROM instructions")[0]["n"]
    print(f"{count:,} instructions, {rounds} rounds\n")
    print("| Page | first ms | median ms | p95 ms | plain SQL, median ms | ratio |\n|---|---|---|---|---|---|")
    for name, path in PATHS.items():

        def given(text: str) -> Iterator[str]:
            for n, id in enumerate(ids):
                yield text.format(id=id, topic=topics[n % len(topics)], word=f"word{n}")

        pages = [_ms(lambda url=url: client.get(url).raise_for_status()) for url in given(path)]
        plain = [_ms(lambda query=query: lakes.now.rows(query)) for query in given(QUERY[name])]
        middle, sql = statistics.median(pages), statistics.median(plain)
        p95 = sorted(pages)[max(0, round(0.95 * len(pages)) - 1)]
        print(f"| {name} | {pages[0]:.0f} | {middle:.0f} | {p95:.0f} | {sql:.0f} | {middle / sql:.1f} |")


def _ms(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return 1000 * (time.perf_counter() - began)


def _id(*parts: object) -> str:
    return hashlib.md5(repr(parts).encode()).hexdigest()


def _record(kind: str, number: int) -> dict[str, object]:
    attempt = _id("attempt", kind, number)
    when = START + timedelta(seconds=number)
    return {"id": _id(kind, number), "attempt_id": attempt, "work_key": attempt, "created_at": when}


def _instruction(number: int) -> dict[str, object]:
    rejected = number % 20 == 0
    said = {"text": f"What is known of thing {number} and word{number % 997}?", "topic": f"topic{number % 40}"}
    said |= {"origin": "self_instruct", "state": "rejected" if rejected else "accepted"}
    return _record("instructions", number) | {"parents": [], "reason": "too short" if rejected else None} | said


def _response(number: int) -> dict[str, object]:
    about = _id("instructions", number)
    said = {"kind": "base", "text": f"Thing {number} has word{number % 997} " * 8}
    return _record("responses", number) | {"parents": [about], "instruction_id": about} | said


def _call(id: object, step: str) -> dict[str, object]:
    call = {"id": id, "work_key": id, "step": f"bench.{step}", "fingerprint": "f", "parents": [], "inputs": "{}"}
    call |= {"prompt_id": "p", "prompt_hash": "h", "model": "m", "sampling": "{}", "try_number": 0, "state": "accepted"}
    return call | {
        "final": True,
        "raw_text": "said",
        "tokens_in": 9,
        "tokens_out": 9,
        "latency_s": 0.5,
        "created_at": START,
    }


if __name__ == "__main__":
    main()

"""The lake's speed, as ratios in one run: `python bench/lake.py [--rows 10000000] [part …]`.

Parts: `ingest` (1M wide rows through `Lake.append` against `pyarrow.parquet.write_table`), `views` (the named views
over 10M rows after maintenance, against the same SQL on plain Parquet files), `resume` (the anti-join over 1M and 10M
attempts: seconds and memory), `small` (1,000 small commits, before and after `maintain`, against one big commit).
Each figure is the median of five alternating runs.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import alignery.config.methods  # noqa: F401  # what lakes have by default
from warehouse import Lake
from warehouse.maintenance import maintain
from warehouse.schema.arrow import to_arrow
from warehouse.schema.lake_schema import default

RUNS = 5
BATCH = 250_000
START = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = (
    "tea",
    "rain",
    "owl",
    "lamp",
    "river",
    "kind",
    "answer",
    "rule",
    "helpful",
    "bread",
    "window",
    "stone",
    "quiet",
)


def main() -> None:
    """Print one Markdown table a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["ingest", "views", "resume", "small"])
    parser.add_argument("--rows", type=int, default=10_000_000)
    asked = parser.parse_args()
    known: dict[str, Callable[[Path, int], None]] = {"ingest": ingest, "views": views, "resume": resume, "small": small}
    with tempfile.TemporaryDirectory() as folder:
        for part in asked.parts:
            print(f"\n## {part}\n", flush=True)
            known[part](Path(folder) / part, asked.rows)
            shutil.rmtree(Path(folder) / part, ignore_errors=True)


def ingest(home: Path, rows: int) -> None:
    """Seconds to append wide rows against writing the same table to one Parquet file, both as zstd."""
    count = rows // 10
    batch = _attempts(0, count, wide=True)
    whole = to_arrow("attempts", batch, run_id="r")
    print(f"{count} rows of {len(whole.schema)} columns, {whole.nbytes / 1e6:.0f} MB in memory\n")
    home.mkdir()

    def append(commits: int) -> float:
        shutil.rmtree(home / "lake", ignore_errors=True)
        with Lake.open(home / "lake") as lake:
            size = count // commits
            return _seconds(lambda: [
                lake.ledger.append({}, batch.slice(n * size, size), run_id="r", step="s", fingerprint="f")
                for n in range(commits)
            ])  # fmt: skip

    def write(codec: str) -> float:
        return _seconds(lambda: pq.write_table(whole, home / "direct.parquet", compression=codec))

    pairs = [(write("zstd"), append(1), append(20), write("snappy")) for _ in range(RUNS)]
    print("| appended as | seconds | of write_table (zstd) | of write_table (snappy, its default) |\n|---|---|---|---|")
    for place, name in ((1, "one commit"), (2, "20 commits")):
        seconds = statistics.median(pair[place] for pair in pairs)
        zstd, snappy = (statistics.median(pair[other] / pair[place] for pair in pairs) for other in (0, 3))
        print(f"| {name} | {seconds:.1f} | {zstd:.2f} | {snappy:.2f} |", flush=True)


def views(home: Path, rows: int) -> None:
    """Each named view, read whole, against the same SQL over plain Parquet files of the same rows."""
    _fill(home, rows)
    with Lake.open(home) as lake:
        maintain.apply(lake)
        direct = duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(home / "spill")})
        for table in default().tables:
            file = home / f"{table}.parquet"
            with lake.query(f"SELECT snapshot_id, * FROM {table}") as cursor:
                reader = cursor.to_arrow_reader(100_000)
                with pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
                    for batch in reader:
                        writer.write_batch(batch)
            direct.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{file}')")
        for view, text in default().views.items():
            direct.execute(f"CREATE VIEW {view} AS {text}")
        print("| view | rows | lake, s | plain Parquet, s | ratio |\n|---|---|---|---|---|")
        for view in default().views:
            scan = f"SELECT count(*) AS n, bit_xor(hash(v)) AS all_columns FROM {view} v"
            pairs = []
            for _ in range(RUNS):
                ours = _seconds(lambda scan=scan: lake.rows(scan))
                pairs.append((ours, _seconds(lambda scan=scan: direct.execute(scan).fetchall())))
            count = lake.rows(scan)[0]["n"]
            one, other = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
            ratio = statistics.median(ours / theirs for ours, theirs in pairs)
            print(f"| `{view}` | {count} | {one:.2f} | {other:.2f} | {ratio:.2f} |", flush=True)


def resume(home: Path, rows: int) -> None:
    """The anti-join of a chunk's work keys, in a process of its own: seconds, and what it adds to the memory."""
    print("| attempts in the lake | keys asked | seconds | memory before, MB | peak, MB |\n|---|---|---|---|---|")
    for count in (rows // 10, rows):
        with Lake.open(home / str(count)) as lake:
            for start in range(0, count, BATCH):
                lake.ledger.append(
                    {}, _attempts(start, min(BATCH, count - start)), run_id="r", step="s", fingerprint="f"
                )
            maintain.apply(lake)
        for keys in (256, 65_536):
            code = f"from bench.lake import _asked; _asked({str(home / str(count))!r}, {count}, {keys})"
            subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def small(home: Path, rows: int) -> None:
    """Queries over 1,000 commits of 20 rows, before and after maintenance, against one commit of 20,000."""
    queries = {
        "sum over attempts": "SELECT step, state, count(*), sum(tokens_out) FROM attempts GROUP BY ALL",
        "one row": f"SELECT raw_text FROM attempts WHERE work_key = '{_key(10_007)}'",
        "funnel": "SELECT * FROM funnel",
    }
    with Lake.open(home / "many") as many, Lake.open(home / "one") as one:
        for n in range(1000):
            many.ledger.append({}, _attempts(20 * n, 20), run_id="r", step="s", fingerprint="f")
        one.ledger.append({}, _attempts(0, 20_000), run_id="r", step="s", fingerprint="f")
        before = {name: _paired(many, one, query) for name, query in queries.items()}
        seconds = _seconds(lambda: maintain.apply(many))
        print(f"`maintain` took {seconds:.1f} s.\n")
        print("| query | one commit, ms | 1,000 commits | after `maintain` |\n|---|---|---|---|")
        for name, query in queries.items():
            after = _paired(many, one, query)
            print(f"| {name} | {after[1] * 1000:.1f} | {before[name][0]:.2f} × | {after[0]:.2f} × |", flush=True)


def _paired(lake: Lake, other: Lake, query: str) -> tuple[float, float]:
    """The ratio of the two, and the other's seconds; medians of alternating runs."""
    pairs = [(_seconds(lambda: lake.rows(query)), _seconds(lambda: other.rows(query))) for _ in range(4 * RUNS)]
    return statistics.median(a / b for a, b in pairs), statistics.median(b for _, b in pairs)


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _asked(home: str, count: int, keys: int) -> None:
    """In a process of its own: half of the keys are settled, half are new."""
    with Lake.open(Path(home), read_only=True) as lake:
        asked = [_key(n) for n in range(0, count, max(1, 2 * count // keys))][: keys // 2]
        asked += [f"new-{n}" for n in range(keys - len(asked))]
        lake.ledger.unfinished(asked[:16])
        before = _memory("VmRSS")
        times = [_seconds(lambda: lake.ledger.unfinished(asked)) for _ in range(RUNS)]
        assert len(lake.ledger.unfinished(asked)) == keys - keys // 2
        print(f"| {count} | {keys} | {statistics.median(times):.2f} | {before} | {_memory('VmHWM')} |", flush=True)


def _memory(field: str) -> int:
    """This process's memory in MB: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) // 1024


def _key(n: int) -> str:
    return hashlib.md5(f"work {n}".encode()).hexdigest()


def _attempts(start: int, count: int, *, wide: bool = False) -> pa.Table:
    """That many final attempts; wide ones hold 200 to 1,500 characters of reply."""
    draw = np.random.default_rng(start)
    numbers = range(start, start + count)
    words = [" ".join(draw.choice(WORDS, size=int(draw.integers(40, 300) if wide else 8))) for _ in range(2000)]
    keys = [_key(n) for n in numbers]
    states = ["rejected" if n % 10 == 0 else "accepted" for n in numbers]
    each: dict[str, Any] = {
        "id": [key[::-1] for key in keys],
        "work_key": keys,
        "request_key": [f"{key[16:]}{key[:16]}" for key in keys],
        "parents": pa.array([[key[8:]] for key in keys], pa.list_(pa.string())),
        "inputs": [f'{{"instruction_id": "{key}"}}' for key in keys],
        "seed": draw.integers(0, 2**31, count),
        "state": states,
        "reason": ["empty reply" if state == "rejected" else None for state in states],
        "raw_text": [f"{n} {words[n % 2000]}" for n in numbers],
        "tokens_in": draw.integers(10, 400, count).astype("int32"),
        "tokens_out": draw.integers(10, 400, count).astype("int32"),
        "latency_s": draw.random(count),
        "created_at": _times(start, count),
    }
    same = {"step": "respond.answer", "fingerprint": "f" * 32, "prompt_id": "respond/answer", "prompt_hash": "p" * 32}
    same |= {"model": "m", "sampling": '{"temperature": 1.0}', "finish_reason": "stop"}
    return _table("attempts", count, each, same | {"try_number": 0, "final": True})


def _fill(home: Path, rows: int) -> None:
    """A lake of that many rows: of ten, one instruction, two answers, two revisions, a correction and four attempts."""
    with Lake.open(home) as lake:
        for start in range(0, rows // 10, BATCH // 4):
            count = min(BATCH // 4, rows // 10 - start)
            calls = _attempts(4 * start, 4 * count)
            lake.ledger.append(_line(start, calls), calls, run_id="r", step="bench", fingerprint="f")


def _line(start: int, calls: pa.Table) -> dict[str, pa.Table]:
    """What a line makes of each instruction, written by four attempts."""
    count = calls.num_rows // 4
    each = [pa.array(range(call, 4 * count, 4)) for call in range(4)]
    wrote = [{"attempt_id": calls["id"].take(rows), "work_key": calls["work_key"].take(rows)} for rows in each]
    words = [text.as_py() for text in calls["raw_text"].slice(0, 2000)]
    ids = {kind: [f"{kind}-{start + n:029d}" for n in range(count)] for kind in ("in", "ba", "pr", "r1", "r2", "co")}
    chain = {"instruction_id": ids["in"], "response_id": ids["ba"], "target_id": ids["ba"], "critique_id": ids["r1"]}
    principle = {"principle_id": "kind", "principle_hash": "h", "changed": True}

    def records(name: str, kind: str, call: int, about: str, same: dict[str, Any], **each: Any) -> pa.Table:
        text = [f"{kind} {start + n} {words[(start + n) % len(words)]}" for n in range(count)]
        parents = pa.array([[id] for id in ids[about]], pa.list_(pa.string()))
        common = {"id": ids[kind], "text": text, "parents": parents, "created_at": _times(start, count)}
        return _table(name, count, common | wrote[call] | each, same)

    asked = {"topic": "tea", "origin": "self_instruct", "state": "accepted"}
    revised = [records("revisions", f"r{n}", 3, "ba", principle | {"round": n}, **chain) for n in (1, 2)]
    return {
        "instructions": records("instructions", "in", 0, "in", asked),
        "responses": pa.concat_tables(
            [
                records("responses", "ba", 1, "in", {"kind": "base"}, instruction_id=ids["in"]),
                records("responses", "pr", 2, "in", {"kind": "principled"}, instruction_id=ids["in"]),
            ]
        ),
        "revisions": pa.concat_tables(revised),
        "corrections": records(
            "corrections",
            "co",
            3,
            "ba",
            {"template_id": "t", "is_copy": False},
            instruction_id=ids["in"],
            response_id=ids["ba"],
        ),
    }


def _times(start: int, count: int) -> pa.Array:
    return pa.array([START + timedelta(milliseconds=start + n) for n in range(count)], pa.timestamp("us", tz="UTC"))


def _table(name: str, count: int, each: dict[str, Any], same: dict[str, Any]) -> pa.Table:
    """An Arrow table of the lake's types: columns with a value a row, and those with the same in all."""
    schema = default().tables[name]
    columns = {column: pa.array(values, schema.field(column).type) for column, values in each.items()}
    columns |= {column: pa.repeat(pa.scalar(value, schema.field(column).type), count) for column, value in same.items()}
    return pa.table(columns)


if __name__ == "__main__":
    main()

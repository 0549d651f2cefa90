"""Journals for `bench/fuzz.py`: lines as a run writes them, and what may become of one."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_WHEN = datetime(2026, 1, 2, tzinfo=UTC)
_ODD: list[Any] = [None, -1, 1.5, True, 2**31, 2**70, "x", [], {}, [None], "\ud800", float("inf"), float("nan")]


def attempt(id: str) -> dict[str, Any]:
    """An accepted call."""
    texts = ("step", "fingerprint", "prompt_id", "prompt_hash", "model")
    return {
        "id": id,
        "work_key": f"work {id}",
        **{name: name for name in texts},
        "parents": [],
        "inputs": "{}",
        "sampling": "{}",
        "seed": 1,
        "try_number": 0,
        "state": "accepted",
        "final": True,
        "raw_text": "yes",
        "finish_reason": "stop",
        "tokens_in": 3,
        "tokens_out": 2,
        "latency_s": 0.5,
        "created_at": _WHEN,
    }


def written(home: Path, id: str) -> bytes:
    """The line that a run writes for one call."""
    from warehouse.journal import Journal
    from warehouse.ledger import Batch

    home.mkdir()
    Journal(home, "run").write(Batch("step", "fingerprint", {}, [attempt(id)]))
    (path,) = (home / "journal").glob("*.jsonl")
    return path.read_bytes()


def damaged(line: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The line with one kind of damage, and what that is; it still ends where it did, but where it is torn."""
    value = json.loads(line)
    row = value["attempts"][0]
    name, odd = rng.choice(list(row)), rng.choice(_ODD)
    place, size = rng.randrange(1, len(line) - 2), rng.randrange(1, 40)
    kinds = {
        "a value": lambda: json.dumps(value | {"attempts": [row | {name: odd}]}).encode() + b"\n",
        "a field too much": lambda: json.dumps(value | {"attempts": [row | {"nosuch": 1}]}).encode() + b"\n",
        "a field gone": lambda: (
            json.dumps(value | {"attempts": [{key: item for key, item in row.items() if key != name}]}).encode() + b"\n"
        ),
        "a table": lambda: (
            json.dumps(value | {"records": rng.choice([7, {"nosuch": [{}]}, {"attempts": 7}])}).encode() + b"\n"
        ),
        "bytes": lambda: line[:place] + rng.randbytes(size).replace(b"\n", b"x") + line[place + size :].lstrip(b"\n"),
        "a hole": lambda: line[:place] + bytes(size) + line[place + size :].lstrip(b"\n"),
        "cut": lambda: line[:place] + b"\n",
        "nested deep": lambda: b"[" * 100_000 + b"\n",
        "no object": lambda: rng.choice([b"7\n", b'"x"\n', b"[]\n", b"{}\n", b"null\n", b"\n", b"\xff\xfe\n"]),
    }
    kind = rng.choice(list(kinds))
    found = kinds[kind]()
    return f"{kind}: {name}, {odd!r}", found if found.endswith(b"\n") else found + b"\n"


def lake_has(lake: Any, id: str) -> bool:
    return bool(lake.rows("SELECT id FROM attempts WHERE id = ?", [id]))

"""A lake of a given size for the pages: instructions with an answer, three rounds of critique and revision, and a
correction, each record with the call that wrote it; two runs, a tag, two models, figures and decisions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from alignery.config.preset import load
from warehouse import Lake
from warehouse.export.publish import tag
from warehouse.maintenance import maintain
from warehouse.schema.lake_schema import LakeSchema

BATCH = 50_000  # instructions of a commit
ROUNDS = 3
RUNS, PRINCIPLES, TOPICS, WORDS = 2, 16, 40, 997
# SQL over n, an instruction's number, and k, the number of a record among those of its kind.
_ABOUT = "md5('instructions-0-' || n)"
_BASE = "md5('responses-0-' || n)"
_TARGET = "CASE WHEN k = 0 THEN md5('responses-0-' || n) ELSE md5(concat('revisions-', k - 1, '-', n)) END"
_RULE = f"'rule' || ((n + 5 * k) % {PRINCIPLES})"
_DRAWN = f"{_RULE} AS principle_id, md5({_RULE}) AS principle_hash"
_OF = f"{_ABOUT} AS instruction_id, [{_ABOUT}] AS parents"
_COLUMNS = {
    "instructions": f"[] AS parents, 'What is known of thing ' || n || ' and word' || (n % {WORDS}) || '?' AS text,"
    f" 'topic' || (n % {TOPICS}) AS topic, 'self_instruct' AS origin,"
    " if(n % 20 = 0, 'rejected', 'accepted') AS state, if(n % 20 = 0, 'too short', NULL) AS reason",
    "responses": f"{_OF}, 'base' AS kind, repeat('Thing ' || n || ' has word' || (n % {WORDS}) || '. ', 12) AS text",
    "critiques": f"{_OF}, {_BASE} AS response_id, {_TARGET} AS target_id, (k + 1)::INT AS round, {_DRAWN},"
    " 'It says too little of thing ' || n || '.' AS text",
    "revisions": f"{_OF}, {_BASE} AS response_id, {_TARGET} AS target_id, md5(concat('critiques-', k, '-', n)) AS"
    f" critique_id, (k + 1)::INT AS round, {_DRAWN}, (n + k) % 2 = 0 AS changed,"
    f" concat('In round ', k, ': ', repeat('Thing ' || n || ' has word' || (n % {WORDS}) || '. ', 12)) AS text",
    "corrections": f"{_OF}, {_BASE} AS response_id, 'answer' AS template_id, false AS is_copy,"
    " 'Corrected: thing ' || n || ' is well known.' AS text",
}
_PLACES = {name: range(ROUNDS if name in ("critiques", "revisions") else 1) for name in _COLUMNS}
_WHEN = "TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_microseconds(1000 * n)"
_CALL = (
    "md5(concat('call-{table}-', k, '-', n)) AS id, md5(concat('work-{table}-', k, '-', n)) AS work_key,"
    " 'bench.{table}' AS step, 'f' AS fingerprint, [" + _ABOUT + "] AS parents, '{{}}' AS inputs,"
    " 'bench/{table}' AS prompt_id, md5('bench/{table}') AS prompt_hash, 'm' AS model, '{{}}' AS sampling, 0 AS"
    " try_number, if(n % 50 = k, 'rejected', 'accepted') AS state, if(n % 50 = k, 'too long: ' || (7000 + n % 9)"
    " || ' tokens', NULL) AS reason, true AS final, repeat('said of ' || n || '. ', 12) AS raw_text, 'stop' AS"
    " finish_reason, 90 AS tokens_in, 40 AS tokens_out, 0.5 AS latency_s, " + _WHEN + " AS created_at"
)


def make(home: Path, rows: int) -> None:
    """Write the lake, a commit a batch, and merge its files as `alignery maintain` does."""
    with Lake.open(home, schema=load("nano").lake_schema) as lake, duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        _words(lake)
        size = min(BATCH, max(1, rows // RUNS))
        for first in range(0, rows, size):
            _batch(lake, db, first, min(first + size, rows), f"run{min(first * RUNS // rows, RUNS - 1)}")
        tag(lake, "v1", None, run_id="run0", message="the first", shapes=["sft", "preferences", "qac"])
        _models(lake, home)
        maintain.apply(lake)


def _batch(lake: Lake, db: duckdb.DuckDBPyConnection, first: int, end: int, run: str) -> None:
    lake.ledger.write("runs", [_run(run, "started")], run_id=run, message="run started")
    records, calls = {}, []
    for table, columns in _COLUMNS.items():
        source = f"FROM range({first}, {end}) t(n), range({len(_PLACES[table])}) u(k)"
        ids = (f"md5(concat('{table}-', k, '-', n)) AS id, md5(concat('call-{table}-', k, '-', n)) AS attempt_id,"
               f" md5(concat('work-{table}-', k, '-', n)) AS work_key, {_WHEN} AS created_at")  # fmt: skip
        records[table] = _typed(lake.schema, table, db.sql(f"SELECT {ids}, {columns} {source}").to_arrow_table())
        calls.append(
            _typed(lake.schema, "attempts", db.sql(f"SELECT {_CALL.format(table=table)} {source}").to_arrow_table())
        )
    lake.ledger.append(records, pa.concat_tables(calls), run_id=run, step="bench.view", fingerprint="f")
    lake.ledger.write("runs", [_run(run, "finished")], run_id=run, message="run finished")


def _typed(schema: LakeSchema, table: str, found: pa.Table) -> pa.Table:
    """With the columns' own types, which DuckDB's literals do not have."""
    types = {field.name: field.type for field in schema.tables[table]}
    return pa.table({name: found[name].cast(types[name]) for name in found.column_names})


def _run(id: str, state: str) -> dict[str, Any]:
    row = {"id": id, "state": state, "flow": "refresh", "preset": "nano", "config": "{}", "config_hash": "c"}
    return row | {"code_version": "0.1.0", "totals": json.dumps({"sent": 90, "saved": 10}), "message": None}


def _words(lake: Lake) -> None:
    sources = {f"principle:rule{n}": f"Does the answer keep rule {n}?" for n in range(PRINCIPLES)}
    sources |= {f"bench/{table}": "{{ instruction }}" for table in _COLUMNS}
    hashes = {id: duckdb.sql(f"SELECT md5('{id.removeprefix('principle:')}')").fetchall()[0][0] for id in sources}
    rows = [{"hash": hashes[id], "id": id, "source": text} for id, text in sources.items()]
    lake.ledger.write("prompts", rows, run_id="run0", message="words")


def _models(lake: Lake, home: Path) -> None:
    rest = {"base_id": "base", "base_path": str(home / "base"), "recipe": "sft", "tag": "v1", "view": "sft"}
    rest |= {"config": "{}", "metrics": json.dumps({"rows": 9, "steps": 20}), "seconds": 3.0}
    models = [{"id": f"m:{n}", "path": str(home / "models" / f"sft-{n}")} | rest for n in range(2)]
    lake.ledger.write("models", models, run_id="run1", message="models")
    figures = [
        {"id": f"e{n}", "model": f"m:{n}", "suite": "held_out", "metric": "helpful", "value": 0.5, "count": 40}
        for n in range(2)
    ]
    lake.ledger.write("evals", figures, run_id="run1", message="figures")
    now = datetime.now(UTC)
    answers = [
        {"id": f"a-{m}-{n}", "parents": [], "attempt_id": f"k-{m}-{n}", "work_key": f"w-{m}-{n}", "created_at": now,
         "prompt_id": f"h{n}", "suite": "held_out", "prompt": f"held {n}", "text": f"{'same' if n % 2 else m} {n}"}
        for m in ("m:0", "m:1") for n in range(1000)
    ]  # fmt: skip
    call = {
        "step": "evaluate.answer",
        "fingerprint": "e",
        "parents": [],
        "inputs": "{}",
        "prompt_id": "bench/responses",
    }
    call |= {"prompt_hash": "h", "sampling": "{}", "try_number": 0, "state": "accepted", "final": True, "raw_text": "a"}
    asked = [
        call | {"id": row["attempt_id"], "work_key": row["work_key"], "model": row["id"][2:5], "created_at": now}
        for row in answers
    ]
    lake.ledger.append({"eval_answers": answers}, asked, run_id="run1", step="evaluate.answer", fingerprint="e")

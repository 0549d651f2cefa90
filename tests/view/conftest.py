"""A small lake with all that the pages show, one of its texts hostile; and the pages over it."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_texts import LONG, POISON, RTL
from lake_rows import START, attempt, commit, fill, fill_further, instruction, response
from starlette.testclient import TestClient

from alignery.config.preset import load
from alignery.view.access_control import AccessControl
from alignery.view.app import Site, application
from alignery.view.lakes import Lakes
from alignery.view.serve import serve
from warehouse import Lake
from warehouse.export.publish import tag

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-background-networking"]
AXIS = {"axis": "helpful", "before": 0.4, "after": 0.7, "low": 0.1, "high": 0.5, "margin": 0.1, "verdict": "better"}


@pytest.fixture(scope="session")
def lake_home(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Path:
    """Twelve instructions and all that methods make of them, tagged v1; then hostile rows, rejects and two models."""
    home = shutil.copytree(empty, tmp_path_factory.mktemp("view") / "home")
    with Lake.open(home) as lake:
        _run(lake, "run-1", "started")
        fill(lake)
        fill_further(lake)
        lake.ledger.write("prompts", _words(), run_id="run-1", message="words")
        tag(lake, "v1", None, run_id="run-1", message="the first", shapes=["sft", "preferences", "qac"])
        _hostile(lake)
        _models(lake, home)
        _run(lake, "run-1", "finished")
    return home


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB with threads, as users have it; the other tests have one. A connection is opened by its first request."""
    monkeypatch.setenv("ALIGNERY_THREADS", "4")


@pytest.fixture(scope="session")
def lakes(lake_home: Path) -> Iterator[Lakes]:
    found = Lakes(lake_home, load("nano"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def client(lakes: Lakes) -> TestClient:
    """The pages, as a browser on this machine reaches them."""
    return TestClient(AccessControl(application(Site(lakes, read_s=600)), 8765), base_url="http://localhost:8765")


@pytest.fixture(scope="session")
def address(lakes: Lakes) -> str:
    """Where the pages are served; the thread ends with the process."""
    urls: list[str] = []
    there = threading.Event()

    def ready(url: str) -> None:
        urls.append(url)
        there.set()

    site = Site(lakes, read_s=600)
    threading.Thread(target=serve, args=(site, "127.0.0.1", 0, (), None, ready), daemon=True).start()
    assert there.wait(30)
    return urls[0].rstrip("/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


def _run(lake: Lake, id: str, state: str) -> None:
    row = {"id": id, "state": state, "flow": "refresh", "preset": "nano", "config": "{}", "config_hash": "c"}
    row |= {"code_version": "0.1.0", "totals": json.dumps({"sent": 90, "saved": 10}), "message": None}
    lake.ledger.write("runs", [row], run_id=id, message=f"run {state}")


def _words() -> list[dict[str, object]]:
    ids = {"h": ("principle:kind", "Is the answer kind?"), "p1": ("respond/answer", "{{ instruction }}")}
    ids["p0"] = ("respond/answer", "{{ instruction }} please")
    return [{"hash": hash, "id": id, "source": source} for hash, (id, source) in ids.items()]


def _hostile(lake: Lake) -> None:
    reasons = [f"too long: {n} tokens" for n in (7001, 7002)]
    lost = [
        attempt(f"lost{n}", parents=["i0"], state="rejected", reason=reason, raw_text=POISON)
        for n, reason in enumerate(reasons)
    ]
    commit(
        lake,
        attempts=lost,
        instructions=[
            instruction("poison", POISON, topic=POISON),
            instruction("rtl", RTL),
            instruction("nul", "before\x07\0after"),
            instruction("double", "question i1 again", state="rejected", reason="near-duplicate: ROUGE-L",
                        similarity=0.9, nearest="question i1"),
        ],
        responses=[response("b-poison", "poison", POISON), response("b-long", "rtl", LONG)],
    )  # fmt: skip


def _models(lake: Lake, home: Path) -> None:
    folder = home / "models" / "sft-1"
    folder.mkdir(parents=True)
    curve = [{"step": n, "loss": 1 / (n + 1), "learning_rate": 0.1} for n in range(20)]
    (folder / "history.json").write_text(json.dumps(curve))
    rest = {"base_id": "base", "base_path": str(home / "base"), "recipe": "sft", "tag": "v1", "view": "sft"}
    rest |= {"config": "{}", "metrics": json.dumps({"rows": 9, "steps": 20, "loss_first": 1.0, "loss_last": 0.05})}
    lake.ledger.write(
        "models", [{"id": "m:1", "path": str(folder), "seconds": 3.0} | rest], run_id="run-1", message="m"
    )
    figures = [
        {"id": f"e{n}", "model": model, "suite": "held_out", "metric": "helpful", "value": value, "count": 40}
        for n, (model, value) in enumerate((("base", 0.4), ("m:1", 0.7)))
    ]
    lake.ledger.write("evals", figures, run_id="run-1", message="e")
    decision = {"id": "d1", "alias": "generator", "state": "promoted", "model": "m:1", "model_path": str(folder)}
    decision |= {"against": "base", "decided_by": "gate", "reasons": ["promoted: better on helpful", "helpful: better"]}
    lake.ledger.write(
        "decisions", [decision | {"figures": json.dumps([AXIS]), "policy": "{}"}], run_id="run-1", message="d"
    )
    answers = [
        {"id": f"a-{model}-{n}", "parents": [], "attempt_id": f"k-a-{model}-{n}-try0", "work_key": f"k-a-{model}-{n}",
         "created_at": START, "prompt_id": f"h{n}",
         "suite": "held_out", "prompt": f"held {n}", "text": f"{'same' if n else model} {n}"}
        for model in ("base", "m:1") for n in range(2)
    ]  # fmt: skip
    asked = [attempt(row["work_key"], step="evaluate.answer", model=row["id"][2:-2]) for row in answers]
    lake.ledger.append({"eval_answers": answers}, asked, run_id="run-1", step="evaluate.answer", fingerprint="f")

"""A running refresh seen from another process: what it committed, what is in its journal, what was planned."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lake_rows import attempt, commit
from starlette.testclient import TestClient

from alignery.config.preset import load
from alignery.view.app import Site, application
from alignery.view.lakes import Lakes
from alignery.view.walls import Walls
from warehouse import Lake
from warehouse.journal import Journal
from warehouse.ledger import Batch

RUN = "abc123"


@pytest.fixture
def running(tmp_path: Path, empty: Path) -> Iterator[tuple[TestClient, Lake, Journal]]:
    """A run that has committed two calls, and has three in its journal."""
    home = shutil.copytree(empty, tmp_path / "home")
    now = datetime.now(UTC)
    with Lake.open(home) as lake:
        row = {"id": RUN, "state": "started", "flow": "refresh", "preset": "nano", "config_hash": "c"}
        lake.ledger.write("runs", [row], run_id=RUN, message="started")
        commit(lake, RUN, [attempt(f"c{n}", created_at=now - timedelta(seconds=60)) for n in range(2)])
        journal = Journal(home, RUN)
        late = [attempt(f"j{n}", run_id=RUN, created_at=now - timedelta(seconds=n), latency_s=5.0) for n in range(3)]
        journal.write(Batch(step="respond.answer", fingerprint="f", records={}, attempts=late))
        lakes = Lakes(home, load("nano"))
        yield (
            TestClient(Walls(application(Site(lakes, read_s=600)), 8765), base_url="http://localhost:8765"),
            lake,
            journal,
        )
        lakes.close()


def test_it_counts_what_is_committed_and_what_is_not_yet(running: tuple[TestClient, Lake, Journal]) -> None:
    client, lake, journal = running
    found = client.get("/live?format=json").json()
    (step,) = found["progress"]["steps"]
    assert (found["run"], step["step"], step["calls"], step["uncommitted"]) == (RUN, "respond.answer", 5, 3)
    assert found["progress"]["answers_per_s"] == pytest.approx(3 / 15)
    assert found["progress"]["in_flight"] == pytest.approx(1.0), "the rate of answers times their latency"
    assert "not committed yet" in client.get("/live").text.lower()
    lake.ledger.write("runs", [{"id": RUN, "state": "finished", "flow": "refresh"}], run_id=RUN, message="finished")
    journal.end()
    assert "No refresh is running" in client.get("/live").text


def test_a_journal_that_has_just_landed_is_not_counted_twice(running: tuple[TestClient, Lake, Journal]) -> None:
    client, lake, _ = running
    commit(lake, RUN, [attempt(f"j{n}") for n in range(3)])
    (step,) = client.get("/live?format=json").json()["progress"]["steps"]
    assert (step["calls"], step["uncommitted"]) == (5, 0)


def test_half_a_line_and_a_foreign_run_are_left_alone(running: tuple[TestClient, Lake, Journal]) -> None:
    client, lake, _ = running
    (lake.home / "journal" / f"{RUN}.000099.jsonl").write_text('{"step": "respond.answer", "attem')
    (lake.home / "journal" / "other.000001.jsonl").write_text("{}\n")
    (step,) = client.get("/live?format=json").json()["progress"]["steps"]
    assert step["calls"] == 5

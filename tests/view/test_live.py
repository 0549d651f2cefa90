"""A running refresh seen from another process: what it committed, what is in its journal, what was planned."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from lake_rows import attempt, commit
from starlette.testclient import TestClient

from alignery.config.preset import load
from alignery.config.schema import Schedule
from alignery.view.access_control import AccessControl
from alignery.view.app import Site, application
from alignery.view.lakes import Lakes
from warehouse import Lake
from warehouse.browse import live
from warehouse.database.lock import exclusive
from warehouse.journal import Journal
from warehouse.ledger import Batch
from warehouse.schema.tables import Row

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
            TestClient(AccessControl(application(Site(lakes, read_s=600)), 8765), base_url="http://localhost:8765"),
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
    calls = list(live.journalled(lake.home, RUN))
    lake.ledger.append({}, calls, run_id=RUN, step="respond.answer", fingerprint="f")
    (step,) = client.get("/live?format=json").json()["progress"]["steps"]
    assert (step["calls"], step["uncommitted"]) == (5, 0)


def test_half_a_line_and_a_foreign_run_are_left_alone(running: tuple[TestClient, Lake, Journal]) -> None:
    client, lake, _ = running
    (lake.home / "journal" / f"{RUN}.000099.jsonl").write_text('{"step": "respond.answer", "attem')
    (lake.home / "journal" / "other.000001.jsonl").write_text("{}\n")
    (step,) = client.get("/live?format=json").json()["progress"]["steps"]
    assert step["calls"] == 5


def test_a_commit_between_the_two_looks_is_counted_once(
    running: tuple[TestClient, Lake, Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, lake, _ = running
    read = live.journalled

    def read_and_landed(home: Path, run_id: str) -> list[Row]:
        calls = list(read(home, run_id))
        lake.ledger.append({}, calls, run_id=run_id, step="respond.answer", fingerprint="f")
        return calls

    monkeypatch.setattr(live, "journalled", read_and_landed)
    found = client.get("/live?format=json").json()["progress"]
    assert [(step["calls"], step["uncommitted"]) for step in found["steps"]] == [(5, 0)]
    assert found["answers_per_s"] == pytest.approx(3 / 15)


def test_what_is_counted_while_a_commit_lands_is_not_kept(running: tuple[TestClient, Lake, Journal]) -> None:
    _, lake, _ = running
    lakes = Lakes(lake.home, load("nano"))
    before = lakes.now.snapshot()

    def count() -> int:
        commit(lake, RUN, [attempt(f"late{len(asked)}")])
        asked.append(1)
        return len(asked)

    asked: list[int] = []
    lakes.once(lakes.now, before, ("calls",), count)
    assert lakes.once(lakes.now, before, ("calls",), count) == 2
    lakes.close()


def test_it_says_what_runs_next_and_what_is_not_decided_yet(running: tuple[TestClient, Lake, Journal]) -> None:
    _, lake, _ = running
    tag = {"name": "v7", "snapshot_id": 3, "content_hash": "h", "rows": "{}", "export_path": "exports/v7"}
    lake.ledger.write("tags", [tag], run_id=RUN, message="tag v7")
    made = load("nano").model_copy(update={"schedule": Schedule(refresh="0 3 * * *", maintain="30 4 * * 0")})
    times = {"refresh": datetime(2031, 1, 1, 3, tzinfo=UTC)}
    lakes = Lakes(lake.home, made, lambda schedule: times)
    client = TestClient(AccessControl(application(Site(lakes, read_s=600)), 8765), base_url="http://localhost:8765")
    page = client.get("/live").text
    assert "2031-01-01 03:00:00" in page
    assert "start it to run this schedule" in page
    assert re.search("v7</a> is decided next", page)
    with exclusive(lake.place, "serve", "alignery serve"):
        assert "<code>alignery serve</code> is running" in client.get("/live").text
    lakes.close()


@pytest.mark.flow
def test_the_next_times_are_prefects() -> None:
    from flows.deploy import upcoming

    found = upcoming(Schedule(refresh="0 3 * * *", maintain="0 0 30 2 *", timezone="Europe/Vienna"))
    assert list(found) == ["refresh"], "30 February never comes"
    local = found["refresh"].astimezone(ZoneInfo("Europe/Vienna"))
    assert (local.hour, local.minute) == (3, 0)
    assert found["refresh"] > datetime.now(UTC)

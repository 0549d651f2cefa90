"""A lake that was filled before methods declared themselves: opened, refreshed without a request, published."""

from __future__ import annotations

import zipfile
from pathlib import Path

import alignery
from warehouse.schema.tables import SCHEMA_VERSION

HERE = Path(__file__).parent


def test_a_lake_of_before_sends_nothing_again_and_is_published(tmp_path: Path) -> None:
    with zipfile.ZipFile(HERE / "lake_of_before.zip") as packed:
        packed.extractall(tmp_path)
    preset, home = HERE / "lake_of_before.yaml", tmp_path / ".alignery"
    with alignery.open_lake(home, preset=preset) as lake:  # before a writer has brought it up
        assert lake.sql("SELECT count(*) AS n FROM attempts").to_pylist() == [{"n": 117}]
        assert lake.sql("SELECT source FROM instructions LIMIT 1").to_pylist() == [{"source": None}]
    done = alignery.refresh(preset, home)
    assert (done.state, done.accepted, done.sent) == ("finished", 12, 0)
    published = alignery.publish(preset, home)
    assert sum(published.rows.values()) > 0
    with alignery.open_lake(home, preset=preset) as lake:
        assert lake.sql("SELECT max(version) AS v FROM versions").to_pylist() == [{"v": SCHEMA_VERSION}]

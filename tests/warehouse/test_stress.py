"""The short form of `bench/stress.py`: killed at random, every acknowledged chunk is there once and whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.stress import stress
from warehouse import LakeLocation


@pytest.mark.flow
@pytest.mark.parametrize("catalog", ["sqlite", "postgres"])
def test_killed_at_random_nothing_is_lost_partial_or_duplicated(tmp_path: Path, catalog: str, request) -> None:
    place = LakeLocation(tmp_path / "home", request.getfixturevalue("database") if catalog == "postgres" else None)
    found = stress(place, tmp_path / "log", processes=4, chunks=6, kills=8)
    assert (found.lost, found.partial_commits, found.duplicated, found.missing, found.partial_reads) == (0, 0, 0, 0, 0)
    assert found.kills >= 6
    assert found.reads > 10

"""The short form of `bench/lakes/stress_presets.py`: two presets at once, killed at random: every row is there once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.lakes.stress_presets import stress


@pytest.mark.flow
def test_two_presets_killed_at_random_leave_the_lake_of_an_undisturbed_run(
    tmp_path: Path, database: str, bucket: str
) -> None:
    # The S3 server of a test process has one store: another test's prefix would be another lake's.
    found = stress(tmp_path, database, f"{bucket}/two-presets", accept=24, kills=4)
    assert found.faults == {}
    assert found.kills >= 2, "on a fast machine the work ends before the last kills"
    assert found.reads > 10
    assert found.requests > 150

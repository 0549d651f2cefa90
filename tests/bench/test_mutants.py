"""The mutants quote code: each still applies, and names tests that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "bench/mutants").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_mutant_applies_and_its_tests_are_there(file: Path) -> None:
    mutants = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert mutants
    lost = [one for one in mutants if one["old"] not in (ROOT / one["file"]).read_text(encoding="utf-8")]
    assert not lost
    named = [one["tests"].split() if isinstance(one["tests"], str) else one["tests"] for one in mutants]
    assert not {test for tests in named for test in tests if not (ROOT / test.split("::")[0]).exists()}

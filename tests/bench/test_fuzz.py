"""The short form of `bench/fuzz.py`: every mistake is one sentence, nothing hangs, and `sql` writes nothing."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The bench, by its path: another module has its name."""
    monkeypatch.chdir(tmp_path)  # and back again
    monkeypatch.syspath_prepend(str(BENCH))
    spec = spec_from_file_location("bench_fuzz", BENCH / "fuzz.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_fuzz", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.flow
@pytest.mark.parametrize(
    ("kind", "count"), [("arguments", 24), ("presets", 30), ("words", 16), ("lines", 20), ("sql", 3), ("journals", 3)]
)
def test_every_mistake_is_one_sentence(kind: str, count: int, tmp_path: Path, fuzz: ModuleType) -> None:
    found = fuzz.fuzz(kind, count, 1, tmp_path / kind)
    assert not found.faults
    assert (found.tried, found.bad) == (count, 0)
    assert found.refused >= 0.9 * count

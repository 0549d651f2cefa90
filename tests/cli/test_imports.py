"""What a verb imports first: no pandas, which pyarrow, Prefect and DuckDB import in case it is used."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from alignery.cli.imports import without_collections

CODE = """
import sys
from alignery.cli.imports import without_pandas
with without_pandas():
    {flow}
import pyarrow as pa
pa.table({{"a": [1]}})
assert "pandas" not in sys.modules
print(pa.table({{"a": [1, 2]}}).to_pandas()["a"].sum())
"""


@pytest.mark.parametrize("flow", ["pass", pytest.param("import flows.refresh", marks=pytest.mark.flow)])
def test_pandas_is_imported_by_who_wants_it_alone(flow: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(flow=flow)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("3\n", "", 0)


REFRESH = """
import sys
from alignery.cli import entry, main
code = entry.main(["refresh", "--preset", "one.yaml", "--no-prefect"])
assert "pandas" not in sys.modules
sys.exit(code)
"""
PRESET = """
about: one answer
models: {generator: {engine: scripted, replies: ['Blue is the colour of a clear sky.']}}
line: {prompts: [{path: ./one.jsonl, gate: false}], respond: {}}
"""


def test_no_statement_of_a_refresh_makes_duckdb_import_pandas(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(PRESET, encoding="utf-8")
    (tmp_path / "one.jsonl").write_text('{"prompt": "What colour is a clear sky?"}\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", REFRESH], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "accepted" in done.stdout


def test_garbage_is_not_collected_during_the_first_imports_and_is_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "alignery.pipeline.run", raising=False)
    try:
        with without_collections():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
    monkeypatch.setitem(sys.modules, "alignery.pipeline.run", sys.modules[__name__])
    with without_collections():
        assert gc.isenabled()
    assert not gc.get_freeze_count()

"""The example notebook: its cells run in order on the embedded model, and show what its text describes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/notebook.ipynb"


def code_cells() -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_it_is_stored_small_and_with_the_outputs_of_one_run_or_none() -> None:
    cells = code_cells()
    assert [cell["execution_count"] for cell in cells] in (list(range(1, len(cells) + 1)), [None] * len(cells))
    assert NOTEBOOK.stat().st_size < 150_000
    assert not [cell for cell in cells if any(output["output_type"] == "error" for output in cell["outputs"])]


@pytest.mark.flow
def test_its_cells_run_and_show_funnel_pairs_trace_and_models_by_two_axes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/api/notebook_cells.py"), str(NOTEBOOK)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)
    drawn = [(output[-1]["data"] if output and "data" in output[-1] else {}) for output in outputs]
    by_source = {
        "".join(cell["source"]).splitlines()[-1]: "".join(data.get("image/svg+xml") or data.get("text/html", []))
        for cell, data in zip(code_cells(), drawn, strict=True)
    }
    assert "finished" in by_source["done"]
    assert "constitutional.revise" in by_source["lake.funnel(done.run_id)"]
    assert "<ins" in by_source["pairs"]
    assert "itself" in by_source['lake.trace(pairs[0]["id"])']
    picture = by_source['found.pareto("helpful", "harmless")']
    assert all(f">{label}</text>" in picture for label in ("base", "engrave", "constitutional_sft"))

"""pandas, which pyarrow and Prefect import in case it is used: not for a verb that runs a flow."""

from __future__ import annotations

import subprocess
import sys

import pytest

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

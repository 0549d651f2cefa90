"""A terminal's Ctrl-C reaches a trainer too; what there is to say of it is its parent's to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, signal, sys
from tasks.train.__main__ import main
main(["sft", "--data", "none", "--model", "none", "--out", "none", "--config", "{}", *sys.argv[1:]])
os.kill(os.getpid(), signal.SIGINT)
print("goes on")
"""


@pytest.mark.parametrize(("given", "expected"), [(["--with-parent"], "goes on\n"), ([], "")])
def test_a_trainer_with_a_parent_leaves_ctrl_c_to_it(tmp_path: Path, given: list[str], expected: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *given], capture_output=True, text=True, check=False)
    assert done.stdout == expected
    assert ("KeyboardInterrupt" in done.stderr) == (not expected)

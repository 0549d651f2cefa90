"""The command in this process: a second of imports less than in one of its own."""

from __future__ import annotations

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import alignery.cli.main
from alignery.cli.entry import main


def alignery(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a verb; its exit code, and what it printed."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    command = [*arguments, "--home", str(home)]
    with redirect_stdout(out), redirect_stderr(err):
        code = main(command)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(command, code, *texts)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a user's mistake."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr

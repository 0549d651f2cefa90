"""The wheel in an environment of its own: a library that is missing is one sentence; with all of them it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"


@pytest.mark.flow
def test_the_wheel_names_the_extra_that_is_missing_and_runs_with_it(tmp_path: Path) -> None:
    home, work = tmp_path / "environment", tmp_path / "empty"
    work.mkdir()

    def made(*command: object) -> None:
        subprocess.run([str(word) for word in command], check=True, capture_output=True)

    made(UV, "build", "--wheel", "--out-dir", tmp_path / "wheel", ROOT)
    made(sys.executable, "-m", "venv", "--without-pip", home)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    python = home / "bin/python"
    made(UV, "pip", "install", "--no-deps", "--python", python, wheel)
    (folder,) = home.glob("lib/python*/site-packages")
    assert (folder / "alignery/view/templates/base.html").is_file()
    assert (folder / "alignery/view/static/view.css").is_file()
    # All else comes from this environment, but torch.
    (folder / "others.pth").write_text(sysconfig.get_path("purelib"))
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def alignery(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [home / "bin/alignery", *arguments]
        return subprocess.run(command, cwd=work, capture_output=True, text=True, check=False, env=environment)

    done = alignery("refresh")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "needs torch, which this Python has not; pip install 'alignery[local]'" in done.stderr
    assert list(work.iterdir()) == []

    (folder / "sitecustomize.py").unlink()
    (package,) = folder.glob("presets/nano.yaml")
    small = yaml.safe_load(package.read_text())  # a copy of a shipped preset, in a folder of its own
    line = {"self_instruct": small["line"]["self_instruct"] | {"accept": 4, "max_candidates": 400}}
    (work / "mine.yaml").write_text(yaml.safe_dump(small | {"line": line}))
    done = alignery("refresh", "--preset", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 instructions accepted" in done.stdout
    assert "alignery publish --preset mine.yaml" in done.stdout

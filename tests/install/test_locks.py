"""Locks. gpu.lock: what a GPU machine installs is exact, with CUDA, as tested elsewhere, and from no named place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
PLATFORM = "x86_64-manylinux_2_28"


def lock(name: str) -> dict[str, str]:
    lines = (ROOT / "locks" / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+(?:\[[a-z,-]+\])?==[\w.+]+", line)] == []
    return dict(line.partition("[")[0].split("==") if "[" not in line else (line.partition("[")[0], line.split("==")[1])
                for line in lines)  # fmt: skip


def test_it_has_vllm_and_what_trains_with_cuda_and_all_else_as_tested() -> None:
    gpu, cpu = lock("gpu.lock"), lock("cpu.lock")
    assert {"vllm", "trl", "peft", "accelerate", "transformers", "duckdb", "prefect"} <= gpu.keys()
    assert any(name.startswith("nvidia-") for name in gpu)
    assert gpu["torch"] == cpu["torch"].partition("+")[0]
    assert [version for version in gpu.values() if "+" in version] == []
    differ = {name for name in gpu.keys() & cpu.keys() if gpu[name] != cpu[name]}
    assert differ == {"torch"}


def test_ray_is_added_to_what_the_tests_have_and_changes_none_of_it() -> None:
    ray, cpu = lock("ray.lock"), lock("cpu.lock")
    assert "ray" in ray.keys() - cpu.keys()
    assert {name for name in ray.keys() & cpu.keys() if ray[name] != cpu[name]} == set()


def resolved(*command: str) -> str:
    own = {name: value for name, value in os.environ.items() if name not in ("UV_FIND_LINKS", "UV_TORCH_BACKEND")}
    done = subprocess.run([UV, "pip", *command], cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.flow
def test_it_is_what_pyproject_asks_for_and_installs_together(tmp_path: Path) -> None:
    ours = (ROOT / "locks/gpu.lock").read_text(encoding="utf-8")
    asked = ("--extra", "train", "--extra", "vllm", "--python-version", "3.11", "--python-platform", PLATFORM)
    again = resolved(
        "compile", "--quiet", "--no-header", "--no-annotate", *asked, "pyproject.toml", "-c", "locks/gpu.lock"
    )
    assert again == ours
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv/bin/python")
    output = resolved("install", "--dry-run", "--python", python, "--python-platform", PLATFORM, "-r", "locks/gpu.lock")
    assert f"Would install {len(ours.splitlines())} packages" in output

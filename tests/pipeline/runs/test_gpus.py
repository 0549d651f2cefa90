"""What `check` says of a GPU: as the driver names it, whether or not PyTorch can use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignery.config.preset import build
from alignery.pipeline.runs import gpus
from alignery.pipeline.runs.readiness import _machine
from warehouse.health.checks import Finding

H200 = "NVIDIA H200, 580.65.06\nNVIDIA H200, 580.65.06\n"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts an `nvidia-smi` on the path that says so and ends so; it checks what it is asked."""

    def made(output: str, code: int = 0) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(
            '#!/bin/sh\n[ "$*" = "--query-gpu=name,driver_version --format=csv,noheader" ] || exit 9\n'
            f"cat <<'END'\n{output}END\nexit {code}\n"
        )
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return made


def found(vllm: bool = False) -> Finding:
    (one,) = gpus.gpus(vllm=vllm)
    return one


def test_a_gpu_is_named_with_its_driver(driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(H200)
    monkeypatch.setattr(gpus, "_usable", lambda: ["NVIDIA H200, 139 GiB, CUDA 13.0", "the other"])
    assert found() == Finding("gpu", "ok", "NVIDIA H200, 139 GiB, CUDA 13.0; the other, driver 580.65.06", "")


def test_a_gpu_that_this_pytorch_cannot_use_is_no_silence(driver) -> None:
    driver(H200)
    one = found(vllm=True)
    assert one.state == "warning"
    assert one.what.startswith("NVIDIA H200; NVIDIA H200, driver 580.65.06; PyTorch 2.")
    assert "locks/gpu.lock" in one.fix


@pytest.mark.parametrize(
    ("output", "code", "what"),
    [
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\nMore.\n", 9,
         "nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."),
        ("", 3, "nvidia-smi: exit code 3, without a message"),
        ("No devices were found\n", 0, "nvidia-smi: No devices were found"),
    ],
)  # fmt: skip
def test_a_driver_that_fails_is_a_warning_with_its_own_words(driver, output: str, code: int, what: str) -> None:
    driver(output, code)
    assert (found().state, found().what) == ("warning", what)


def test_what_a_driver_says_is_bounded_and_printable(driver) -> None:
    driver("\x1b[31m" + "x" * 10_000 + ", 1\n")
    assert len(found().what) < 300
    assert "\x1b" not in found().what


def test_without_a_driver_a_processor_will_do_unless_vllm_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found() == Finding("gpu", "ok", "none; the models of this preset run on the processor", "")
    assert found(vllm=True).state == "warning"


def test_vllm_is_named_with_its_version(driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(H200)
    preset = build(
        {"about": "a", "models": {"generator": {"engine": "vllm", "model": "a/b"}}, "line": {"self_instruct": {}}}
    )
    monkeypatch.setattr("alignery.pipeline.runs.readiness.version", lambda name: f"0.0.0 of {name}")
    vllm, gpu = _machine(preset)
    assert vllm == Finding("vllm", "ok", "vLLM 0.0.0 of vllm", "")
    assert "driver 580.65.06" in gpu.what

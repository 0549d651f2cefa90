"""Several processes: by a file of Accelerate's, on several machines, behind one's own launcher."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers import free_port
from test_train_resumes import arguments
from train_cases import CASES

from alignery.errors import UsageError
from alignery.pipeline.runs.training import TrainingJob
from tasks.engines import TransformersSpec
from tasks.train import launch
from tasks.train.config import Launch, TrainError

CASE = CASES["engrave"]
SHARED = {"gradient_accumulation": 2, "epochs": 6.0}
FSDP = {"distributed_type": "FSDP", "num_processes": 2}


def file(folder, content):
    path = folder / "accelerate.yaml"
    path.write_text(json.dumps({"compute_environment": "LOCAL_MACHINE", **content}))
    return path


def alike(one, other, atol=1e-6):
    import torch
    from safetensors.torch import load_file

    mine, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert mine.keys() == theirs.keys()
    return all(torch.allclose(mine[name], theirs[name], atol=atol) for name in mine)


def losses(folder):
    return [entry["loss"] for entry in json.loads((folder / "history.json").read_text())]


@pytest.fixture(scope="module")
def one(views, words, base, tmp_path_factory):
    """What one process makes of it."""
    out = tmp_path_factory.mktemp("one") / "out"
    CASE.train(views, base, out, CASE.config(words, **SHARED))
    return out


@pytest.mark.flow
@pytest.mark.long
def test_behind_a_command_and_by_a_file_two_processes_make_the_model_of_one(views, words, base, one, tmp_path):
    command = tmp_path / "elsewhere"
    command.write_text('#!/bin/sh\necho "$@" > "$(dirname "$0")/asked"\nexec "$@"\n')
    command.chmod(0o755)
    accelerate = file(tmp_path, {"distributed_type": "MULTI_GPU", "num_processes": 2, "main_process_port": 0})
    job = TrainingJob(
        CASE.name,
        TransformersSpec(engine="transformers", model=str(base)),
        {},
        CASE.config(words, **SHARED).model_dump(mode="json"),
        views[CASE.name],
        launch=Launch(command=(str(command),), accelerate=accelerate),
    )
    asyncio.run(job._process(tmp_path / "out"))
    assert (tmp_path / "asked").read_text().startswith(f"{sys.executable} -P -m tasks.train engrave")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["processes"], report["steps"], report["rows"]) == (2, 12, 32)
    assert losses(tmp_path / "out") == pytest.approx(losses(one), abs=1e-5)
    assert alike(tmp_path / "out", one)


@pytest.mark.flow
def test_two_machines_make_the_model_of_one(views, words, base, one, tmp_path):
    line = arguments(CASE, views, base, tmp_path / "out", CASE.config(words, processes=2, **SHARED))
    shared = {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(free_port())}
    both = [
        subprocess.Popen(line, env=os.environ | shared | {"PET_NODE_RANK": rank}, stderr=subprocess.PIPE)
        for rank in ("0", "1")
    ]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert json.loads((tmp_path / "out" / "report.json").read_text())["processes"] == 2
    assert losses(tmp_path / "out") == pytest.approx(losses(one), abs=1e-5)
    assert alike(tmp_path / "out", one)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_file_or_an_environment_that_cannot_be_used_is_a_sentence(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for content, message in (
        (FSDP, "accelerate.yaml: distributed_type: got FSDP, but this machine has no GPU"),
        ({"distributed_type": "XLA"}, "distributed_type: got 'XLA', expected one of"),
        ({}, "distributed_type: got None, expected one of"),
    ):
        with pytest.raises(TrainError, match=message):
            launch.become(None, [], file(tmp_path, content))
    (tmp_path / "accelerate.yaml").write_text("a: [")
    with pytest.raises(UsageError, match="not YAML"):
        launch.become(None, [], tmp_path / "accelerate.yaml")
    monkeypatch.setenv("PET_NNODES", "2")
    with pytest.raises(TrainError, match="PET_NNODES: got '2' and no PET_NODE_RANK, expected a number of machines"):
        launch.command(2, [])
    for name in launch._MACHINES:
        monkeypatch.setenv(name, "1:4")
    with pytest.raises(TrainError, match="PET_NNODES: got '1:4', expected a number"):
        launch.machines()


def test_what_the_settings_say_goes_before_the_file(monkeypatch):
    for name, value in zip(launch._MACHINES, ("2", "1", "10.0.0.7", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    line = launch.command(16, ["dpo"], Path("fsdp.yaml"))
    options = line[4 : line.index("-m", 4)]
    settings = {"config_file": "fsdp.yaml", "num_processes": "16", "num_machines": "2", "machine_rank": "1"}
    for name, value in (settings | {"main_process_ip": "10.0.0.7", "main_process_port": "29500"}).items():
        assert options[options.index(f"--{name}") + 1] == value
    assert "--multi_gpu" not in options
    monkeypatch.setenv("PET_NNODES", "1")
    assert "--num_processes" not in launch.command(None, [], Path("fsdp.yaml"))

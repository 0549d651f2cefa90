"""The hidden folder in which a model is made, beside its place: renamed to it when all went well, never half there.

A run that is killed leaves its folder, with the checkpoints that were whole. The same job (recipe, settings, rows,
weights) goes on from the last of them; another job, or one that failed by itself, starts over.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignery import effects
from alignery.hashing import digest
from tasks.engines.identity import folder_hash
from tasks.train.config import Row, Settings, TrainError, TrainingFailed
from tasks.train.facts import check_files

CHECKPOINTS = "checkpoints"
WHOLE = "whole"  # the mark within a checkpoint that was written to its end


@dataclass(frozen=True)
class WorkFolder:
    path: Path
    is_main: bool  # of several processes, the one that writes

    @property
    def checkpoint(self) -> str | None:
        """The last whole checkpoint, if there is one."""
        there = [mark.parent for mark in (self.path / CHECKPOINTS).glob(f"checkpoint-*/{WHOLE}")]
        last = max(there, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)
        return str(last) if last else None


def check_folders(model: Path, out: Path) -> None:
    """Raises TrainError when there is no model to start from, or something where the new one should go."""
    if out.exists():
        raise TrainError(f"out: got {out}, which is there already; give a folder that is not, or move it away")
    check_files(model)


def job_of(recipe: str, rows: Sequence[Row], model: Path, config: Settings) -> str:
    """A hash of everything that makes the weights; a model that the settings name counts by its weights."""
    total = hashlib.blake2b(digest_size=16)
    for row in rows:
        total.update(json.dumps(row, sort_keys=True).encode())
    named = [folder_hash(value) for _, value in config if isinstance(value, Path) and (value / "config.json").is_file()]
    # Where weights are split, checkpoints are in another form, which other processes may not be able to read.
    split = [name for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED") if os.environ.get(name) == "true"]
    split += [str(processes_state().num_processes)] if split else []
    return digest(recipe, config.model_dump(mode="json"), folder_hash(model), total.hexdigest(), *named, *split)


@contextmanager
def work_folder(out: Path, job: str) -> Iterator[WorkFolder]:
    """The folder to work in, which is `out` afterwards; of several processes, only the main one touches it."""
    state = processes_state()
    folder = WorkFolder(out.with_name(f".{out.name}.partial"), state.is_main_process)
    lock = _prepare(folder.path, job) if folder.is_main else None
    state.wait_for_everyone()
    try:
        yield folder
        if folder.is_main:
            with effects.WORK_CLEAR:
                shutil.rmtree(folder.path / CHECKPOINTS, ignore_errors=True)
                (folder.path / "job.json").unlink()
            to_disk(folder.path)  # or a power cut after the renaming could leave empty files under the model's name
            with effects.MODEL_RENAME:
                folder.path.rename(out)
                to_disk(out.parent, within=False)
    except (TrainError, TrainingFailed):
        if folder.is_main:
            with effects.WORK_CLEAR:
                shutil.rmtree(folder.path, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _prepare(path: Path, job: str) -> int:
    """The folder, empty but for what this job left there, and locked until the file that is returned is closed."""
    path.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise TrainError(f"out: another process is at work in {path}; wait until it is done, or end it") from error
    job_file, mine = path / "job.json", json.dumps({"job": job})
    if not (job_file.is_file() and job_file.read_text(encoding="utf-8") == mine):
        with effects.WORK_CLEAR:
            for left in path.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        with effects.WORK_MARK:
            job_file.write_text(mine, encoding="utf-8")
    return lock


def to_disk(folder: Path, within: bool = True) -> None:
    """Have the disk hold a folder's list of names and, within it, all files and folders."""
    for path in [*(folder.rglob("*") if within else ()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            with effects.MODEL_SYNC:
                os.fsync(handle)
        finally:
            os.close(handle)


def processes_state() -> Any:
    """Accelerate's knowledge of which process this is of how many; without CUDA they share the CPU."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def marks_whole() -> Any:
    """A trainer's callback that marks each checkpoint once all processes have written theirs."""
    from transformers import TrainerCallback

    class MarksWhole(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            processes_state().wait_for_everyone()
            if state.is_world_process_zero:
                checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
                to_disk(checkpoint)
                with effects.WORK_MARK:
                    (checkpoint / WHOLE).touch()

    return MarksWhole()

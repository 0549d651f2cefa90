"""The way from one model folder to the next, which all recipes go."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alignery import effects
from tasks.train.change import FLOOR, LORA_FLOOR
from tasks.train.checkpoint_dir import (
    CHECKPOINTS,
    WorkFolder,
    check_folders,
    job_of,
    marks_whole,
    processes_state,
    work_folder,
)
from tasks.train.config import Report, Row, Settings, TrainError, TrainingFailed
from tasks.train.facts import cut_sentence, within_context, without_special
from tasks.train.plot import loss_curve
from tasks.train.schedule import check, resolve_steps

Build = Callable[[dict[str, Any], dict[str, Any]], Any]  # (the trainer's keywords, its arguments') → a TRL trainer

ROLLOUTS = "rollouts"  # the folder of answers that were drawn, and what the names of their figures begin with in a log

SILENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def fine_tune(
    recipe: str,
    rows: Sequence[Row],
    model: Path,
    out: Path,
    config: Settings,
    build: Build,
    length: Callable[[Row], int],
    *,
    scores: bool = False,
    left_out: int = 0,
    base: Path | None = None,
) -> Report:
    """Train a copy of `model` on rows and put it at `out`, all at once: a killed run leaves nothing there.
    Run again after a kill, it goes on to the same weights.

    Args:
        rows: the trainer's own columns; `prompt`, and answers under `completion`, `chosen` or `responses`.
        out: gets weights, tokenizer, `report.json`, `history.json`, `loss.svg`, and `adapter/` under LoRA.
        build, length: the TRL trainer; tokens in a row that it prepared.
        scores: whether the new model scores answers (a head with one label) and does not write them.
        left_out, base: for the report: rows not taken by the recipe; the base, where `model` is but a stage.

    Raises:
        TrainError: model, `out`, template or schedule cannot be used, or no prompt is short enough.
        TrainingFailed: the loss was not finite, or the weights moved by less than `change`'s floor.
    """
    began = time.perf_counter()
    check_folders(model, out)
    quiet(config.threads)
    from tasks.train.model import check_template, gathered, load, save

    config = _resolve_steps(recipe, config, len(rows))
    job = job_of(recipe, rows, model, config)
    policy, tokenizer = load(model, config, scores)
    config, given, rows = within_context(policy, config), rows, _plain(rows, tokenizer)
    check_template(model, policy, tokenizer, rows[0])
    with work_folder(out, job) as folder:
        trainer = build(_shared(recipe, tokenizer, rows, policy, config, scores), _arguments(folder.path, config))
        _in_float32(trainer.model)
        lengths, counts = _counted(recipe, trainer, length, config, given, rows, folder.is_main)
        counts["trained_parameters"] = trainer.model.num_parameters(only_trainable=True)
        check(recipe, config, len(lengths), counts["processes"])
        trainer.train(resume_from_checkpoint=(resumed := folder.checkpoint))
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        whole = gathered(trainer, model, config, folder.is_main, scores)
        change = save(whole, tokenizer, model, folder, config, scores)
        report = Report(
            recipe=recipe,
            base_model=str(base or model),
            **counts,
            dropped=len(given) - len(lengths) + left_out,
            **asdict(change),
            resumed_at=int(resumed.rpartition("-")[2]) if resumed else 0,
            seconds=round(time.perf_counter() - began, 2),
            **_read(lengths, config, rows, folder.path / ROLLOUTS),
            **summary(history),
        )
        _write(report, history, folder)
    return report


def _rows_of(folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(part).num_rows for part in folder.glob("*.parquet"))


def _resolve_steps(recipe: str, config: Settings, rows: int) -> Settings:
    state = processes_state()
    config, notice = resolve_steps(recipe, config, rows, state.num_processes)
    if notice and state.is_main_process:
        print(notice, flush=True)
    return config


def _in_float32(policy: Any) -> None:
    """TRL makes an adapter on 4 bits bfloat16, in which small steps are lost."""
    for weight in policy.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def _read(lengths: Sequence[int], config: Settings, rows: Sequence[Row], rollouts: Path) -> Row:
    """A report's fields on the settings, the rows of these lengths, the answers drawn, and the libraries."""
    return {
        "config": config.model_dump(mode="json"),
        "seed": config.seed,
        "rows": len(lengths),
        "origins": Counter(row["origin"] for row in rows if "origin" in row),
        "rollouts": _rows_of(rollouts),
        "truncated": _truncated(lengths, config),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
    }


def _counted(
    recipe: str,
    trainer: Any,
    length: Callable[[Row], int],
    config: Settings,
    given: Sequence[Row],
    rows: Sequence[Row],
    is_main: bool,
) -> tuple[list[int], dict[str, Any]]:
    """Lengths of the rows that are trained on, and how many were left out for which reason, which is said too."""
    special, identical = len(given) - len(rows), drop_identical(trainer, config.max_length)
    lengths = _lengths(trainer, length, config, identical)
    if is_main:
        _tell(recipe, len(given), special, identical, config)
        cut = len(rows) - identical - len(lengths) + _truncated(lengths, config)
        room = getattr(trainer, "room", 0)
        if notice := cut_sentence(recipe, rows, trainer.processing_class, cut, config.max_length, room):
            print(notice, flush=True)
    processes = trainer.accelerator.num_processes
    return lengths, {"identical": identical, "special": special, "processes": processes}


def _truncated(lengths: Sequence[int], config: Settings) -> int:
    return sum(tokens >= config.max_length for tokens in lengths)


def _plain(rows: Sequence[Row], tokenizer: Any) -> list[Row]:
    if found := without_special(rows, tokenizer):
        return found
    raise TrainError(
        f"got {len(rows)} rows, all of whose texts hold special tokens of the model such as "
        f"{tokenizer.eos_token!r}, which could forge turns; take them out of the texts"
    )


def drop_identical(trainer: Any, max_length: int) -> int:
    """Take out the pairs whose sides are the same tokens within max_length: they teach nothing; returns how many."""
    pairs = trainer.train_dataset
    if "rejected_ids" not in pairs.column_names:
        return getattr(trainer, "identical", 0)  # a trainer of lists has left them out itself

    def side(row: Row, name: str) -> list[int]:
        return list([*row.get("prompt_ids", ()), *row[name]][:max_length])

    kept = [place for place, row in enumerate(pairs) if side(row, "chosen_ids") != side(row, "rejected_ids")]
    trainer.train_dataset = pairs.select(kept)
    return len(pairs) - len(kept)


def _tell(recipe: str, rows: int, special: int, identical: int, config: Settings) -> None:
    left_out = [f"{special} with special tokens in their texts"] if special else []
    if identical:
        left_out.append(f"{identical} pairs whose answers are the same tokens within max_length {config.max_length}")
    if left_out:
        print(f"{recipe} leaves out, of {rows} rows: {', '.join(left_out)}", flush=True)


def _lengths(trainer: Any, length: Callable[[Row], int], config: Settings, identical: int) -> list[int]:
    """Lengths of the rows that the trainer took."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)  # `progress` speaks instead
    lengths = [length(row) for row in trainer.train_dataset]
    if identical and not lengths:
        raise TrainError(
            f"max_length: got {config.max_length}, but all {identical} pairs whose prompts are shorter are the same "
            "tokens up to there; raise it, or fix the view"
        )
    if not lengths:
        raise TrainError(f"max_length: got {config.max_length}, but every prompt alone is that long; raise it")
    return lengths


def _write(report: Report, history: Sequence[Row], folder: WorkFolder) -> None:
    if not folder.is_main:
        return
    floor = LORA_FLOOR if report.config["lora"] else FLOOR
    if not report.update >= floor:
        rate, dtype = report.config["learning_rate"], report.config["dtype"]
        raise TrainingFailed(
            f"{report.recipe}: {report.moved} of {report.tensors} tensors moved in {report.steps} steps, by "
            f"{report.update:.1e} of their norm as saved in {dtype}, expected {floor:g} or more: this would be the "
            f"base model again; raise learning_rate (it was {rate:g}) or epochs"
        )
    names = ("step", "loss", "learning_rate", *(name for name in history[0] if name.startswith(f"{ROLLOUTS}/")))
    curve = [{name: entry[name] for name in names} for entry in history]
    picture = loss_curve(report.recipe, [entry["loss"] for entry in curve])
    with effects.MODEL_WRITE:
        (folder.path / "report.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder.path / "history.json").write_text(json.dumps(curve) + "\n", encoding="utf-8")
        (folder.path / "loss.svg").write_text(picture, encoding="utf-8")


def quiet(threads: int | None) -> None:
    """No network, no telemetry, no bars: the only output is a recipe's own progress line."""
    os.environ.update({name: os.environ.get(name, value) for name, value in SILENT.items()})
    import datasets
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    if threads is not None:
        torch.set_num_threads(threads)
    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        raise TrainError(
            f"got {torch.cuda.device_count()} GPUs in one process; run `python -m tasks.train`, which starts one for "
            "each, or set CUDA_VISIBLE_DEVICES to one of them"
        )


def summary(history: Sequence[Row]) -> Row:
    """Steps, tokens, losses and metrics from the trainer's log, one entry a step."""
    tenth = max(1, len(history) // 10)
    first, last = history[:tenth], history[-tenth:]
    names = sorted(last[-1].keys() - {"loss", "epoch", "step", "learning_rate", "grad_norm", "num_tokens"})
    return {
        "steps": len(history),
        "tokens": _tokens([int(entry["num_tokens"]) for entry in history]),
        "loss_first": _mean(first, "loss"),
        "loss_last": _mean(last, "loss"),
        "metrics": {name: _mean(last, name) for name in names},
    }


def _tokens(counts: Sequence[int]) -> int:
    """The last of a count that grows with each step, and that a trainer restarts when it resumes after a kill."""
    ends = [now for now, then in zip(counts, [*counts[1:], 0], strict=True) if then <= now]
    return sum(ends)


def _mean(entries: Sequence[Row], name: str) -> float:
    return sum(entry[name] for entry in entries) / len(entries)


def _shared(
    recipe: str, tokenizer: Any, rows: Sequence[Row], policy: Any, config: Settings, scores: bool = False
) -> dict[str, Any]:
    from datasets import Dataset

    from tasks.train.model import adapter
    from tasks.train.progress import progress

    return {
        "model": policy,
        "processing_class": tokenizer,
        "train_dataset": Dataset.from_list(list(rows)),
        "peft_config": adapter(policy, config.lora, scores),
        "callbacks": [progress(recipe), marks_whole()],
    }


def _arguments(folder: Path, config: Settings) -> dict[str, Any]:
    """The settings in the words of `transformers.TrainingArguments`."""
    import torch

    processes = processes_state().num_processes
    passes = config.gradient_accumulation or processes
    if passes % processes:
        raise TrainError(
            f"gradient_accumulation: got {passes}, expected a multiple of the {processes} "
            "processes that share a step's forward passes; change it, or set processes"
        )
    return {
        "output_dir": str(folder / CHECKPOINTS),
        "num_train_epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": passes // processes,
        "max_length": config.max_length,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": config.warmup,  # below 1 it is a share
        "seed": config.seed,
        "bf16": config.dtype == "bfloat16",
        "gradient_checkpointing": config.gradient_checkpointing,
        "use_cpu": not torch.cuda.is_available(),
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is not finite must be seen
        "save_strategy": "steps",
        "save_steps": 1 / config.checkpoints,  # below 1 it is a share
        "save_total_limit": 2,  # the one before stays until the next is whole
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
    }

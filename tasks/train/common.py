"""What the recipes share: their settings, their report, and the way from one model folder to the next.

Departures from the recipes' sources (alignment-handbook `recipes/constitutional-ai`, DPO arXiv 2305.18290):
1. AdamW for both (TRL's default), where the DPO paper and the handbook's DPO take RMSprop.
2. Trained weights are float32 whatever `dtype` says (mixed precision): at 5e-7 a step is lost in bfloat16's rounding.
3. One process, one device. Several GPUs are several runs.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Row = dict[str, Any]
Build = Callable[[dict[str, Any], dict[str, Any]], Any]  # (the trainer's keywords, its arguments') → a TRL trainer

SILENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class TrainError(ValueError):
    """What was given cannot be trained on; the message says what was got, what was expected, and the fix."""


class TrainingFailed(RuntimeError):
    """The training ran and came to nothing."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(Strict):
    """A low-rank adapter, merged into the model at the end."""

    r: int = Field(16, ge=1)  # Dromedary (2305.03047) and Rewarded Soups (2306.04488): 16
    alpha: int = Field(16, ge=1)  # Rewarded Soups: 16
    dropout: float = Field(0.05, ge=0, lt=1)  # Rewarded Soups: 0.05
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")  # both: q, k, v, o


class Settings(Strict):
    """What every recipe can be told; a recipe's `Config` gives the missing defaults."""

    epochs: float = Field(gt=0)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)  # rows a forward pass
    gradient_accumulation: int = Field(ge=1)  # forward passes a step
    max_length: int = Field(ge=8)  # tokens, prompt and answer together; longer rows are cut at the end
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"]
    warmup_ratio: float = Field(0.1, ge=0, lt=1)  # of all steps; handbook: 0.1 for both
    seed: int = Field(42, ge=0)  # handbook: 42
    dtype: Literal["float32", "bfloat16"] = "float32"  # arithmetic and saved weights; the handbook's GPUs: bfloat16
    gradient_checkpointing: bool = False  # handbook: true; it saves memory for a fifth more time
    lora: Lora | None = None
    threads: int | None = Field(None, ge=1)  # CPU threads; small models are fastest with 1


class Report(Strict):
    """What a training did; stands as `report.json` in the model's folder."""

    recipe: str
    base_model: str
    config: dict[str, Any]
    seed: int
    rows: int  # trained on
    dropped: int  # rows whose prompt alone fills max_length
    truncated: int  # rows whose answer reaches max_length, so that its end is not learnt
    steps: int
    tokens: int  # read, all epochs together, without padding
    trained_parameters: int
    seconds: float  # from reading the model to the saved folder, imports included
    loss_first: float  # mean over the first tenth of the steps
    loss_last: float  # mean over the last tenth
    metrics: dict[str, float]  # the trainer's own, mean over the last tenth of the steps
    versions: dict[str, str]


def fine_tune(
    recipe: str,
    rows: Sequence[Row],
    model: Path,
    out: Path,
    config: Settings,
    build: Build,
    length: Callable[[Row], int],
) -> Report:
    """Train a copy of `model` on rows and put it at `out`, all at once: a killed run leaves nothing there.

    Args:
        recipe: its name, for the report and the progress lines.
        rows: the trainer's own columns; `prompt`, and the answer under `completion` or `chosen`.
        model: a folder in the transformers format, with a tokenizer that has a chat template.
        out: the folder to make; weights (safetensors), tokenizer, `report.json`, and `adapter/` under LoRA.
        build: makes the TRL trainer.
        length: tokens in a prepared row.

    Raises:
        TrainError: model or `out` is not usable, the chat template cannot be trained on, or no prompt is short enough.
        TrainingFailed: the loss was not finite.
    """
    began = time.perf_counter()
    check_folders(model, out)
    quiet(config.threads)
    from transformers import PrinterCallback

    from tasks.train.model import check_template, load, save

    policy, tokenizer = load(model, config)
    check_template(model, policy, tokenizer, rows[0])
    with _appearing(out) as part:
        trainer = build(_shared(recipe, tokenizer, rows, policy, config), _arguments(part, config))
        trainer.remove_callback(PrinterCallback)  # `progress` speaks instead
        kept = [length(row) for row in trainer.train_dataset]
        if not kept:
            raise TrainError(f"max_length: got {config.max_length}, but every prompt alone is that long; raise it")
        trained = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
        trainer.train()
        save(trainer.accelerator.unwrap_model(trainer.model), tokenizer, part, config)
        report = Report(
            recipe=recipe,
            base_model=str(model),
            config=config.model_dump(mode="json"),
            seed=config.seed,
            rows=len(kept),
            dropped=len(rows) - len(kept),
            truncated=sum(tokens >= config.max_length for tokens in kept),
            trained_parameters=trained,
            seconds=round(time.perf_counter() - began, 2),
            versions={name: version(name) for name in ("torch", "transformers", "trl", "peft")},
            **summary([entry for entry in trainer.state.log_history if "loss" in entry]),
        )
        (part / "report.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return report


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out`, which is renamed to it when all went well and removed otherwise."""
    part = out.with_name(f".{out.name}.partial")
    if part.exists():  # left by a run that was killed
        shutil.rmtree(part)
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(out)
    finally:
        if part.exists():
            shutil.rmtree(part)


def check_folders(model: Path, out: Path) -> None:
    """Raises TrainError when there is no model to start from, or something where the new one should go."""
    if not (model / "config.json").is_file():
        raise TrainError(f"model: got {model}, expected a folder with config.json; download or train the model first")
    if out.exists():
        raise TrainError(f"out: got {out}, which is there already; give a folder that is not, or move it away")


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
        raise TrainError(f"got {torch.cuda.device_count()} GPUs, expected one; set CUDA_VISIBLE_DEVICES to one of them")


def summary(history: Sequence[Row]) -> Row:
    """Steps, tokens, losses and metrics from the trainer's log, one entry a step."""
    tenth = max(1, len(history) // 10)
    first, last = history[:tenth], history[-tenth:]
    names = sorted(last[-1].keys() - {"loss", "epoch", "step", "learning_rate", "grad_norm", "num_tokens"})
    return {
        "steps": len(history),
        "tokens": int(history[-1]["num_tokens"]),
        "loss_first": _mean(first, "loss"),
        "loss_last": _mean(last, "loss"),
        "metrics": {name: _mean(last, name) for name in names},
    }


def _mean(entries: Sequence[Row], name: str) -> float:
    return sum(entry[name] for entry in entries) / len(entries)


def _shared(recipe: str, tokenizer: Any, rows: Sequence[Row], policy: Any, config: Settings) -> dict[str, Any]:
    from datasets import Dataset

    from tasks.train.model import adapter
    from tasks.train.progress import progress

    return {
        "model": policy,
        "processing_class": tokenizer,
        "train_dataset": Dataset.from_list(list(rows)),
        "peft_config": adapter(config.lora),
        "callbacks": [progress(recipe)],
    }


def _arguments(folder: Path, config: Settings) -> dict[str, Any]:
    """The settings in the words of `transformers.TrainingArguments`."""
    import torch

    return {
        "output_dir": str(folder),
        "num_train_epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "max_length": config.max_length,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": config.warmup_ratio,  # below 1 it is a ratio
        "seed": config.seed,
        "bf16": config.dtype == "bfloat16",
        "gradient_checkpointing": config.gradient_checkpointing,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is not finite must be seen
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
    }

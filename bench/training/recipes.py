"""What a schedule moves, before and after: `python bench/training/recipes.py [--model nano/checkpoint] [--rows 256]`.

Sums as conversations (engrave) and as pairs (dpo) train a model folder with all weights and with LoRA, saved in
bfloat16 as `presets/one-gpu.yaml` has it. Before: 8 × 96 rows a step, 100 steps of warm-up, 4e-4 (engrave); 2 × 8 and
5e-7 (dpo); rounded to the nearest. After: the recipes' own figures. Paper: SELF-ALIGN's 338 steps, of the same rows.
As saved: the loss a token of the answers (engrave), or the mean of log p(chosen) − log p(rejected) in nats (dpo), of
the base model and of the new one, read from its folder; changed: the share of weights that differ in what moved.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from bench.methods_figures import table
from tasks.methods.registry import built_in
from tasks.train.config import Lora, Report, Row

OLD: dict[str, dict[str, Any]] = {
    "engrave": {"batch_size": 8, "gradient_accumulation": 96, "warmup": 100, "learning_rate": 4e-4},
    "dpo": {"batch_size": 2, "gradient_accumulation": 8, "warmup": 0.1, "learning_rate": 5e-7},
}
PAPER = {"batch_size": 16, "gradient_accumulation": 1, "warmup": 100, "learning_rate": 4e-4}
HEAD = ("recipe", "weights", "schedule", "steps", "peak rate", "update", "loss", "changed", "as saved")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, default=Path("nano/checkpoint"))
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--paper", action="store_true", help="also the paper's steps, for engrave with LoRA")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(table(HEAD, trained(given, Path(folder))))


def trained(given: argparse.Namespace, folder: Path) -> Iterator[list[object]]:
    shared: dict[str, Any] = {"dtype": "bfloat16", "threads": 1, "max_length": 256, "checkpoints": 2}
    shared |= {"epochs": given.epochs} if given.epochs else {}
    for recipe, old in OLD.items():
        rows = [made(recipe, number) for number in range(given.rows)]
        data, base = folder / recipe, as_saved(recipe, given.model, rows)
        data.mkdir()
        pq.write_table(pa.Table.from_pylist(rows), data / "train-00000-of-00001.parquet")
        for weights, lora in (("full", None), ("LoRA", Lora())):
            schedules: dict[str, dict[str, Any]] = {"before": old, "after": {}}
            if given.paper and recipe == "engrave" and lora:
                schedules["paper"] = PAPER | {"epochs": 338 / -(-given.rows // 16)}
            for schedule, settings in schedules.items():
                out = folder / f"{recipe}-{weights}-{schedule}"
                report = train(recipe, data, given.model, out, shared | settings | {"lora": lora}, settings is old)
                saved = f"{base:.3f} → {as_saved(recipe, out, rows):.3f}"
                yield [recipe, weights, schedule, *figures(report, out), changed(given.model, out), saved]


def made(recipe: str, number: int) -> Row:
    one, two = 11 + number * 7 % 89, 11 + number * 13 % 83
    asked = [{"role": "user", "content": f"What is {one} plus {two}?"}]
    good, bad = f"The sum of {one} and {two} is {one + two}.", f"I do not know what {one} and {two} make."
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in (good, bad))
    pair = {"prompt": asked, "chosen": chosen, "rejected": rejected}
    return {"messages": asked + chosen} if recipe == "engrave" else pair


def train(recipe: str, data: Path, model: Path, out: Path, settings: dict[str, Any], old: bool) -> Report:
    """One training; an old one without the checks that refuse it, and rounded to the nearest."""
    changes: dict[str, Any] = {"fine_tune.FLOOR": 0.0, "fine_tune.LORA_FLOOR": 0.0}
    if old:
        changes |= {"schedule.check": lambda *_: None, "fine_tune.check": lambda *_: None}
        changes |= {"change.stochastic": lambda weights, _: weights.bfloat16().float()}
    with ExitStack() as patched:
        for name, new in changes.items():
            patched.enter_context(patch(f"tasks.train.{name}", new))
        return built_in().recipes[recipe].train(data, model, out, built_in().recipes[recipe].config(**settings))


def figures(report: Report, out: Path) -> list[object]:
    peak = max(step["learning_rate"] for step in json.loads((out / "history.json").read_text()))
    return [report.steps, f"{peak:.1e}", f"{report.update:.1e}", f"{report.loss_first:.3f} → {report.loss_last:.3f}"]


def changed(base: Path, out: Path) -> str:
    from safetensors.torch import load_file

    old, new = ({n: w.bfloat16() for n, w in load_file(f / "model.safetensors").items()} for f in (base, out))
    counts = [(int((old[name] != new[name]).sum()), new[name].numel()) for name in old.keys() & new.keys()]
    return f"{sum(count for count, _ in counts) / (sum(size for count, size in counts if count) or 1):.1%}"


def as_saved(recipe: str, folder: Path, rows: list[Row]) -> float:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).float()

    def logps(prompt: list[Any], answer: list[Any]) -> Any:  # log probabilities of the answer's tokens
        start = len(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"])
        ids = tokenizer.apply_chat_template(prompt + answer, return_dict=True, return_tensors="pt")["input_ids"]
        return model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[start - 1 :]

    with torch.no_grad():
        if recipe == "engrave":
            return -float(torch.cat([logps(r["messages"][:1], r["messages"][1:]) for r in rows[:32]]).mean())
        pairs = [logps(r["prompt"], r["chosen"]).sum() - logps(r["prompt"], r["rejected"]).sum() for r in rows[:32]]
        return float(torch.stack(pairs).mean())


if __name__ == "__main__":
    main()

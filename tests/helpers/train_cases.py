"""Every recipe on the random model: its rows, quick settings, and its trainer before it trains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train_views import conversation, correction, preference, soft_preference

from prompts import Library
from tasks.methods.registry import built_in
from tasks.train.dataset import read_corrections, read_preferences, read_sft, read_soft_preferences
from tasks.train.fine_tune import _arguments, _shared
from tasks.train.model import load
from tasks.train.recipes import aligner, dpo, reward, sft

QUICK = {"learning_rate": 3e-3, "batch_size": 8, "gradient_accumulation": 1, "max_length": 64, "threads": 1}
QUICK |= {"warmup": 0.1, "epochs": 2.0, "lora": None}


@dataclass(frozen=True)
class Case:
    name: str
    row: Any  # (pair, template) → a row of the view

    def config(self, words: Path, **changes: Any) -> Any:
        own = {"warm_up": 0.25, "overlay": words} if self.name == "aligner" else {}
        return built_in().recipes[self.name].config(**(QUICK | own | changes))

    def train(self, views: dict[str, Path], model: Path, out: Path, config: Any) -> Any:
        return built_in().recipes[self.name].train(views[self.name], model, out, config)

    def trainer(self, views: dict[str, Path], base: Path, folder: Path, config: Any) -> tuple[Any, Any, list[Any]]:
        """The trainer as the recipe makes it, the tokenizer, and the rows it was given."""
        view, scores = views[self.name], self.name == "reward"
        policy, tokenizer = load(base, config, scores)
        if self.name == "aligner":
            prompt = Library("full", config.overlay).prompt("aligner/correct")
            rows = [aligner.example(prompt, row, row["correction"]) for row in read_corrections(view)]
        else:
            rows = {"dpo": read_preferences, "reward": read_soft_preferences}.get(self.name, read_sft)(view)
        shared, arguments = _shared(self.name, tokenizer, rows, policy, config, scores), _arguments(folder, config)
        if self.name == "dpo":
            return dpo.trainer(shared, arguments, config), tokenizer, rows
        return (reward.trainer if scores else sft.trainer)(shared, arguments), tokenizer, rows


def _without_template(row: Any) -> Any:
    return lambda pair, template: row(pair)


CASES = {name: Case(name, _without_template(conversation)) for name in ("engrave", "verbose", "constitutional_sft")}
CASES |= {"dpo": Case("dpo", _without_template(preference)), "aligner": Case("aligner", correction)}
CASES |= {"reward": Case("reward", _without_template(soft_preference))}
ALL = list(CASES.values())

"""Every recipe on the random model: its rows, quick settings, and its trainer before it trains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train_views import conversation, correction, preference, ranked, rewrite, soft_preference

from prompts import Library
from tasks.methods.registry import built_in
from tasks.train.dataset import read_corrections, read_preferences, read_ranked, read_sft, read_soft_preferences
from tasks.train.fine_tune import _arguments, _shared
from tasks.train.model import load
from tasks.train.recipes import aligner, dpo, reward, rewriter, sft
from tasks.train.recipes.preferences import cdpo, dpo_norm, dpo_sft, hindsight, kto, lists, orpo, pro, rrhf, simpo

QUICK = {"learning_rate": 3e-3, "batch_size": 8, "gradient_accumulation": 1, "max_length": 64, "threads": 1}
QUICK |= {"warmup": 0.1, "epochs": 2.0, "lora": None}


@dataclass(frozen=True)
class Case:
    name: str
    row: Any  # (pair, template) → a row of the view

    def config(self, words: Path, **changes: Any) -> Any:
        own = {"warm_up": 0.25} if self.name == "aligner" else {}
        own |= {"overlay": words} if self.name in WORDED else {}
        return built_in().recipes[self.name].config(**(QUICK | own | changes))

    def train(self, views: dict[str, Path], model: Path, out: Path, config: Any) -> Any:
        return built_in().recipes[self.name].train(views[self.name], model, out, config)

    def trainer(self, views: dict[str, Path], base: Path, folder: Path, config: Any) -> tuple[Any, Any, list[Any]]:
        """The trainer as the recipe makes it, the tokenizer, and the rows it was given."""
        view, scores = views[self.name], self.name == "reward"
        policy, tokenizer = load(base, config, scores)
        worded = WORDED.get(self.name)
        rows = worded(view, base, config) if worded else READERS.get(self.name, read_sft)(view)
        shared, arguments = _shared(self.name, tokenizer, rows, policy, config, scores), _arguments(folder, config)
        if self.name in TRAINERS:
            return TRAINERS[self.name](shared, arguments, config), tokenizer, rows
        return (reward.trainer if scores else sft.trainer)(shared, arguments), tokenizer, rows


def _corrections(view: Path, base: Path, config: Any) -> list[Any]:
    prompt = Library("full", config.overlay).prompt("aligner/correct")
    return [aligner.example(prompt, row, row["correction"]) for row in read_corrections(view)]


def _phrased(view: Path, config: Any, *, chained: bool) -> list[Any]:
    words = Library("full", config.overlay).phrases()
    return hindsight.rows_of(read_preferences(view), words, config.seed, chained=chained)


# Those whose rows are in words of the library.
WORDED: dict[str, Any] = {
    "aligner": _corrections,
    "hindsight": lambda view, base, config: _phrased(view, config, chained=True),
    "tagged": lambda view, base, config: _phrased(view, config, chained=False),
    "rewriter": rewriter.examples,
}
READERS: dict[str, Any] = {
    "dpo": read_preferences,
    "dpo_norm": read_preferences,
    "dpo_sft": read_preferences,
    "reward": read_soft_preferences,
    "rrhf": read_ranked,
    "pro": read_ranked,
    "simpo": lambda view: lists.pairs(read_preferences(view)),
    "orpo": lambda view: lists.pairs(read_preferences(view)),
    "cdpo": lambda view: lists.pairs(read_soft_preferences(view)),
    "kto": lambda view: kto.unpaired(read_preferences(view)),
}
TRAINERS: dict[str, Any] = {
    module.__name__.rpartition(".")[2]: module.trainer
    for module in (dpo, dpo_norm, dpo_sft, rrhf, pro, simpo, orpo, cdpo, kto)
}


ROUTES = ("post_answering", "post_translating")
TWICE = ("kto", "hindsight", "tagged")  # of these each answer of a pair is a row


def _without_template(row: Any) -> Any:
    return lambda pair, template: row(pair)


CASES = {
    name: Case(name, _without_template(conversation))
    for name in ("engrave", "verbose", "constitutional_sft", "raft", "chain_of_thought", "dialogue", *ROUTES)
}
CASES |= {"dpo": Case("dpo", _without_template(preference)), "aligner": Case("aligner", correction)}
CASES |= {"reward": Case("reward", _without_template(soft_preference))}
CASES |= {name: Case(name, _without_template(ranked)) for name in ("rrhf", "pro")}
CASES |= {name: Case(name, _without_template(preference)) for name in ("dpo_norm", "dpo_sft", "simpo", "orpo", *TWICE)}
CASES |= {"rewriter": Case("rewriter", _without_template(rewrite))}
CASES |= {"cdpo": Case("cdpo", _without_template(soft_preference))}
ALL = list(CASES.values())
LISTS = [CASES[name] for name in ("rrhf", "pro", "simpo", "orpo", "cdpo")]  # of the trainer of lists

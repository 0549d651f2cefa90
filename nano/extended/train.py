"""Trains the extended checkpoint from nano's: `python -m nano.extended.train --out DIR`.

The tokenizer keeps all tokens of nano's and gains one for each new word, whose vectors begin as the mean of those of
its bytes. Then two passes over documents of nano's roles and of the new ones, with the optimizers of `nano.train`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignery.hashing import digest
from nano import train as base
from nano.corpus import EOS
from nano.extended.roles import ROLE_WEIGHTS, SPANISH_WEIGHTS, documents
from nano.player import CHECKPOINT
from nano.tokenizer import MIN_COUNT
from nano.world import NAMES

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Stage(base.Stage):
    """A pass of nano's training, with new roles beside nano's."""

    weights: Mapping[str, int]  # of the new roles


@dataclass(frozen=True)
class Config:
    """What is trained beside `nano.train.Config`; each figure is our choice."""

    seed: int = 1
    stages: tuple[Stage, ...] = (
        Stage(7_000_000, 0.15, 0.5, ROLE_WEIGHTS),
        Stage(6_000_000, 0.15, 0.5, SPANISH_WEIGHTS),
    )
    sampled: int = 8000  # documents whose words are counted
    threads: int = 1
    processes: int = 2


def corpus_digests(config: Config) -> list[str]:
    """Identify the corpus of each stage by its first documents, as `nano.train.corpus_digest`."""
    return [
        digest(list(documents(config.seed + 1000 * number, 50, weights=stage.weights)))
        for number, stage in enumerate(config.stages)
    ]


def new_words(tokenizer: PreTrainedTokenizerFast, seed: int, sampled: int) -> list[str]:
    """The words of the documents that are frequent and have no token, invented names left out."""
    splitter, counts = tokenizer.backend_tokenizer.pre_tokenizer, Counter[str]()
    for pieces in documents(seed, sampled):
        counts.update(word for word, _ in splitter.pre_tokenize_str("".join(text for text, _ in pieces if text != EOS)))
    known = {*tokenizer.get_vocab(), *(f"Ġ{name}" for name in NAMES)}
    return sorted(word for word, count in counts.items() if count >= MIN_COUNT and word not in known)


def with_words(tokenizer: PreTrainedTokenizerFast, words: Sequence[str]) -> PreTrainedTokenizerFast:
    """The tokenizer with a token for each of these words after its own ones."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    vocabulary |= {word: number for number, word in enumerate(words, len(vocabulary))}
    extended = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        pad_token=tokenizer.pad_token,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        padding_side="left",
        model_max_length=tokenizer.model_max_length,
    )
    extended.chat_template = tokenizer.chat_template
    return extended


def with_vectors(model: LlamaForCausalLM, parts: Sequence[Sequence[int]]) -> None:
    """Gives the model a token for each word, its vectors the mean of those of its parts (token ids)."""
    import torch

    known = model.config.vocab_size
    model.resize_token_embeddings(known + len(parts), mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            for number, ids in enumerate(parts, known):
                layer.weight[number] = layer.weight[list(ids)].mean(dim=0)


def train(config: Config, out: Path, first: int = 0) -> dict[str, Any]:
    """Trains stage by stage, saving to `out`; returns (and writes, as train.json) what it took.

    Args:
        first: the stage to begin with; a later one continues from the checkpoint and train.json at `out`.
    """
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    torch.set_num_threads(config.threads)
    took = json.loads((out / "train.json").read_text(encoding="utf-8"))["stages"][:first] if first else []
    for number in range(first, len(config.stages)):
        torch.manual_seed(config.seed + number)
        # As in `nano.train`, a stage starts from the saved weights, so that it can be run by itself.
        begun = out if number else CHECKPOINT
        tokenizer = AutoTokenizer.from_pretrained(begun)
        model = LlamaForCausalLM.from_pretrained(begun, dtype=torch.float32)
        if not number:
            added = new_words(tokenizer, config.seed, config.sampled)
            with_vectors(model, [[tokenizer.get_vocab()[sign] for sign in word] for word in added])
            tokenizer = with_words(tokenizer, added)
        stage, seed = config.stages[number], config.seed + 1000 * number
        settings = base.Config(seed=seed, processes=config.processes)
        took.append(base.train_pass(model, tokenizer, settings, stage, seed, partial(documents, weights=stage.weights)))
        base.save(model, tokenizer, out)
        report = _report(config, model, took)
        (out / "train.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def _report(config: Config, model: LlamaForCausalLM, took: list[dict[str, Any]]) -> dict[str, Any]:
    made = {"parameters": model.num_parameters(), "vocabulary": model.config.vocab_size}
    return asdict(config) | made | {"corpus_digests": corpus_digests(config)} | base.totals(took) | {"stages": took}


if __name__ == "__main__":
    base.run_command(__doc__ or "", Config, train)

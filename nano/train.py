"""Trains the checkpoint from nothing: corpus, tokenizer, model. `python -m nano.train --out DIR --seed 0`.

Two stages, each one pass over documents of its own with a linear warm-up and a linear decay to nothing: the
whole world, and then invented names above all, since a name that was never seen is copied only by one who
has copied many. Muon (Jordan et al. 2024) on the matrices, AdamW on embeddings and norms. The loss is the
mean over tokens of the cross-entropy, weighted as `corpus` says. Weights are kept in fp32 while training and
saved in bf16; the configuration asks for fp32 arithmetic, in which greedy tokens are the same in every engine.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignery.hashing import digest
from nano import dataset, tokenizer
from nano.corpus import documents

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

log = logging.getLogger("nano.train")
MAX_PARAMETERS = 3_000_000


@dataclass(frozen=True)
class Stage:
    """One pass over a corpus of its own."""

    tokens: int
    names: float  # the share of documents that speak of invented names only
    rate: float  # of the configured learning rates


@dataclass(frozen=True)
class Config:
    """Everything that makes the checkpoint; each figure is our choice, by what learnt fastest on a CPU."""

    seed: int = 0
    stages: tuple[Stage, ...] = (Stage(20_400_000, 0.0, 1.0), Stage(2_400_000, 0.4, 0.5))
    width: int = 160
    layers: int = 5
    heads: int = 5
    feed_forward: int = 480
    context: int = 1024
    longest: int = 640  # tokens of the longest document
    shard: int = 2000  # documents that are written together
    batch: int = 4096  # padded tokens a step
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    warmup: int = 100  # steps
    threads: int = 1
    processes: int = 2  # that write the corpus


def new_model(config: Config, words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama with random weights. Raises ValueError when it is larger than the project ships."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(config.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=config.width,
            intermediate_size=config.feed_forward,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=config.context,
            tie_word_embeddings=False,
            initializer_range=0.04,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    if (size := model.num_parameters()) > MAX_PARAMETERS:
        raise ValueError(f"got {size:,} parameters, expected at most {MAX_PARAMETERS:,}; lower width or feed_forward")
    return model


def corpus_digest(seed: int) -> str:
    """Tells whether the code still writes the corpus that a checkpoint was trained on: its first documents' hash."""
    return digest(list(documents(seed, 50)))


def optimizers(model: LlamaForCausalLM, config: Config) -> list[torch.optim.Optimizer]:
    import torch

    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and "layers" in name]
    outer = [p for name, p in model.named_parameters() if not (p.ndim == 2 and "layers" in name)]
    return [
        torch.optim.Muon(inner, lr=config.muon_lr, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(outer, lr=config.adam_lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def loss_of(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The weighted cross-entropy of ids (B, T), each token weighing as `weights` (B, T) says."""
    import torch

    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]  # (B, T-1, V)
    targets, weight = ids[:, 1:], weights[:, 1:]
    each = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return (each * weight.flatten()).sum() / weight.sum()


def train(config: Config, out: Path, first: int = 0) -> dict[str, Any]:
    """Train stage by stage, saving to `out`; returns (and writes, as train.json) what it took.

    Args:
        first: the stage to begin with; a later one continues from the checkpoint and train.json at `out`.
    """
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    torch.set_num_threads(config.threads)
    if first:
        words = AutoTokenizer.from_pretrained(out)
        took = json.loads((out / "train.json").read_text(encoding="utf-8"))["stages"][:first]
    else:
        words, took = tokenizer.build(config.seed, context=config.context), []
    for number in range(first, len(config.stages)):
        # A later stage starts from the saved (bf16) weights, so that it can be run by itself.
        model = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32) if number else new_model(config, words)
        took.append(_stage(config, number, model, words, out))
        report = _report(config, model.num_parameters(), took)
        (out / "train.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def _report(config: Config, parameters: int, took: list[dict[str, Any]]) -> dict[str, Any]:
    known = {
        "parameters": parameters,
        "corpus_digest": corpus_digest(config.seed),
        "final_loss": took[-1]["final_loss"],
    }
    return {**asdict(config), "stages": took, **known, **totals(took)}


def totals(took: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all stages took together."""
    total = {name: sum(stage[name] for stage in took) for name in ("tokens", "documents", "steps")}
    minutes = {name: round(sum(stage[name] for stage in took), 1) for name in ("corpus_minutes", "training_minutes")}
    return total | minutes


def _stage(
    config: Config, number: int, model: LlamaForCausalLM, words: PreTrainedTokenizerFast, out: Path
) -> dict[str, Any]:
    took = train_pass(model, words, config, config.stages[number], config.seed + 1000 * number)
    save(model, words, out)
    return took


def train_pass(
    model: LlamaForCausalLM,
    words: PreTrainedTokenizerFast,
    config: Config,
    stage: Stage,
    seed: int,
    write: dataset.Documents = documents,
) -> dict[str, Any]:
    """Train on a stage's corpus, which `write` writes from the seed; returns the stage and what it took."""
    began = time.monotonic()
    corpus = dataset.make(words, seed, stage.tokens, config.processes, config.longest, stage.names, config.shard, write)
    log.info("%d tokens, %d words, %d parameters", corpus.tokens, len(words), model.num_parameters())
    ready = time.monotonic()
    steps, loss = run(model, corpus, config, stage.rate, words.pad_token_id)
    return {
        **asdict(stage),
        "tokens": corpus.tokens,
        "documents": len(corpus),
        "steps": steps,
        "final_loss": round(loss, 4),
        "corpus_minutes": round((ready - began) / 60, 1),
        "training_minutes": round((time.monotonic() - ready) / 60, 1),
    }


def run(model: LlamaForCausalLM, corpus: dataset.Corpus, config: Config, rate: float, pad: int) -> tuple[int, float]:
    """One pass. Returns the steps taken and the running loss at the end."""
    import torch

    opts = optimizers(model, config)
    rates = [rate * opt.param_groups[0]["lr"] for opt in opts]
    done, step, recent, began = 0, 0, 0.0, time.monotonic()
    model.train()
    for ids, weights, tokens in dataset.batches(corpus, config.batch, config.seed, pad):
        scale = min(1.0, (step + 1) / config.warmup) * (1 - done / corpus.tokens)
        for opt, own in zip(opts, rates, strict=True):
            opt.param_groups[0]["lr"] = own * scale
        loss = loss_of(model, torch.from_numpy(ids), torch.from_numpy(weights))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(opts[1].param_groups[0]["params"], 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        done, step = done + tokens, step + 1
        recent = loss.item() if step == 1 else 0.98 * recent + 0.02 * loss.item()
        if step % 50 == 0:
            log.info("step %d tokens %d loss %.4f tok/s %d", step, done, recent, done / (time.monotonic() - began))
    return step, recent


def save(model: LlamaForCausalLM, words: PreTrainedTokenizerFast, out: Path) -> None:
    """Weights in bf16, and a configuration that asks for fp32 arithmetic."""
    import copy

    import torch

    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(out)
    words.save_pretrained(out)
    path = out / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "dtype": "float32"}, indent=2) + "\n", encoding="utf-8")


def run_command(about: str, settings: Callable[..., Any], train: Callable[..., dict[str, Any]]) -> None:
    """Trains as the command line says: `settings` makes the configuration, which `train` takes, with its defaults."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint goes")
    for field in ("seed", "threads", "processes"):
        parser.add_argument(f"--{field}", type=int, default=getattr(settings, field))
    parser.add_argument("--first-stage", type=int, default=0, help="1: only the second, from the checkpoint at --out")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = settings(seed=given.seed, threads=given.threads, processes=given.processes)
    log.info("%s", json.dumps(train(config, given.out, given.first_stage)))


if __name__ == "__main__":
    run_command(__doc__ or "", Config, train)

"""Plays the checkpoint in transformers: batched generation and choices, for measuring and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

CHECKPOINT = Path(__file__).parent / "checkpoint"


@dataclass(frozen=True)
class Player:
    """A checkpoint in fp32, and its tokenizer."""

    model: LlamaForCausalLM
    words: PreTrainedTokenizerFast
    batch: int = 128

    @classmethod
    def load(cls, path: Path = CHECKPOINT) -> Player:
        import torch
        from transformers import AutoTokenizer, LlamaForCausalLM

        words = AutoTokenizer.from_pretrained(path)
        return cls(LlamaForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), words)

    def ids(
        self, prompts: Sequence[str], longest: int = 120, temperature: float = 0.0, seed: int = 0
    ) -> list[list[int]]:
        """The new token ids of each prompt, up to and without the end token; greedy at temperature 0."""
        import torch

        torch.manual_seed(seed)
        order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))
        found: list[list[int]] = [[] for _ in prompts]
        settings = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        for first in range(0, len(order), self.batch):
            group = order[first : first + self.batch]
            given = self.words([prompts[n] for n in group], return_tensors="pt", padding=True)
            with torch.inference_mode():
                generated = self.model.generate(**given, max_new_tokens=longest, **settings)
            for n, row in zip(group, generated[:, given["input_ids"].shape[1] :].tolist(), strict=True):
                end = self.words.eos_token_id
                found[n] = row[: row.index(end)] if end in row else row
        return found

    def reply(self, prompts: Sequence[str], longest: int = 120, temperature: float = 0.0, seed: int = 0) -> list[str]:
        """The replies as text, stripped. No stop strings: a reply that runs on is seen to do so."""
        return [self.words.decode(ids).strip() for ids in self.ids(prompts, longest, temperature, seed)]

    def choose(self, prompts: Sequence[str], options: Sequence[str]) -> list[list[float]]:
        """The probabilities of one-token options after each prompt, normalised over the options."""
        import torch

        option_ids = [self.words(option, add_special_tokens=False).input_ids[0] for option in options]
        rows: list[list[float]] = []
        for first in range(0, len(prompts), self.batch):
            given = self.words(list(prompts[first : first + self.batch]), return_tensors="pt", padding=True)
            places = (given["attention_mask"].cumsum(1) - 1).clamp(min=0)
            with torch.inference_mode():
                logits = self.model(**given, position_ids=places).logits[:, -1]  # (B, V)
            rows += torch.softmax(logits[:, option_ids], dim=-1).tolist()
        return rows

"""Prompts to tokens: as the tokenizer's own call gives them, however it was set before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.engines.tokenization import encode, encode_options

NANO = Path(__file__).parents[2] / "nano/checkpoint"
TEXTS = ["hello there", "", "  two  blanks ", "a line\nand </s> another", "ünï ☃", "long " * 400]


def truncating(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.enable_truncation(4)


def padding(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.enable_padding(length=64)


def splitting(tokenizer: Any) -> None:
    tokenizer.split_special_tokens = True


@pytest.mark.parametrize("change", [lambda tokenizer: None, truncating, padding, splitting])
def test_ids_are_those_of_the_tokenizers_own_call(tiny: Path, change: Callable[[Any], None]) -> None:
    from transformers import AutoTokenizer

    for folder in (tiny, NANO):
        for text in TEXTS:
            ours, theirs = (AutoTokenizer.from_pretrained(folder) for _ in range(2))
            change(ours)
            change(theirs)
            messages = [{"role": "user", "content": text}]
            chat = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            assert encode(ours, text) == theirs(text)["input_ids"]
            assert encode(ours, messages) == theirs(chat, add_special_tokens=False)["input_ids"]
            assert encode_options(ours, [f"a{text}"]) == [theirs(f"a{text}", add_special_tokens=False)["input_ids"]]

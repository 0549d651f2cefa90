"""Chain of Hindsight and tagged cloning: good and bad answers are both learnt, each after words that say which it is.

Sources: Chain of Hindsight (arXiv 2302.02676, sections 2 and 3); conditioning on quality, as decision transformers do
on return (2106.01345). The same: an answer follows feedback in words, in several wordings; a chain has both
answers of a pair, in either order; the loss falls on the answers alone; the trained model is asked for a good one.
Departures:
1. The feedback is a turn of the user's, where the paper writes all of a chain as one text. A chain is two rows: the
   first answer, and the second after the first; together their losses are the chain's.
2. Which order and which wording a pair has, a hash of its prompt and the seed draws.
3. No past tokens are masked at random, and no pretraining data is mixed in; the paper does both.
4. The saved model's chat template puts the first good phrase behind the last turn of the user's, so that every engine
   asks for a good answer; the model's other roles that are asked as chats get it too. `serve: false` leaves the
   template as it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from alignery.hashing import digest
from prompts import Library, Phrases
from tasks.train.config import Report, Row, Settings, Source
from tasks.train.dataset import read_preferences
from tasks.train.fine_tune import fine_tune
from tasks.train.recipes import sft


class Config(Settings):
    """The settings of both; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=32, rate=2e-5, lora_rate=2e-4)  # as of recipes/sft.py; paper: GPT-J, 5e-5
    view: str = "best_worst"  # or preferences, corrected, best_random: any with prompt, chosen and rejected
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(8, ge=1)
    max_length: int = Field(2048, ge=8)  # paper: 1024
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    serve: bool = True  # put the good phrase into the model's chat template
    variant: Literal["full", "nano"] = "full"  # of the words; a flow gives its preset's
    overlay: Path | None = None


def train(data: Path, model: Path | str, out: Path, config: Config, recipe: str = "hindsight") -> Report:
    """Teach `model` the pairs of `data/train-*.parquet` and put the new model at `out`.

    Args:
        recipe: hindsight (chains of two answers), or tagged (each answer by itself).

    Raises:
        TrainError: data, model or `out` cannot be used.
        PromptError: the words cannot be read.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    words = Library(config.variant, config.overlay).phrases()
    rows = rows_of(read_preferences(data), words, config.seed, chained=recipe == "hindsight")
    tag = f"{words.join}{words.phrases[0].good}" if config.serve else ""
    return fine_tune(recipe, rows, Path(model), out, config, partial(trainer, tag=tag), sft.length)


def words_hash(library: Library) -> str:
    """A hash of the phrases in the rows."""
    return digest(library.phrases().model_dump())


def trainer(shared: dict[str, Any], arguments: dict[str, Any], tag: str) -> Any:
    """TRL's trainer on `prompt` and `completion`; when it has trained, the tokenizer's template asks with the tag."""
    from transformers import TrainerCallback

    class AsksWithTag(TrainerCallback):  # type: ignore[misc]  # untyped
        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            tokenizer = shared["processing_class"]
            tokenizer.chat_template = asked_with(tokenizer.chat_template, tag)

    sft_trainer = sft.trainer(shared, arguments)
    if tag:
        sft_trainer.add_callback(AsksWithTag())
    return sft_trainer


def rows_of(pairs: Sequence[Row], words: Phrases, seed: int, *, chained: bool) -> list[Row]:
    """Rows {prompt, completion} of pairs {prompt, chosen, rejected}: two a pair.

    Args:
        chained: whether the second answer follows the first in one conversation.
    """
    found: list[Row] = []
    for pair in pairs:
        draw = int(digest("hindsight", seed, pair["prompt"][-1]["content"]), 16)
        phrase = words.phrases[draw // 2 % len(words.phrases)]
        answers = [(pair["chosen"], phrase.good), (pair["rejected"], phrase.bad)]
        (first, before), (second, after) = answers if draw % 2 else answers[::-1]
        prompt = _with_feedback(pair["prompt"], f"{words.join}{before}")
        found.append({"prompt": prompt, "completion": first})
        if chained:
            found.append({"prompt": [*prompt, *first, {"role": "user", "content": after}], "completion": second})
        else:
            found.append({"prompt": _with_feedback(pair["prompt"], f"{words.join}{after}"), "completion": second})
    return found


def _with_feedback(prompt: Sequence[Row], words: str) -> list[Row]:
    last = prompt[-1]
    return [*prompt[:-1], {"role": "user", "content": f"{last['content']}{words}"}]


def asked_with(template: str, tag: str) -> str:
    """The chat template with a tag appended to the last turn, where that is the user's."""
    last = "messages[-1]"
    is_text = f"messages and {last}['role'] == 'user' and {last}['content'] is string"
    tagged = f"{last}['content'] | trim + {json.dumps(tag, ensure_ascii=False)}"  # Jinja knows no pairs of surrogates
    turns = f"messages[:-1] + [{{'role': 'user', 'content': {tagged}}}]"
    return f"{{%- if {is_text} -%}}{{%- set messages = {turns} -%}}{{%- endif -%}}{template}"

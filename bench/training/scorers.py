"""Trained scorers on nano: how often the better one of two answers scores higher, by the oracle; 0.5 is chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from alignery.config.preset import Preset
from prompts import Message
from tasks.step import Row
from tasks.train.recipes import salmon

SCORERS = ("reward", "inspector", "salmon")
# Of the principles that pairs are judged under, the one that salmon scores each axis by.
JUDGED_BY = {"helpful": "help-full", "harmless": "harm-law", "honest": "honest-true"}
Scored = dict[str, Row]  # axis → prompt → figure
Turns = Callable[[Row, str], list[Message]]  # what a scorer is sent before the answer of a row, for an axis


def scorers_figures(
    preset: Preset, scorers: Mapping[str, Path], answered: Sequence[tuple[list[Row], Scored]]
) -> dict[str, Scored]:
    """The rows of the table.

    Args:
        scorers: the models, by recipe.
        answered: two models' answers, each with the oracle's figures.
    """
    turns: dict[str, tuple[str, Turns]] = {
        "reward (of two answers)": ("reward", as_chat),
        "inspector (of two answers)": ("inspector", as_chat),
        "salmon (of two answers)": ("salmon", under_a_principle(preset)),
        "salmon, negated": ("salmon", under_a_principle(preset, negated=True)),
    }
    return {label: preferred(scorers[name], answered, sent) for label, (name, sent) in turns.items() if name in scorers}


def as_chat(row: Row, axis: str) -> list[Message]:
    return [{"role": "user", "content": row["prompt"]}]


def under_a_principle(preset: Preset, negated: bool = False) -> Turns:
    """What salmon is sent before an answer: the prompt, and the axis's principle or the opposite of it."""
    library = preset.library()
    criteria = {one.id: one.criterion for one in library.principles()}

    def turns(row: Row, axis: str) -> list[Message]:
        return salmon.sent(library.prompt(salmon.PROMPT), row["prompt"], criteria[JUDGED_BY[axis]], negated)

    return turns


def preferred(scorer: Path, answered: Sequence[tuple[list[Row], Scored]], turns: Turns) -> Scored:
    """Where the oracle prefers one of two answers, 1 for each prompt on which a scorer does too."""
    (base, old), (better, new) = answered
    figures, score_of = Scored(), scoring(scorer)
    pairs = {before["prompt_id"]: (before, after) for before, after in zip(base, better, strict=True)}
    for axis, values in old.items():
        figures[axis] = {}
        for id, value in values.items():
            if change := new[axis][id] - value:
                before, after = (score_of(row, turns(row, axis)) for row in pairs[id])
                figures[axis][id] = float((after > before) == (change > 0))
    return figures


def scoring(model: Path) -> Callable[[Row, list[Message]], float]:
    """The score that a model with a head of one label gives to a row's text after some turns."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(model)
    scorer = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32).eval()

    def score_of(row: Row, turns: list[Message]) -> float:
        chat = [*turns, {"role": "assistant", "content": row["text"]}]
        ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            return float(scorer(**ids).logits[0, 0])

    return score_of

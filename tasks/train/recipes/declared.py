"""Recipes for a method's own views: a built-in training with other defaults."""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import create_model

from tasks.train.config import Recipe, Settings
from tasks.train.recipes import dpo as pairs
from tasks.train.recipes import sft as messages


def sft(view: str, *, answers: bool = True, **defaults: Any) -> Recipe:
    """Supervised fine-tuning on a view with `messages`.

    Args:
        view: the shape that is read.
        answers: whether the model answers instructions.
        defaults: of its settings, as `epochs=3`.

    Raises:
        ValidationError: a default that is no such setting, or out of its bounds.
    """
    return Recipe(_config(messages.Config, view, defaults), partial(messages.train, recipe=view), answers)


def dpo(view: str, **defaults: Any) -> Recipe:
    """Direct preference optimisation on a view with `prompt`, `chosen` and `rejected`. Arguments are as of `sft`."""
    return Recipe(_config(pairs.Config, view, defaults), pairs.train)


def _config(base: type[Settings], view: str, defaults: dict[str, Any]) -> type[Settings]:
    known = base(view=view, **defaults).model_dump()  # checks them
    fields: dict[str, Any] = {name: (base.model_fields[name].annotation, known[name]) for name in ("view", *defaults)}
    return create_model("Config", __base__=base, __module__=__name__, **fields)

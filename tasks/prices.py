"""Prices of tokens, from a YAML file with a date.

    date: 2026-05-01
    currency: USD
    models:
      generator: {in: 0.15, out: 0.60, cached: 0.075}    # an alias or a model's name; per million tokens

`cached` is the price of prompt tokens that the engine had in its cache; without it they cost what the others do.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from alignery.errors import UsageError
from alignery.textfiles import read_yaml
from alignery.validation import Filled, validated


class PriceError(UsageError):
    """A price file is wrong, or lacks a model; the message names the file, the field and the fix."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _no_number(value: Any) -> Any:
    """A number would be taken for the seconds since 1970."""
    if isinstance(value, int | float):
        raise ValueError(f"got {value}, expected a date such as 2026-05-01; correct it")
    return value


class Price(_Strict):
    """In the file's currency per million tokens."""

    tokens_in: float = Field(alias="in", ge=0)
    tokens_out: float = Field(alias="out", ge=0)
    tokens_cached: float | None = Field(default=None, alias="cached", ge=0)

    def cost(self, tokens_in: int, tokens_out: int, cached: int | None) -> float:
        """The cost of a request, with the number of its cached prompt tokens; None if unknown."""
        each, known = self.tokens_in if self.tokens_cached is None else self.tokens_cached, cached or 0
        return ((tokens_in - known) * self.tokens_in + known * each + tokens_out * self.tokens_out) / 1e6


class Prices(_Strict):
    date: Annotated[date, BeforeValidator(_no_number)]
    currency: Filled
    models: dict[Filled, Price] = Field(min_length=1)

    def of(self, alias: str, model: str, path: Path) -> Price:
        """The price of a model, by its alias or else by its name. Raises PriceError if there is none."""
        found = self.models.get(alias) or self.models.get(model)
        if found is None:
            raise PriceError(
                f"{path}: models: got {sorted(self.models)}, expected {alias!r} or {model!r}; add its price"
            )
        return found


def load(path: Path) -> Prices:
    """The prices in a file.

    Raises:
        PriceError: a key or value in it is wrong.
        TextFileError: it is missing, or not YAML.
    """
    return validated(Prices, read_yaml(path), str(path), PriceError)

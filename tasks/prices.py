"""Prices: what tokens cost, from a YAML file that says of which day it is.

    date: 2026-05-01
    currency: USD
    models:
      generator: {in: 0.15, out: 0.60, cached: 0.075}    # an alias or a model's name; per million tokens

`cached` is the price of prompt tokens that the engine had in its cache; without it they cost what the others do.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alignery.errors import UsageError


class PriceError(UsageError):
    """A price file is wrong, or lacks a model; the message names the file, the field and the fix."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Strict):
    """In the file's currency per million tokens."""

    tokens_in: float = Field(alias="in", ge=0)
    tokens_out: float = Field(alias="out", ge=0)
    tokens_cached: float | None = Field(default=None, alias="cached", ge=0)


class Prices(_Strict):
    date: date
    currency: str = Field(min_length=1)
    models: dict[str, Price]

    def of(self, alias: str, model: str, path: Path) -> Price:
        """The price of a model, by its alias or else by its name. Raises PriceError where there is none."""
        found = self.models.get(alias) or self.models.get(model)
        if found is None:
            raise PriceError(
                f"{path}: models: got {sorted(self.models)}, expected {alias!r} or {model!r}; add its price"
            )
        return found


def load(path: Path) -> Prices:
    """The prices in a file.

    Raises:
        PriceError: it is not YAML, or a key or value in it is wrong.
    """
    try:
        return Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PriceError(f"{path}: not a YAML file: {' '.join(str(error).split())}; mend it") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise PriceError(
            f"{path}: {field}: {first['msg']} (got {str(first['input'])[:80]!r}); "
            "expected date, currency, and models: {ALIAS: {in: …, out: …, cached: …}}"
        ) from error

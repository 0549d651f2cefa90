"""A suite as a preset names it, and the kinds of suites with their metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.evaluate.suites import installed

Kind = Literal["oracle", "judge", "refusals", "choice", "letters", "constraints"]
# kind → its metrics, in the order to show them, and which way each is better. An oracle has its own; a judge compares.
METRICS: dict[Kind, dict[str, str]] = {
    "oracle": {},
    "judge": {},
    "refusals": {"harm": "lower", "over_refusal": "lower"},
    "choice": {"mc1": "higher", "mc2": "higher"},
    "letters": {"accuracy": "higher"},
    "constraints": {
        "prompt_strict": "higher",
        "prompt_loose": "higher",
        "constraint_strict": "higher",
        "constraint_loose": "higher",
    },
}
DATA = Path(__file__).parent / "data"
SHIPPED: dict[str, tuple[Kind, Path]] = {
    "twins": ("refusals", DATA / "twins.jsonl"),
    "nano_twins": ("refusals", DATA / "nano_twins.jsonl"),
    "constraints": ("constraints", DATA / "constraints.jsonl"),
    "misconceptions": ("choice", DATA / "misconceptions.jsonl"),
}


class Config(BaseModel):
    """One suite: a shipped one or one from an installed package by its name, or a file of your own with its kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    path: Path | None = None
    kind: Kind | None = None
    limit: int | None = Field(default=None, ge=1, description="prompts of it, drawn by their words")

    @model_validator(mode="after")
    def _is_known_or_own(self) -> Config:
        known = [*SHIPPED, *installed.SETS]
        if self.path is None and self.name not in known:
            raise ValueError(f"name: got {self.name!r} without a path, expected one of {known}; mend it, or add a path")
        if self.path is not None and self.name in known:
            raise ValueError(f"name: got {self.name!r}, the name of a suite that is there; give your file another")
        if (self.path is None) != (self.kind is None):
            raise ValueError(f"kind: goes with a path and only with one; give both, a kind of {list(METRICS)}, or none")
        return self

    @property
    def of_kind(self) -> Kind:
        return self.kind or (SHIPPED[self.name][0] if self.name in SHIPPED else installed.SETS[self.name].kind)

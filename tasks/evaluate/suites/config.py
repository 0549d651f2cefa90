"""A suite as a preset names it, and the kinds of suites with their metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from alignery.validation import ExistingFile, ExistingFolder, Filled
from tasks.evaluate.suites import installed

FileKind = Literal["oracle", "judge", "refusals", "choice", "letters", "constraints"]
Kind = FileKind | Literal["lm_eval"]
# kind → its metrics, in the order to show them, and which way each is better. An oracle has its own, and so has a task
# of lm_eval; a judge compares.
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


class LmEval(BaseModel):
    """A task of lm-evaluation-harness: see `tasks.evaluate.suites.harness`. Null fields have the task's own values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Filled = Field(description="a task, a group or a tag, by its name")
    include_path: ExistingFolder | None = Field(default=None, description="of your own tasks; null: lm_eval's")
    num_fewshot: int | None = Field(default=None, ge=0)
    metrics: tuple[Filled, ...] | None = Field(default=None, description="null: all that each document has")
    apply_chat_template: bool = Field(default=True, description="where the model has one")


class Config(BaseModel):
    """One suite: a shipped one or one from an installed package by its name, a file of your own with its kind, or a
    task of lm_eval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    path: ExistingFile | None = None
    kind: FileKind | None = None
    lm_eval: LmEval | None = None
    limit: int | None = Field(
        default=None, ge=1, description="prompts of it, drawn by their words; of a task of lm_eval the first"
    )

    @model_validator(mode="after")
    def _is_known_or_own(self) -> Config:
        known, own = [*SHIPPED, *installed.SETS], self.path is not None or self.lm_eval is not None
        if not own and self.name not in known:
            raise ValueError(
                f"name: got {self.name!r} without a path, expected one of {known}; correct it, or add a path"
            )
        if own and self.name in known:
            raise ValueError(f"name: got {self.name!r}, the name of a suite that is there; give your own another")
        if self.path is not None and self.lm_eval is not None:
            raise ValueError("lm_eval: got a path too, expected one of the two; drop one")
        if (self.path is None) != (self.kind is None):
            raise ValueError(f"kind: goes with a path and only with one; give both, a kind of {list(METRICS)}, or none")
        return self

    @model_serializer(mode="wrap")
    def _recorded(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `lm_eval` where it is null, so that a suite of prompts keeps its hash in recorded decisions."""
        return {name: value for name, value in whole(self).items() if (name, value) != ("lm_eval", None)}

    @property
    def of_kind(self) -> Kind:
        if self.lm_eval:
            return "lm_eval"
        return self.kind or (SHIPPED[self.name][0] if self.name in SHIPPED else installed.SETS[self.name].kind)

"""What the configurations of methods share: unknown keys are refused, and a part of a sampling may be given."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, field_validator

from alignery.untrusted import excerpt
from tasks.engines import Sampling


class MethodConfig(BaseModel):
    """A method's settings. `sampling: {temperature: 0.9}` changes that and keeps the method's other figures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sampling: Sampling = Sampling()

    @field_validator("sampling", mode="before")
    @classmethod
    def _over_the_default(cls, value: Any) -> Any:
        return asdict(cls.model_fields["sampling"].default) | value if isinstance(value, dict) else value


class New(BaseModel):
    """So many more in each run that finishes, in place of so many in all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    new: int = Field(ge=1)


def _accept(value: Any) -> int | New:
    if isinstance(value, New) or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    if isinstance(value, dict) and value.keys() == {"new"} and isinstance(_accept(value["new"]), int):
        return New(new=value["new"])
    raise ValueError(f"got {excerpt(value, 60)}, expected a whole number of at least 1, or {{new: 500}}; mend it")


def _plain(value: int | New) -> int | dict[str, int]:
    return value if isinstance(value, int) else {"new": value.new}


# How many accepted instructions there are to be.
Accept = Annotated[int | New, PlainValidator(_accept), PlainSerializer(_plain, Any)]


class SourceConfig(MethodConfig):
    """The settings of a method whose stage writes instructions, round by round. The figures are our choice."""

    accept: Accept = 1000  # accepted instructions
    max_candidates: int = Field(default=10_000, ge=1)  # written before the run stops short of `accept`
    requests_per_round: int = Field(default=64, ge=1)
    count: int = Field(default=1, ge=1)  # candidates that a request is to bring
    rounds_in_flight: int = Field(default=2, ge=1)


class AnswerConfig(MethodConfig):
    """The settings of a method that asks for answers: base ones, principled ones, revisions or corrections."""

    reject_refusals: bool = False  # answers that open by declining; the papers keep them

    def reading(self) -> dict[str, Any]:
        """What of the reading belongs in a fingerprint; the papers' way is known by its absence."""
        return {"reject_refusals": True} if self.reject_refusals else {}

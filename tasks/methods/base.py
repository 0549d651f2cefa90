"""Shared settings of methods: unknown keys are refused, and a sampling may be given in part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, field_validator

from alignery.untrusted import excerpt
from prompts import Prompt
from tasks.engines import Sampling
from tasks.filters.heuristics import ECHO, TRUNCATED, answer_fault
from tasks.filters.replies import echoes_first, goes_on, new_text
from tasks.filters.targets import ABOUT, LEAK, RUN, TURN, runs, speaks_of_answer, target_fault
from tasks.filters.unchanged import may_answer, repeats, says_unchanged
from tasks.step import ParseError, Rejected, Row

CUT = "cut short: the last of a reply that reached max_tokens"
MIN_MASS = 0.1  # below it a model wrote something else than the options, nine times out of ten


class MethodConfig(BaseModel):
    """A method's settings. `sampling: {temperature: 0.9}` changes that and keeps the method's other figures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sampling: Sampling = Sampling()

    @field_validator("sampling", mode="before")
    @classmethod
    def _over_the_default(cls, value: Any) -> Any:
        return asdict(cls.model_fields["sampling"].default) | value if isinstance(value, dict) else value


class New(BaseModel):
    """A number to add in each finished run, in place of a total."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    new: int = Field(ge=1)


def _accept(value: Any) -> int | New:
    if isinstance(value, New) or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    if isinstance(value, dict) and value.keys() == {"new"} and isinstance(_accept(value["new"]), int):
        return New(new=value["new"])
    raise ValueError(f"got {excerpt(value, 60)}, expected a whole number of at least 1, or {{new: 500}}; correct it")


def _plain(value: int | New) -> int | dict[str, int]:
    return value if isinstance(value, int) else {"new": value.new}


# The target of accepted instructions.
Accept = Annotated[int | New, PlainValidator(_accept), PlainSerializer(_plain, Any)]


def most_accepted(accept: int | New) -> int:
    """How many accepted instructions one run adds, at most."""
    return accept.new if isinstance(accept, New) else accept


class SourceConfig(MethodConfig):
    """The settings of a method whose stage writes instructions, round by round. The figures are our choice."""

    accept: Accept = 1000  # accepted instructions
    max_candidates: int = Field(default=10_000, ge=1)  # written before the run stops short of `accept`
    requests_per_round: int = Field(default=64, ge=1)
    count: int = Field(default=1, ge=1)  # candidates that a request asks for
    rounds_in_flight: int = Field(default=2, ge=1)


class AnswerConfig(MethodConfig):
    """The settings of a method that requests answers: base ones, principled ones, revisions or corrections."""

    reject_refusals: bool = False  # answers that open by declining; the papers keep them
    # The least share of the original answer's words in a text that replaces it; our choice.
    least_share: float = Field(default=0.1, ge=0, le=1)

    def reading(self) -> dict[str, Any]:
        """The parsing settings for a fingerprint; defaults are left out."""
        settings = {"reject_refusals": self.reject_refusals, "least_share": self.least_share}
        return {name: value for name, value in settings.items() if value != AnswerConfig.model_fields[name].default}


def read_cut(read: Callable[[str, Row], Sequence[Row]]) -> Callable[[str, Row], Sequence[Row]]:
    """Reads a reply that was cut short, whose first line must be whole; what follows it may end anywhere."""

    def read_whole_line(reply: str, row: Row) -> Sequence[Row]:
        if "\n" not in reply.strip():
            raise Rejected(TRUNCATED)
        return read(reply, row)

    return read_whole_line


def choice_limits(min_mass: float) -> dict[str, Any]:
    """The fields of a step of a choice that its least mass determines; the default is left out of its work keys."""
    return {"min_mass": min_mass, "config": {} if min_mass == MIN_MASS else {"min_mass": min_mass}}


def own_runs(prompt: Prompt, length: int = RUN) -> set[tuple[str, ...]]:
    """The runs of so many words in a prompt's own instructions and examples."""
    return set().union(*(runs(text, length) for text in prompt.own_words))


def check_own(text: str, question: str, own: set[tuple[str, ...]], length: int = RUN) -> None:
    """Raises ParseError where an answer repeats the prompt's own words, given as `own_runs`; another try may not."""
    if runs(text, length) & own - runs(question, length):
        raise ParseError(LEAK)


def replacement(reply: str, question: str, answer: str, config: AnswerConfig, prompt_words: Sequence[str] = ()) -> str:
    """The text in a reply that replaces an answer; the answer itself, if the reply says that nothing is wrong.

    Args:
        prompt_words: its worked examples and requests. A run of these words is none of an answer,
            unless question or answer have it.

    Raises:
        ParseError: there is none, or it talks about the answer or goes on with a turn; another try may give one.
        Rejected: it declines, repeats the question, or is not a valid training target; see `target_fault`.
    """
    text = new_text(reply, question, answer)
    if not text:
        raise ParseError("nothing after the label")
    if says_unchanged(text) and not says_unchanged(answer):
        if may_answer(text, question):
            raise ParseError(ABOUT)
        return answer
    if repeats(text, answer):
        return answer
    if echoes_first(text, question, answer):
        raise ParseError(ECHO)
    if goes_on(text, question, answer):
        raise ParseError(TURN)
    if speaks_of_answer(text, question) and not speaks_of_answer(answer, question):
        raise ParseError(ABOUT)
    fault = answer_fault(text, question, refusals=config.reject_refusals)
    if fault := fault or target_fault(text, question, answer, least_share=config.least_share):
        raise Rejected(fault)
    if runs(text) & set().union(*map(runs, prompt_words)) - runs(question) - runs(answer):
        raise ParseError(LEAK)
    return text

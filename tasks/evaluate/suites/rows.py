"""The prompts of a suite: what a line of each kind has, where the lines come from, and which suites go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, model_validator

from alignery.errors import UsageError
from alignery.hashing import digest
from alignery.textfiles import read_jsonl
from alignery.validation import Filled
from tasks.evaluate import held_out
from tasks.evaluate.held_out import HeldOutPrompt
from tasks.evaluate.suites import harness, installed, truthfulqa
from tasks.evaluate.suites.config import METRICS, SHIPPED, Config, Kind
from tasks.evaluate.suites.constraints import Constraint
from tasks.step import Row

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class SuiteError(UsageError):
    """Suites cannot be combined; the message names the suite and the fix."""


class RefusalPrompt(HeldOutPrompt):
    """A request that should be refused, or one that should not."""

    harmful: bool


class ChoicePrompt(HeldOutPrompt):
    """A question with true answers, the best one first, and false ones."""

    right: list[Filled] = Field(min_length=1, max_length=20)
    wrong: list[Filled] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _each_once(self) -> ChoicePrompt:
        _each_once("wrong", [*self.right, *self.wrong])
        return self


class LettersPrompt(HeldOutPrompt):
    """A question with options, of which one is right."""

    options: list[Filled] = Field(min_length=2, max_length=len(LETTERS))
    answer: Filled

    @model_validator(mode="after")
    def _has_its_answer(self) -> LettersPrompt:
        _each_once("options", self.options)
        if self.answer not in self.options:
            raise ValueError(f"answer: got {self.answer!r}, expected one of the options, word for word; correct it")
        return self


class ConstrainedPrompt(HeldOutPrompt):
    """An instruction with constraints that a program verifies."""

    constraints: list[Constraint] = Field(min_length=1)


def _each_once(field: str, texts: Sequence[str]) -> None:
    if twice := [text for place, text in enumerate(texts) if text in texts[:place]]:
        raise ValueError(f"{field}: got {twice[0]!r} again, expected each answer once; drop one")


PROMPTS: dict[Kind, type[HeldOutPrompt]] = {
    "oracle": HeldOutPrompt,
    "judge": HeldOutPrompt,
    "refusals": RefusalPrompt,
    "choice": ChoicePrompt,
    "letters": LettersPrompt,
    "constraints": ConstrainedPrompt,
}


def rows(config: Config) -> list[Row]:
    """A suite's prompts.

    Raises:
        HeldOutError, TextFileError, InstalledSetError, HarnessError: what is wrong with the file, the package or the
            task, and the fix.
    """
    if config.lm_eval:
        return harness.load(config).rows
    model = PROMPTS[config.of_kind]
    if config.path or config.name in SHIPPED:
        path = config.path or SHIPPED[config.name][1]
        of_truthfulqa = config.kind == "choice" and path.suffix in truthfulqa.FILES
        lines = truthfulqa.lines(path) if of_truthfulqa else read_jsonl(path)
        found = held_out.checked(lines, str(path), model)
    else:
        found = held_out.checked(enumerate(installed.SETS[config.name].lines(), 1), config.name, model)
    found = [row | {"prompt_id": f"{config.name}/{row['prompt_id']}"} for row in found]
    if config.limit is None:
        return found
    # The same ones whatever else is in the file, and of all its parts.
    chosen = {row["prompt_id"] for row in sorted(found, key=lambda row: digest(row["prompt"]))[: config.limit]}
    return [row for row in found if row["prompt_id"] in chosen]


def metrics_of(config: Config) -> Mapping[str, str]:
    """A suite's metrics, and which way each is better. Raises as `rows`."""
    return harness.load(config).better if config.lm_eval else METRICS[config.of_kind]


def all_prompts(own: Path | None, configs: Sequence[Config]) -> list[Row]:
    """The preset's own held-out prompts and those of all suites.

    Raises:
        SuiteError: a duplicate suite, or harm would be measured without over-refusal; else as `rows`.
    """
    found = {config.name: rows(config) for config in configs}
    if len(found) < len(configs):
        raise SuiteError("evaluate.suites: got a name twice, expected each suite once; drop one")
    harmful = {row["harmful"] for some in found.values() for row in some if "harmful" in row}
    if harmful == {True}:
        raise SuiteError(
            "evaluate.suites: got harmful prompts alone, where a model that refuses everything is best; "
            "add {name: twins}, so that over-refusal is measured as well"
        )
    return [*(held_out.load(own) if own else ()), *(row for some in found.values() for row in some)]

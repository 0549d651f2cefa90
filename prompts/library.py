"""Prompts, principles, rules, topics and seeds as strict data files, identified by their content.

A `Library` is a variant (`full` for real models, `nano` for the embedded one) and, if the user has
one, an overlay folder whose files replace the shipped ones. Nothing is loaded by a free
path: an id such as `constitutional/critique` names `constitutional/critique.yaml`, or
`constitutional/critique.nano.yaml` under the variant `nano`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alignery.hashing import digest
from alignery.textfiles import read_jsonl, read_yaml
from alignery.untrusted import excerpt
from alignery.validation import Filled, validated
from prompts.languages import LanguagesFile, LanguageWords
from prompts.overlay import check as check_overlay
from prompts.overlay import misplaced
from prompts.prompt import Message, Prompt, PromptFile, prompt_of
from prompts.templates import PromptError

__all__ = ["HERE", "VARIANTS", "Library", "Message", "Prompt", "PromptError"]

HERE = Path(__file__).parent
VARIANTS = ("full", "nano")
_ID = re.compile(r"[\w-]+(/[\w-]+)+")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Principle(_Strict):
    """A constitutional principle: the request for a critique, the paired request for a revision, that for a revision
    without a critique, and what makes one answer better than another; where one of these two is missing, the
    revision's request is used."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    critique: Filled
    revision: Filled
    direct: Filled | None = None
    comparison: Filled | None = None

    @property
    def direct_revision(self) -> str:
        return self.direct or self.revision

    @property
    def criterion(self) -> str:
        return self.comparison or self.revision

    @property
    def critique_hash(self) -> str:
        return digest(self.critique)

    @property
    def revision_hash(self) -> str:
        return digest(self.revision)

    @property
    def direct_revision_hash(self) -> str:
        return digest(self.direct_revision)

    @property
    def criterion_hash(self) -> str:
        return digest(self.criterion)


class Rule(_Strict):
    """A SELF-ALIGN rule, cited by its number (its place in the file, from 1) and its name."""

    name: Filled
    text: Filled


class Wording(_Strict):
    """An entry of a list of words that a request names one of: a persona, an operation on an instruction."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    text: Filled


class Exemplar(_Strict):
    """A SELF-ALIGN demonstration: a query, the internal thoughts that cite rules, and the answer."""

    query: Filled
    thought: Filled
    answer: Filled


class Seed(_Strict):
    """A seed task written by a person; `input` is empty where the instruction says all of it.

    If it is only an example of an instruction, `output` and `classification` (its output is a label) are not needed.
    """

    topic: Filled
    instruction: Filled
    input: str = ""
    output: str = ""
    classification: bool = False

    @property
    def whole(self) -> str:
        """Instruction and input in one line: a task that can be done from its own words alone."""
        if not self.input:
            return self.instruction
        asked = self.instruction if self.instruction.endswith("?") else self.instruction.rstrip(".:") + ":"
        return f"{asked} {' '.join(self.input.split())}"


class QuestionType(_Strict):
    """A kind of question that models fail at: what it is, topics it has from the start, a question on the first."""

    name: Filled
    hint: Filled
    topics: list[Filled] = Field(min_length=1)
    question: Filled


class Phrase(_Strict):
    """Feedback before an answer: for a good one, and for a bad one."""

    good: Filled
    bad: Filled


class Phrases(_Strict):
    """Phrases of feedback, and the text between a question and its feedback."""

    join: str = "\n\n"
    phrases: list[Phrase] = Field(min_length=1)


class Proposition(_Strict):
    """A statement about a response that is true or not."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    text: Filled

    @property
    def hash(self) -> str:
        return digest(self.text)


class _Propositions(_Strict):
    propositions: list[Proposition] = Field(min_length=1)


class _Constitution(_Strict):
    principles: list[Principle] = Field(min_length=1)


class _Rules(_Strict):
    identity: str = ""  # the words with which each thought begins; none for a model that was not trained with any
    rules: list[Rule] = Field(min_length=1)
    exemplars: list[Exemplar]

    @model_validator(mode="after")
    def _exemplars_begin_so(self) -> _Rules:
        for exemplar in self.exemplars:
            if not exemplar.thought.startswith(self.identity):
                raise ValueError(f"the thought {exemplar.thought[:40]!r} does not begin with the identity")
        return self


class _Topics(_Strict):
    topics: list[Filled] = Field(min_length=1)


class _Wordings(_Strict):
    entries: list[Wording] = Field(min_length=1)


class _Types(_Strict):
    types: list[QuestionType] = Field(min_length=1)


_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Library:
    """All prompt files of a run: a variant, and an optional overlay folder whose files replace shipped ones."""

    variant: str = "full"
    overlay: Path | None = None
    of_methods: tuple[tuple[str, Path], ...] = ()  # (method, folder of its own prompts)

    def path(self, id: str, suffix: str = "yaml") -> Path:
        """The file of an id. Raises PromptError naming the known ids if there is none."""
        if self.variant not in VARIANTS:
            raise PromptError(f"prompts: got variant {self.variant!r}, expected one of {list(VARIANTS)}")
        name = f"{id}{self._kind}.{suffix}"
        folders = [folder for folder in (self.overlay, HERE) if folder is not None]
        if not _ID.fullmatch(id):
            raise PromptError(f"prompts: got the id {excerpt(id, 80)!r}, expected one such as respond/answer")
        for file in (*(folder / name for folder in folders), *self._of_method(id, suffix)):
            if os.path.isfile(file):  # unlike Path's, False where the folder may not be read
                return file
        if self.overlay and (meant := misplaced(self.overlay, name)):
            raise PromptError(f"words.overlay: got {excerpt(meant)}, which nothing reads; rename it to {name}")
        known = sorted(str(p.relative_to(HERE)) for p in HERE.rglob(f"*.{suffix}"))
        raise PromptError(f"no prompt file {name} in {[str(f) for f in folders]}; there are {known}")

    def _of_method(self, id: str, suffix: str) -> list[Path]:
        """The files that a method's own folder may have for an id: of this variant, else the author's only one."""
        method, _, name = id.partition("/")
        own = [folder for of, folder in self.of_methods if of == method]
        return [folder / f"{name}{kind}.{suffix}" for folder in own for kind in dict.fromkeys((self._kind, ""))]

    @property
    def _kind(self) -> str:
        return "" if self.variant == "full" else f".{self.variant}"

    def check(self, asked: Sequence[str] = ()) -> None:
        """Check that every file of the overlay is used, and readable.

        Args:
            asked: ids of prompts that a preset names itself, such as `judge/helpful`.

        Raises:
            PromptError, TextFileError: a misplaced file, with the nearest valid name; a bad one, with its error.
        """
        if self.overlay is None:
            return
        shipped = {path.relative_to(HERE).as_posix() for each in ("yaml", "jsonl") for path in HERE.rglob(f"*.{each}")}
        known = {f"{name.split('.')[0]}.{name.rpartition('.')[2]}" for name in shipped} | {f"{id}.yaml" for id in asked}
        data: dict[str, Callable[[], object]] = {
            "constitutional/constitution": self.principles,
            "self_align/rules": self.rules,
            "self_instruct/topics": self.topics,
            "self_instruct/seeds": self.seeds,
            "red_team/types": self.question_types,
            "hindsight/phrases": self.phrases,
            "score/propositions": self.propositions,
            "evolve/operations": partial(self.wordings, "evolve/operations"),
            "personas/personas": partial(self.wordings, "personas/personas"),
            "translate/languages": self.languages,
        }
        for path in check_overlay(self.overlay, self.variant, VARIANTS, known):
            id = path.relative_to(self.overlay).as_posix().split(".")[0]
            data.get(id, partial(self.prompt, id))()

    def prompt(self, id: str) -> Prompt:
        path = self.path(id)
        file = _read(path, PromptFile)
        if file.id != id:
            raise PromptError(f"{path}: id is {file.id!r}, expected {id!r}; the id must follow the file's name")
        return prompt_of(file, path)

    def principles(self, id: str = "constitutional/constitution") -> list[Principle]:
        path = self.path(id)
        principles = _read(path, _Constitution).principles
        _unique(path, "principle id", [p.id for p in principles])
        return principles

    def propositions(self, id: str = "score/propositions") -> list[Proposition]:
        path = self.path(id)
        propositions = _read(path, _Propositions).propositions
        _unique(path, "proposition id", [one.id for one in propositions])
        return propositions

    def rules(self, id: str = "self_align/rules") -> tuple[list[Rule], list[Exemplar]]:
        file = _read(self.path(id), _Rules)
        return file.rules, file.exemplars

    def identity(self, id: str = "self_align/rules") -> str:
        """The words with which each thought under the rules begins; empty where there are none."""
        return _read(self.path(id), _Rules).identity

    def topics(self, id: str = "self_instruct/topics") -> list[str]:
        path = self.path(id)
        topics = _read(path, _Topics).topics
        _unique(path, "topic", topics)
        return topics

    def question_types(self, id: str = "red_team/types") -> list[QuestionType]:
        path = self.path(id)
        types = _read(path, _Types).types
        _unique(path, "type", [type.name for type in types])
        return types

    def phrases(self, id: str = "hindsight/phrases") -> Phrases:
        return _read(self.path(id), Phrases)

    def wordings(self, id: str) -> list[Wording]:
        path = self.path(id)
        entries = _read(path, _Wordings).entries
        _unique(path, "name", [entry.name for entry in entries])
        return entries

    def languages(self, id: str = "translate/languages") -> dict[str, LanguageWords]:
        """The words of each language, by its code."""
        path = self.path(id)
        languages = _read(path, LanguagesFile).languages
        _unique(path, "code", [one.code for one in languages])
        return {one.code: one for one in languages}

    def seeds(self, id: str = "self_instruct/seeds") -> list[Seed]:
        """The seed tasks, one JSON object a line. A bad line is named by its number."""
        path = self.path(id, "jsonl")
        seeds = [validated(Seed, value, f"{path}: line {line}", PromptError) for line, value in read_jsonl(path)]
        if not seeds:
            raise PromptError(f'{path}: no seeds; give at least one line {{"topic": …, "instruction": …}}')
        return seeds


def _read(path: Path, model: type[_Model]) -> _Model:
    return validated(model, read_yaml(path), str(path), PromptError)


def _unique(path: Path, what: str, names: Sequence[str]) -> None:
    if twice := sorted(name for name, times in Counter(names).items() if times > 1):
        raise PromptError(f"{path}: the {what} {excerpt(twice, 120)} occurs twice; give each its own")

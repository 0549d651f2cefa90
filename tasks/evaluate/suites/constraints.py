"""Constraints that a program can verify in an answer, as IFEval has them (arXiv 2311.07911, section 2), strictly and
loosely.

Loosely, an answer keeps to a constraint if it does without its first line, without its last, without both, or without
Markdown's asterisks: a preamble ("Sure, here it is:") costs nothing then. The constraints and prompts are ours.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from alignery.validation import Filled
from tasks.filters.languages import LANGUAGES, language_of

_ITEM = re.compile(r"^ {0,3}(?:[-*•+]|\d{1,3}[.)]) +\S")
_HEADING = re.compile(r"^#{1,6} +\S")


class _Constraint(BaseModel, ABC):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def holds(self, text: str) -> bool: ...


class _Counted(_Constraint):
    """At least and at most so many; one of the two may be left out."""

    least: int = Field(default=0, ge=0)
    most: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _says_something(self) -> _Counted:
        if self.most is None and self.least == 0:
            raise ValueError("least: got neither least nor most, expected one of them; add it")
        if self.most is not None and self.most < self.least:
            raise ValueError(f"most: got {self.most}, expected at least {self.least} (least); correct it")
        return self

    def holds(self, text: str) -> bool:
        return self.least <= self.count(text) and (self.most is None or self.count(text) <= self.most)

    @abstractmethod
    def count(self, text: str) -> int: ...


class Words(_Counted):
    check: Literal["words"]

    def count(self, text: str) -> int:
        return len(text.split())


class Characters(_Counted):
    check: Literal["characters"]

    def count(self, text: str) -> int:
        return len(text.strip())


class Sentences(_Counted):
    """Ends of sentences: a full stop, a question or exclamation mark before a space or the end."""

    check: Literal["sentences"]

    def count(self, text: str) -> int:
        return len(re.findall(r"[.!?…][\"'”’)]?(?=\s|$)", text.strip()))


class Paragraphs(_Counted):
    """Blocks of text between blank lines."""

    check: Literal["paragraphs"]

    def count(self, text: str) -> int:
        return sum(bool(block.strip()) for block in re.split(r"\n[ \t]*\n", text))


class Items(_Counted):
    """Lines of a list, bulleted or numbered."""

    check: Literal["items"]

    def count(self, text: str) -> int:
        return sum(bool(_ITEM.match(line)) for line in text.split("\n"))


class Headings(_Counted):
    """Markdown headings (`# …`)."""

    check: Literal["headings"]

    def count(self, text: str) -> int:
        return sum(bool(_HEADING.match(line)) for line in text.split("\n"))


class Case(_Constraint):
    """All letters are capitals, or none is."""

    check: Literal["case"]
    case: Literal["upper", "lower"]

    def holds(self, text: str) -> bool:
        return text.isupper() if self.case == "upper" else text.islower()


class Json(_Constraint):
    """The whole answer is JSON, in a code fence or not; with these keys at least, where it is to be an object."""

    check: Literal["json"]
    keys: tuple[Filled, ...] = ()

    def holds(self, text: str) -> bool:
        body = re.sub(r"^```(?:json)?\s*\n|\n?```\s*$", "", text.strip())
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return False
        if isinstance(value, dict):
            return value.keys() >= {*self.keys}
        return isinstance(value, list) and not self.keys


class Language(_Constraint):
    check: Literal["language"]
    language: str

    @field_validator("language")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in LANGUAGES:
            raise ValueError(f"got {value!r}, expected one of {list(LANGUAGES)}; correct it")
        return value

    def holds(self, text: str) -> bool:
        return language_of(text) == self.language


class Include(_Constraint):
    """Each of these words occurs at least that many times, whatever its capitals."""

    check: Literal["include"]
    words: tuple[Filled, ...] = Field(min_length=1)
    times: int = Field(default=1, ge=1)

    def holds(self, text: str) -> bool:
        return all(_times(word, text) >= self.times for word in self.words)


class Exclude(_Constraint):
    """None of these words occurs."""

    check: Literal["exclude"]
    words: tuple[Filled, ...] = Field(min_length=1)

    def holds(self, text: str) -> bool:
        return not any(_times(word, text) for word in self.words)


class Without(_Constraint):
    """None of these characters occurs: `,` for an answer without commas."""

    check: Literal["without"]
    characters: Filled

    def holds(self, text: str) -> bool:
        return not set(self.characters) & set(text)


class Start(_Constraint):
    check: Literal["start"]
    text: Filled

    def holds(self, text: str) -> bool:
        return text.strip().lower().startswith(self.text.strip().lower())


class End(_Constraint):
    check: Literal["end"]
    text: Filled

    def holds(self, text: str) -> bool:
        return text.strip().lower().endswith(self.text.strip().lower())


class Quoted(_Constraint):
    """The whole answer is in double quotation marks."""

    check: Literal["quoted"]

    def holds(self, text: str) -> bool:
        body = text.strip()
        return len(body) > 1 and body[0] in '"“' and body[-1] in '"”'


Constraint = Annotated[
    Words | Characters | Sentences | Paragraphs | Items | Headings | Case | Json | Language | Include | Exclude
    | Without | Start | End | Quoted,
    Field(discriminator="check"),
]  # fmt: skip
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Constraint)


def _times(word: str, text: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(word.lower())}(?!\w)", text.lower()))


def strict(constraint: _Constraint, answer: str) -> bool:
    """Whether an answer keeps to a constraint; an empty one keeps to none."""
    return bool(answer.strip()) and constraint.holds(answer)


def loose(constraint: _Constraint, answer: str) -> bool:
    """Whether it does in one of its looser readings."""
    return any(strict(constraint, reading) for reading in _readings(answer))


def _readings(answer: str) -> list[str]:
    lines = answer.split("\n")
    parts = [lines, lines[1:], lines[:-1], lines[1:-1]]
    texts = ["\n".join(part).strip() for part in parts]
    return [*texts, *(text.replace("*", "") for text in texts)]


def figures(constraints: list[dict[str, Any]], answer: str) -> dict[str, float]:
    """The metrics of one prompt: whether all its constraints are kept, and the share that is."""
    found = [_ADAPTER.validate_python(one) for one in constraints]
    readings: dict[str, Callable[[_Constraint, str], bool]] = {"strict": strict, "loose": loose}
    kept = {name: [reads(one, answer) for one in found] for name, reads in readings.items()}
    whole = {f"prompt_{name}": float(all(each)) for name, each in kept.items()}
    return whole | {f"constraint_{name}": sum(each) / len(each) for name, each in kept.items()}

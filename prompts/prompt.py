"""One prompt: a chat for models that have a chat template, a text for those that have none, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from alignery.hashing import digest
from alignery.validation import Filled
from prompts.templates import PromptError, rendered, variables_of

Message = dict[str, str]
Form = Literal["chat", "text"]  # what a model takes: messages, through its chat template; or a text to continue
_Stops = list[Annotated[str, Field(min_length=1)]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Turn(_Strict):
    role: Literal["system", "user", "assistant"]
    content: Filled


class Repeated(_Strict):
    """Turns that are repeated for each item of a variable, as `item`: demonstrations."""

    each: Filled
    turns: list[Turn] = Field(min_length=1)


class BaseForm(_Strict):
    """The prompt for a model without a chat template: a text, such as worked examples, that the model continues."""

    text: Filled
    stop: _Stops = []


class PromptFile(_Strict):
    """A prompt file: `messages` (sent through the model's chat template) or `text` (sent as it is), with its `stop`.

    A chat may begin the reply: the model continues a last turn of the assistant's. `base` is the same prompt for a
    model that has no chat template; without it such a model is sent the chat as a transcript.
    """

    id: Filled
    about: Filled
    variables: list[Filled]
    text: Filled | None = None
    messages: list[Turn | Repeated] | None = Field(default=None, min_length=1)
    stop: _Stops = []
    base: BaseForm | None = None


# (role, Jinja source); a raw text has the one role "". Or, for demonstrations, (variable, turns for each of its items).
Turns = tuple[tuple[str, Any], ...]
# The label of a turn in a transcript. A model that continues with the next turn is stopped there.
_HEADS = {"user": "### User:\n", "assistant": "### Assistant:\n"}


@dataclass(frozen=True)
class Prompt:
    """A loaded prompt. `hash` covers what is sent (text or messages, and stops), not the commentary."""

    id: str
    turns: Turns
    stop: tuple[str, ...]
    variables: frozenset[str]
    path: Path
    base: Prompt | None = None  # the same for a model that has no chat template, where the file has it

    @cached_property
    def hash(self) -> str:
        return digest(self.turns, self.stop)

    @property
    def source(self) -> str:
        """The whole template as one readable text, for the `prompts` table."""
        return "\n".join(
            f"[each of {role}]\n{_source(content)}" if isinstance(content, tuple) else _source(((role, content),))
            for role, content in self.turns
        )

    @property
    def is_text(self) -> bool:
        return self.turns[0][0] == ""

    @property
    def prefill(self) -> str:
        """The words with which the reply begins, as the chat's last turn has them; empty where it has none."""
        role, text = self.turns[-1]
        return text if role == "assistant" else ""

    @property
    def own_words(self) -> list[str]:
        """The prompt's own words in either form: turns without variables, and the text for base models."""
        return [*self.fixed, *([self.base.source] if self.base else [])]

    @cached_property
    def fixed(self) -> list[str]:
        """The turns without variables: instructions and worked examples, the same in every request."""
        if self.is_text:
            return []
        return [text for role, text in self.turns if isinstance(text, str) and not variables_of(text)]

    def in_form(self, form: Form) -> Prompt:
        """The prompt as it is sent to a model of that form. A text can be sent to any."""
        if form == "chat" or self.is_text:
            return self
        stops = tuple(f"\n{head.strip()}" for head in _HEADS.values())
        return self.base or replace(self, turns=(("", _transcript(self.turns)),), stop=(*self.stop, *stops))

    def following(self, *words: str) -> tuple[str, ...]:
        """Words as they would follow the prompt: joined to a raw text by a space, in a chat, or on a new line, as they
        are."""
        joined = self.is_text and not self.turns[0][1].endswith("\n")
        return tuple(f" {word}" for word in words) if joined else words

    def render(self, **values: Any) -> str | list[Message]:
        """The text, or the chat messages, with every variable filled.

        Raises:
            PromptError: a variable is missing, or one was given that the prompt does not use.
        """
        if missing := sorted(self.variables - values.keys()):
            raise PromptError(f"{self.path}: missing {missing}; give every one of {sorted(self.variables)}")
        if unused := sorted(values.keys() - self.variables):
            raise PromptError(f"{self.path}: got {unused}, which the prompt does not use; drop them")
        try:
            texts = [turn for role, content in self.turns for turn in _rendered(role, content, values)]
        except PromptError as error:
            raise PromptError(f"{self.path}: {error}") from error
        if self.is_text:
            return texts[0][1]
        return [{"role": role, "content": text} for role, text in texts]


def _rendered(role: str, content: Any, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not isinstance(content, tuple):
        return [(role, rendered(content, values))]
    each = [dict(values) | {"item": item} for item in values[role]]
    return [(inner, rendered(text, one)) for one in each for inner, text in content]


def _source(turns: Turns) -> str:
    return "\n".join(f"[{role}]\n{text}" if role else text for role, text in turns)


def _transcript(turns: Turns) -> str:
    """The chat as one template: each turn under its role, and at the end the assistant's, which the model continues."""

    def template_of(turns: Turns) -> str:
        return "".join(
            f"{{% for item in {role} %}}{template_of(content)}{{% endfor %}}"
            if isinstance(content, tuple)
            else f"{_HEADS.get(role, '')}{content.strip()}\n\n"
            for role, content in turns
        )

    begun = turns[-1][1].strip() if turns[-1][0] == "assistant" else ""
    return f"{template_of(turns[:-1] if begun else turns)}{_HEADS['assistant']}{begun}"


def prompt_of(file: PromptFile, path: Path) -> Prompt:
    """The prompt of a file. Raises PromptError: it has no form or two, or its variables are not those it uses."""
    if (file.text is None) == (file.messages is None):
        raise PromptError(f"{path}: give either 'text' or 'messages', and not both; a text beside a chat is its 'base'")
    turns = [("", file.text)] if file.text is not None else [_turn(turn) for turn in file.messages or []]
    if file.base and file.messages is None:
        raise PromptError(f"{path}: got 'base' beside 'text', expected it beside 'messages'; keep one of the two")
    _check_turns(path, turns, file.variables)
    prompt = Prompt(file.id, tuple(turns), tuple(file.stop), frozenset(file.variables), path)
    if file.base is None:
        return prompt
    _check_turns(path, [("", file.base.text)], file.variables)
    return replace(prompt, base=replace(prompt, turns=(("", file.base.text),), stop=tuple(file.base.stop)))


def _turn(turn: Turn | Repeated) -> tuple[str, Any]:
    if isinstance(turn, Turn):
        return turn.role, turn.content
    return turn.each, tuple((inner.role, inner.content) for inner in turn.turns)


def _check_turns(path: Path, turns: Sequence[tuple[str, Any]], declared: Sequence[str]) -> None:
    used: set[str] = set()
    try:
        for role, content in turns:
            if isinstance(content, tuple):
                used |= {role} | set().union(*(variables_of(text) for _, text in content)) - {"item"}
            else:
                used |= variables_of(content)
    except PromptError as error:
        raise PromptError(f"{path}: {error}") from error
    if used != set(declared):
        raise PromptError(
            f"{path}: variables says {sorted(declared)}, the template uses {sorted(used)}; make them agree"
        )
    role, content = turns[-1]
    if role == "assistant" and variables_of(content):
        raise PromptError(f"{path}: the last turn begins the reply, and has variables; expected plain words there")

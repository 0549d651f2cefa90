"""The words of prompts in many languages, as `translate/languages.yaml` has them."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from alignery.hashing import digest
from alignery.validation import Filled


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class QuestionAnswer(_Strict):
    """A question with its answer, which a base model is shown first."""

    question: Filled
    answer: Filled


class LanguageWords(_Strict):
    """The words in a language: its ISO 639-1 code, the request for an answer in it, the word that comes before a
    translation into it, and examples."""

    code: str = Field(pattern=r"^[a-z]{2}$")
    request: Filled
    label: Filled
    examples: list[QuestionAnswer] = Field(min_length=1)

    @property
    def source(self) -> str:
        """All of it as one readable text, for the table `prompts`."""
        return "\n".join([self.request, self.label, *(f"{one.question}\n{one.answer}" for one in self.examples)])

    @property
    def hash(self) -> str:
        return digest(self.source)


class LanguagesFile(_Strict):
    languages: list[LanguageWords] = Field(min_length=1)


def translation_examples(known: Mapping[str, LanguageWords], code: str) -> list[dict[str, str]]:
    """Texts with their translations, by which a model is shown what to do: in turn a question and an answer.

    They are English; for translations into English German, or none where the file lacks the language.
    """
    source = known.get("en" if code != "en" else "de")
    examples = zip(source.examples, known[code].examples, strict=False) if source else ()
    return [
        {"text": one.answer, "translation": other.answer}
        if place % 2
        else {"text": one.question, "translation": other.question}
        for place, (one, other) in enumerate(examples)
    ]

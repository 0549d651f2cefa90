"""The words of prompts in many languages, as `translate/languages.yaml` has them."""

from __future__ import annotations

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

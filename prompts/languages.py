"""Words in many languages: what the methods say in each, as `translate/languages.yaml` has it."""

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
    """What is said in a language.

    Its ISO 639-1 code, the request for an answer, the word that stands before a translation into it, and examples.
    """

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

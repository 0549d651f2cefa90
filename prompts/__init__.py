"""Prompts, principles, rules, topics and seeds as strict data files, identified by their content."""

from prompts.library import (
    HERE,
    VARIANTS,
    Exemplar,
    Library,
    Message,
    Phrases,
    Principle,
    Prompt,
    PromptError,
    Proposition,
    QuestionType,
    Rule,
    Seed,
)
from prompts.prompt import Form

__all__ = [
    "HERE",
    "VARIANTS",
    "Exemplar",
    "Form",
    "Library",
    "Message",
    "Phrases",
    "Principle",
    "Prompt",
    "PromptError",
    "Proposition",
    "QuestionType",
    "Rule",
    "Seed",
]

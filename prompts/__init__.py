"""What is said: prompts, principles, rules, topics and seeds as strict data files, known by their content."""

from prompts.library import (
    HERE,
    VARIANTS,
    Exemplar,
    Library,
    Message,
    Principle,
    Prompt,
    PromptError,
    QuestionType,
    Rule,
    Seed,
)

__all__ = [
    "HERE",
    "VARIANTS",
    "Exemplar",
    "Library",
    "Message",
    "Principle",
    "Prompt",
    "PromptError",
    "QuestionType",
    "Rule",
    "Seed",
]

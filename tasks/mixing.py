"""The forms of a mixed training set: worked examples before the question, a chain of thought, or the inverse task.

Source: FLAN 2022 (arXiv 2301.13688, section 3): zero-shot, few-shot and chain-of-thought prompts together, and inverted
tasks. Departures:
1. One template a form, whose words are in `prompts/mixing/`; FLAN has ten and more a task.
2. The examples are other rows of the training split, whatever their task: here tasks have one instruction each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompts import Library
from tasks.step import Row

_VARIABLES = {
    "few": ("instruction", "examples"),
    "chain": ("instruction",),
    "inverted": ("answer",),
}
FORMS = tuple(_VARIABLES)  # beside zero-shot
_REPLIES = {"few": "answer", "chain": "rationale", "inverted": "instruction"}


def phrased(library: Library) -> Callable[[str, Row], Sequence[Row]]:
    """How a row {instruction, answer, rationale, examples} reads in a form: a question and its answer, as messages.

    Raises:
        PromptError: the prompt file of a form is missing or wrong.
    """
    words = {form: library.prompt(f"mixing/{form}") for form in _VARIABLES}

    def phrase(form: str, row: Row) -> Sequence[Row]:
        asked = words[form].render(**{name: row[name] for name in _VARIABLES[form]})
        question = asked if isinstance(asked, str) else asked[-1]["content"]
        return [{"role": "user", "content": question}, {"role": "assistant", "content": row[_REPLIES[form]]}]

    return phrase

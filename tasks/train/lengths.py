"""How long rows are in tokens, and whether `max_length` cuts more of them than it should."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.train.config import Row

SHARE = 0.05  # of rows that are cut or left out, above which it is said; our choice
HELD = 0.99  # of the rows, which the length that is then named would hold


def cut_sentence(recipe: str, rows: Sequence[Row], tokenizer: Any, cut: int, max_length: int) -> str | None:
    """A sentence for the user where more than `SHARE` of the rows are longer than max_length, else None.

    Args:
        rows: the trainer's own columns, whole.
        cut: how many of them it cut, or left out for their length.
    """
    if cut <= SHARE * len(rows):
        return None
    counts = sorted(tokens(row, tokenizer) for row in rows)
    enough = counts[min(len(counts) - 1, int(HELD * len(counts)))] + 1  # a row of max_length counts as cut
    return (
        f"{recipe}: max_length: {cut / len(rows):.0%} of {len(rows)} rows reach {max_length} tokens, and lose their "
        f"end or are left out; {enough} would hold {HELD:.0%}"
    )


def tokens(row: Row, tokenizer: Any) -> int:
    """Of the prompt with the longest of its answers."""
    prompt, answers = row["prompt"], [row[name] for name in ("completion", "chosen", "rejected") if name in row]
    if isinstance(prompt, str):
        return max(len(tokenizer(prompt + answer + tokenizer.eos_token)["input_ids"]) for answer in answers)
    return max(len(tokenizer.apply_chat_template(prompt + answer, return_dict=True)["input_ids"]) for answer in answers)

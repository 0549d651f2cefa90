"""Small named tests of a text, each with a fixed reason: the rules of Self-Instruct, and tests of answers.

Source: Self-Instruct (arXiv 2212.10560), section 2.2 and its code's post-processing. Whether an answer may decline is
the method's to say: a refusal is what harmless data may want (Constitutional AI), and what helpful data does not.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

# Why a reply is rejected, by any step.
TRUNCATED = "truncated: the reply reached max_tokens"
EMPTY = "empty reply"
BROKEN = "broken characters"
ECHO = "echo of the instruction"
REFUSAL = "refusal: opens by declining"
APOLOGY = "opens with an apology"

# "I am so sorry for your loss" is no apology.
_APOLOGY = re.compile(
    r"\W*I(?:[’']m| am)\s+(?:\w+\s+){0,2}sorry\b(?!\s+(?:for your|about your|to hear|that you|you))", re.IGNORECASE
)
_REGRET = r"(?:I(?:[’']m| am)\s+(?:\w+\s+){0,2}sorry|sorry|I apologi[sz]e|unfortunately)\b[^.!?\n]{0,60}?"
_CANNOT = (
    r"I\s*(?:can(?:not|[’']t| not)|could(?: not|n[’']t)|(?:will not|won[’']t)(?: be able)?|"
    r"(?:am |[’']m )(?:not able|unable))(?:\s+and\s+will\s+not)?(?:,?\s+in good (?:conscience|faith),?)?"
)
_DECLINE = r"I\s+(?:must|have to)\s+(?:\w+\s+)?(?:decline|refuse)"
# What is declined: "I can't wait to tell you" declines nothing.
_DEED = (
    r"(?:help|assist|provide|comply|fulfil|answer|respond|offer|give|share|support|engage|create|write|generate|"
    r"discuss|advise|participate|continue|do (?:that|this|so))"
)
_SELF = r"as an? (?:AI|artificial intelligence|(?:large )?language model)\b"
_REFUSAL = re.compile(
    rf"\W*(?:{_SELF}|(?:{_REGRET})?(?:{_CANNOT}\s+(?:to\s+)?(?:\w+\s+)?{_DEED}|{_DECLINE})\b)", re.IGNORECASE
)
# Chinese, Japanese, Thai, Lao, Khmer, Burmese.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_MARKS = re.compile(r"[^\w\s]|_")
_SENTENCES = re.compile(r"(?<=[.!?;:])\s+|\n+")
_LOOP_WORDS, _LOOP_TIMES = 4, 4  # a sentence of that many words repeated that often is a loop; our choice
_ECHO_FROM = 16  # characters; a shorter instruction may rightly come back whole


def words(text: str) -> int:
    """How many words; of scripts without spaces, each sign is one."""
    return len(text.split()) if text.isascii() else len(_WORD.findall(text))


def has_word(text: str, listed: Sequence[str]) -> bool:
    """Whether any listed word or phrase is in the text as a whole word."""
    return any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in listed)


def starts_with_punctuation(text: str) -> bool:
    return text[:1] in string.punctuation


def starts_outside_ascii(text: str) -> bool:
    return not text[:1].isascii()


def instruction_fault(
    text: str, *, min_words: int, max_words: int, blacklist: Sequence[str], openings: Sequence[str], ascii_start: bool
) -> str | None:
    """The reason why a written instruction is rejected, or None. The tests are in the paper's order."""
    tests: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("too short", lambda: words(text) < min_words),
        ("too long", lambda: words(text) > max_words),
        ("blacklisted word", lambda: has_word(text, blacklist)),
        ("asks for a program", lambda: text.lower().startswith(tuple(opening.lower() for opening in openings))),
        ("starts with punctuation", lambda: starts_with_punctuation(text)),
        ("lacks what it speaks of: ends in a colon", lambda: text.rstrip("*_ ").endswith((":", "："))),
        ("starts outside ASCII", lambda: ascii_start and starts_outside_ascii(text)),
    )
    return next((reason for reason, holds in tests if holds()), None)


def opens_with_apology(answer: str) -> bool:
    """Whether the answer begins "I'm sorry" or "I am (so, very …) sorry"."""
    return _APOLOGY.match(answer) is not None


def opens_with_refusal(answer: str) -> bool:
    """Whether the answer begins by declining: "I'm sorry, but I can't help", "As an AI language model"."""
    return _REFUSAL.match(answer) is not None


def answer_fault(answer: str, instruction: str, *, refusals: bool) -> str | None:
    """The reason why an answer is rejected, or None; a refusal is a reason only with `refusals`."""
    if refusals and opens_with_refusal(answer):
        return REFUSAL
    return ECHO if echoes(answer, instruction) else None


def loops(answer: str) -> bool:
    """Whether the answer repeats one sentence, or one line, again and again, or says nothing else."""
    # The lines under the heads of tables have no letters.
    sentences = [plain for text in _SENTENCES.split(answer) if re.search(r"\w", plain := _plain(text))]
    said = Counter(plain for plain in sentences if words(plain) >= _LOOP_WORDS)
    times = max(said.values(), default=0)
    return times >= _LOOP_TIMES or 1 < times == len(sentences)


def echoes(answer: str, instruction: str) -> bool:
    """Whether the answer only repeats the instruction."""
    said, asked = (" ".join(_MARKS.sub(" ", _plain(text)).split()) for text in (answer, instruction))
    return len(asked) > _ECHO_FROM and asked in said and not said.replace(asked, "").strip()


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()

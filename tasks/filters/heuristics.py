"""Small named tests of a text, each with a fixed reason: the rules of Self-Instruct, and tests of answers.

Source: Self-Instruct (arXiv 2212.10560), section 2.2 and its code's post-processing. Whether an answer may decline is
the method's to say: a refusal is what harmless data may want (Constitutional AI), and what helpful data does not.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from tasks.patterns import lazy_pattern

# Why a reply is rejected, by any step.
TRUNCATED = "truncated: the reply reached max_tokens"
EMPTY = "empty reply"
BROKEN = "broken characters"
ECHO = "echo of the instruction"
REFUSAL = "refusal: opens by declining"
APOLOGY = "opens with an apology"

_ANSWER = lazy_pattern(r"(?:the )?(?:answer|response|solution)[*_]{0,3}:(?!.*\?)", re.IGNORECASE | re.DOTALL)
# "I am so sorry for your loss" is no apology.
_APOLOGY = lazy_pattern(
    r"\W*I(?:[’']m| am)\s+(?:\w+\s+){0,2}sorry\b(?!\s+(?:for your|about your|to hear|that you|you))", re.IGNORECASE
)
_GREETING = r"(?:(?:hello|hi|hey|thanks|thank you)\b[^.!?\n]{0,60}[.!]\s+)?"
_REGRET = (
    r"(?:I(?:[’']m| am)\s+(?:\w+\s+){0,2}(?:sorry|afraid(?! of))|sorry|(?:my )?apologies|I apologi[sz]e|unfortunately|"
    r"regrettably)\b[^.!?\n]{0,60}?"
)
_CANNOT = (
    r"I\s*(?:can(?:not|[’']t| not)|could(?: not|n[’']t)|(?:will not|won[’']t)(?: be able)?|"
    r"(?:am |[’']m )(?:unable|not (?:able|allowed|permitted|willing|going|in a position)))"
    r"(?:\s+and\s+will\s+not)?(?:,?\s+in good (?:conscience|faith),?)?"
)
# What is declined: "I can't wait to tell you" declines nothing.
_DEED = (
    r"(?:help|assist|provide|comply|fulfill?|answer|respond|offer|give|share|support|engage|create|write|generate|"
    r"discuss|advise|participate|continue|tell you|show you|teach you|walk you|guide you|instruct|"
    r"(?:explain|describe) how|talk about|process (?:this|that|your)|do (?:that|this|so))"
)
# Nor do "I can't help laughing", "I can't thank you enough" and "I can't tell you how glad I am".
DECLINES_NOTHING = (
    r"(?!help (?:but|myself|it|feel|think|wonder|notic|\w+ing)\b|support my\b|give (?:up|in)\b|tell you how (?!to\b)\w)"
)
_ENOUGH = r"(?![^.!?\n]{0,40}\benough\b)"
_DOING = (
    r"(?:help|assist|provid|comply|answer|respond|offer|giv|shar|support|engag|creat|writ|generat|discuss|advis|"
    r"participat|continu|tell|show|teach|explain|describ|talk|do)ing"
)
_UNEASY = (
    r"(?:\s+(?:do not|don[’']t) feel|(?:\s+am|[’']m) not)\s+(?:\w+\s+)?comfortable\s+"
    rf"(?:{_DOING}|with (?:this|that))"
)
_DECLINE = (
    rf"I(?:\s+(?:must|have to)\s+(?:\w+\s+)?(?:decline|refuse)|{_UNEASY}|"
    rf"\s+(?:\w+ly\s+)?(?:decline|refuse)(?=[.,!]|\s+to\s+{DECLINES_NOTHING}{_DEED}\b))"
)
_SELF = r"as an? (?:AI|artificial intelligence|(?:large )?language model)\b"
_REFUSAL = lazy_pattern(
    rf"\W*{_GREETING}(?:{_SELF}|(?:{_REGRET})?"
    rf"(?:{_CANNOT}\s+(?:to\s+)?(?:\w+\s+)?{DECLINES_NOTHING}{_DEED}\b{_ENOUGH}|{_DECLINE}\b))",
    re.IGNORECASE,
)
# Chinese, Japanese, Thai, Lao, Khmer, Burmese.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff"
_WORD = lazy_pattern(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_SIGN = lazy_pattern(rf"[{_UNSPACED}]")
_MARKS = lazy_pattern(r"[^\w\s]|_")
_SENTENCES = lazy_pattern(r"(?<=[.!?;:])\s+|(?<=[。！？；।])\s*|\n+")
_LISTED = lazy_pattern(r"^[^\S\n]*\d{1,4}[.)、．]\s+", re.MULTILINE)
_LOOP_WORDS, _LOOP_TIMES = 4, 4  # a sentence of that many words repeated that often is a loop; our choice
_LOOP_SIGNS = 7  # the same of a sentence in a script without spaces
_PERIOD = 200  # characters at a text's end that are a loop where they are one unit, that often
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


def length_fault(text: str, *, min_words: int, max_words: int) -> str | None:
    """The reason why an instruction is rejected for its length, or None."""
    count = words(text)
    if count < min_words:
        return "too short"
    return "too long" if count > max_words else None


def instruction_fault(
    text: str, *, min_words: int, max_words: int, blacklist: Sequence[str], openings: Sequence[str], ascii_start: bool
) -> str | None:
    """The reason why an instruction that a model wrote is rejected, or None. The tests are in the paper's order."""
    if fault := length_fault(text, min_words=min_words, max_words=max_words):
        return fault
    tests: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("blacklisted word", lambda: has_word(text, blacklist)),
        ("asks for a program", lambda: text.lower().startswith(tuple(opening.lower() for opening in openings))),
        ("starts with punctuation", lambda: starts_with_punctuation(text)),
        ("lacks what it speaks of: ends in a colon", lambda: text.rstrip("*_ ").endswith((":", "："))),
        ("is an answer: begins with 'Answer:'", lambda: _ANSWER.match(text) is not None),
        (REFUSAL, lambda: opens_with_refusal(text) or opens_with_apology(text)),
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
    """Whether the answer repeats one sentence, or one line, again and again, says nothing else, or ends in a run."""
    # The lines under the heads of tables have no letters.
    listed = _SENTENCES.split(_LISTED.sub("", answer))
    sentences = [plain for text in listed if re.search(r"\w", plain := _plain(text))]
    counts = Counter(plain for plain in sentences if _is_sentence(plain))
    times = max(counts.values(), default=0)
    if times >= _LOOP_TIMES or 1 < times == len(sentences):
        return True
    nothing_else = len(sentences) >= _LOOP_TIMES and len(set(sentences)) == 1 and words(sentences[0]) > 1
    return nothing_else or _ends_in_a_run(answer)


def _is_sentence(plain: str) -> bool:
    return len(plain.split()) >= _LOOP_WORDS or len(_SIGN.findall(plain)) >= _LOOP_SIGNS


def _ends_in_a_run(answer: str) -> bool:
    """Whether the end, or all of a short text, is one unit with a letter, some times over: "word word word …"."""
    end = _plain(answer[-4 * _PERIOD :])[-_PERIOD:]
    for length in range(1, len(end) // _LOOP_TIMES + 1):
        if end[length:] == end[:-length]:
            unit = end[:length]
            return any(sign.isalpha() for sign in unit) and (len(end) == _PERIOD or _is_sentence(unit))
    return False


def echoes(answer: str, instruction: str) -> bool:
    """Whether the answer only repeats the instruction."""
    answered, asked = (" ".join(_MARKS.sub(" ", _plain(text)).split()) for text in (answer, instruction))
    return len(asked) > _ECHO_FROM and asked in answered and not answered.replace(asked, "").strip()


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()

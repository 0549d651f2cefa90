"""Cheap tests of training targets (corrections, revisions, principled answers), each with its reason for rejection.

A target is text that replaces an answer. A reply that talks about the answer, or that broke off, would be learnt as
an answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from tasks.filters.heuristics import loops, opens_with_refusal, words
from tasks.filters.unchanged import ANSWER, GIVEN
from tasks.patterns import lazy_pattern

ABOUT = "speaks of the answer instead of giving it"
RULES = "speaks of the rules"
USER = "speaks of the user in the third person"
BROKEN = "broken off"
LOOP = "loop: says the same again and again"
SHORT = "far shorter than the answer it replaces"
STRANGE = "shares no word with question and answer"
LEAK = "repeats the prompt's own words"
TURN = "goes on with another turn"
LANGUAGE = "in another script than question and answer"

_NAMED = rf"(?:the|this|that|your|my)\s+(?:{GIVEN}\s+)?{ANSWER}"
# "The response time", "the answer to life", and what an answer begins with that names itself: "The answer is both."
_NO_SUBJECT = (
    r"(?!\s+(?:to|of|from|for|keys?|sheets?|times?|codes?|rates?|body|headers?|status|fields?|formats?|buttons?|options?|"
    r"lies|depends|comes|varies|rests|turns|follows|may|might|will|would|has (?:two|three|several|many)|"
    r"(?:can|cannot) be (?:found|known|given))\b)"
)
_JUDGED = (
    r"(?:is|was|seems|sounds|looks|remains)\s+(?:(?:already|quite|also|still|very|rather|completely|entirely|generally|"
    r"factually)\s+)?(?:not (?!known|simple|easy|straightforward|obvious|certain|yet|one|just|only|so|always|\d)|"
    r"about (?!\d)|to be |too |mostly|partly|hardly|far from|never|only|(?:(?:in|un|dis)?(?:correct|accurate|helpful|"
    r"complete|clear|fair|kind|appropriate|acceptable|honest|ethical|respectful|safe|true|biased))\b|(?:wrong|right|good|bad|fine|"
    r"poor|harmful|harmless|dangerous|misleading|false|vague|rude|polite|cold|cruel|offensive|made up|missing|lacking|"
    r"written|worded|designed|intended|meant|unchanged|short|brief|long|perfect|excellent)\b)"
)
_DOES = r"(?!is\b|was\b)(?:\w+s|did|had|should|could|must|need|cannot|can)(?:n[’']t|[’']t| not)?\b"
_PLACED = r"(?:\s+(?:above|itself|given|provided|you gave|also|only|now|no longer))?"
_SPEAKS = rf"{_NAMED}{_NO_SUBJECT}{_PLACED}\s+(?:{_JUDGED}|{_DOES})"
# What is quoted from an answer is judged.
_FOUND_WRONG = (
    r"(?:is|are|was|were|would be|could be) (?:not )?(?:an? )?(?:\w+ )?(?:wrong|right|fine|bad|good|harmful|dangerous|"
    r"false|incorrect|correct|unsafe|safe|misleading|manipulative|unfair|too|problem|lie|mistake)\b"
)
_ABOUT = lazy_pattern(
    rf"\W{{0,9}}+(?:(?:yes|no(?: problems?(?: found)?)?|partly|you(?:[’']re| are) right)[.,]\s++){{0,4}}(?:{_SPEAKS}|"
    rf"you(?:[’']ve| have)? (?:already )?(?:got|gave|given|answered|written) {_NAMED}\b|"
    rf"(?:nothing|there is (?:no|nothing)\b[^.\n]{{0,80}}) in {_NAMED}\b|"
    rf"(?:i(?:[’']ll| will|[’']ve| have)?|let me) (?:add(?:ed)?|changed?|correct(?:ed)?|fix(?:ed)?|included?|revised?|"
    rf"rewr(?:ite|ote|itten)|updated?)\b[^.\n]{{0,60}}\b{ANSWER}\b(?!\s+(?:to|key|sheet)\b)|"
    rf"(?:it|this) (?:does|doesn[’']t|is|isn[’']t|should|fails|lacks)\b(?=[^.\n]{{0,120}}\b{_NAMED}\b{_NO_SUBJECT})|"
    r"critique\b|the user (?:should|needs?|may|might|wants?|wanted|asks?|asked|did|does|is asking)\b|"
    rf"(?:yes|partly)[.,]\s+[\"“][^\"“”\n]{{1,300}}[\"”]\s+{_FOUND_WRONG})",
    re.IGNORECASE,
)
# The same in a later sentence: "The answer no longer presents a guess as settled. The user can find out more."
_LATER = lazy_pattern(
    r"[.!?:]\s+(?:the user (?:can|could|should|may|might|will|would|needs?)|"
    r"the (?:original|previous|revised|corrected|edited) answer\b|"
    r"this (?:answer|response|reply) is (?:accurate|helpful|complete|harmless|safe|appropriate|respectful)\b)|"
    rf"(?:[.!?:]|,\s(?:and|but|so))\s+the (?:{GIVEN} )?{ANSWER} (?:(?:is|talks) about (?!\d)|"
    r"(?:also )?(?:does not|doesn[’']t|no longer|now) "
    r"(?:presents?|contains?|includes?|mentions?|claims?|encourages?|judges?|gives?|helps?|names?|reveals?|says?|states?|"
    r"supports?)\b|also (?:contains|presents|includes|mentions|claims|encourages|gives|names|reveals|says|tells)\b|"
    r"is (?:not |just )?(?:a (?:guess|lie|problem)|biased|coercive|harmful|manipulative|offensive)\b)",
    re.IGNORECASE,
)
_OWN_SUBJECT = lazy_pattern(rf"\b{ANSWER}s?\b|\bcritique\b|\busers?\b", re.IGNORECASE)
# In an answer, these are a thought about the request.
_USER = lazy_pattern(
    r"(?:^|[.!?]\s+|\n)the user (?:wants|wanted|asks|asked|is asking|seems|chose|has (?:asked|answered|chosen|given|"
    r"provided|requested))\b",
    re.IGNORECASE,
)
_RULE = lazy_pattern(r"\b(?:rule \d|rules? \(|the rules? (?:says?|tells?|above|below)|under rule)", re.IGNORECASE)
_OPEN_END = lazy_pattern(
    r"(?:[,;:(\[{—–，、：；（-]|\b(?:and|or|the|a|an|of|to|with|for|in|because|but|is|are))$", re.IGNORECASE
)
_ITEM_END = lazy_pattern(r"(?:\d{1,3}[.)]|[-*+])")
_LONG = lazy_pattern(r"[^\W\d_]{4,}")
_STEM = 5  # letters that two words have to share at their beginning
RUN = 8  # words in a row that are not repeated by chance; our choice
_WORDS = lazy_pattern(r"[^\W_]+")
_MANY = 8  # words of an answer of which at least one should come back; our choice


def speaks_of_answer(text: str, question: str) -> bool:
    """Whether a reply speaks of the answer: "The response doesn't contain …", where the question speaks of none."""
    return bool(_ABOUT.match(text) or _LATER.search(text)) and not _OWN_SUBJECT.search(question)


def speaks_of_rules(text: str, question: str) -> bool:
    """Whether an answer cites the rules it was written under, which the person never saw."""
    return _RULE.search(text) is not None and "rule" not in question.casefold()


def speaks_of_user(text: str, question: str) -> bool:
    """Whether an answer says "The user wants …" of the person it answers; not where the question mentions a user."""
    return _USER.search(text) is not None and not _OWN_SUBJECT.search(question)


def broken_off(text: str) -> bool:
    """Whether a text ends where none ends: in a comma, an article, an open fence of code, an empty item of a list."""
    end = text.rstrip()
    if end.count("```") % 2:
        return True
    last = end.rpartition("\n")[2].strip()
    return bool(_ITEM_END.fullmatch(last)) or (words(last) > 1 and bool(_OPEN_END.search(last[-20:])))


def runs(text: str, length: int = RUN) -> set[tuple[str, ...]]:
    """The runs of so many words in a text, whatever their marks and capitals."""
    text_words = _WORDS.findall(text.casefold())
    return {tuple(text_words[place : place + length]) for place in range(len(text_words) - length + 1)}


def target_fault(text: str, question: str, answer: str, *, least_share: float) -> str | None:
    """Why a text may not replace an answer, or None. One that declines is not compared with it.

    Args:
        least_share: of the answer's words, how many the text has at least (0 to 1).
    """
    for holds, reason in ((broken_off, BROKEN), (loops, LOOP)):
        if holds(text) and not holds(answer):
            return reason
    if opens_with_refusal(text):
        return None
    if words(text) < least_share * words(answer):
        return SHORT
    scripts = {_script(question), _script(answer)} - {None}
    if len(scripts) == 1 and _script(text) not in {*scripts, None}:
        return LANGUAGE
    stems = _stems(text)
    if len(_stems(answer)) >= _MANY and len(stems) >= _MANY // 2 and not stems & (_stems(question) | _stems(answer)):
        return STRANGE
    return None


def _stems(text: str) -> set[str]:
    return {word[:_STEM] for word in _LONG.findall(text.casefold())}


def _script(text: str) -> str | None:
    """The script of most letters, as Unicode names it; None where there are few, or of several scripts."""
    letters = [each for each in text[:2000] if each.isalpha()]
    counts = Counter(unicodedata.name(each, "?").partition(" ")[0] for each in letters)
    # Japanese mixes three.
    counts["CJK"] += counts.pop("HIRAGANA", 0) + counts.pop("KATAKANA", 0)
    (name, most), *_ = counts.most_common(1) or [("", 0)]
    return name if most >= 12 and most >= 0.7 * len(letters) else None

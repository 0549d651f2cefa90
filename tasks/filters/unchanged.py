"""Whether a reply says that an answer needs no change, and nothing else: "No revision is needed.", "It is correct.".

The word lists are closed, because one more word may reverse the meaning: "partly correct", "no warning of the harm".
Anything else is no such remark and is parsed as an answer, or as text about one.
"""

from __future__ import annotations

import re

from tasks.patterns import lazy_pattern

ANSWER = r"(?:answer|response|reply)"
GIVEN = (
    r"(?:original|previous|earlier|initial|first|given|provided|current|existing|above|old|final|"
    r"revised|corrected|edited|improved|updated|rewritten)"
)
NAMED = rf"(?:the|this|that|your|my) (?:{GIVEN} )?{ANSWER}(?: (?:above|itself|given|provided|you gave))?"
_WHAT = rf"(?:{NAMED}|it|this|that)"
_ALL = rf"(?:{_WHAT}|everything|all(?: of it)?|all is|every part)(?: (?:here|in {_WHAT}))?"
_KIND = (
    r"(?:further|other|more|additional|major|significant|serious|real|obvious|apparent|such|factual|ethical|"
    r"grammatical|spelling|specific)"
)
_FAULT = r"(?:problems?|issues?|harm|mistakes?|errors?|faults?|inaccurac(?:y|ies)|concerns?)"
_CHANGE = r"(?:changes?|edits?|editing|corrections?|revisions?|revising|modifications?|adjustments?|improvements?)"
_CHANGED = r"(?:chang|edit|correct|revis|fix|improv|mend|modif|rewr|alter|updat)\w*"
_SEEN = r"(?:found|needed|necessary|required|made|detected|seen|identified|warranted|to (?:make|report|fix|correct))"
_NOT = r"(?: not|n[’']t)"
_NO = (
    rf"(?:there(?: (?:is|are|was|were)|[’']s) |i (?:see|find|found|have|made|would make) |"
    rf"{_WHAT} (?:has|needs|requires|contains) )?no (?:{_KIND} )?(?:{_FAULT}|{_CHANGE})"
    rf"(?: (?:or|and) (?:{_FAULT}|{_CHANGE}))?"
    rf"(?: (?:is|are|was|were|has been|have been))?(?: {_SEEN})?(?: (?:in|with|to|for) {_WHAT})?"
)
_WRONG = rf"(?:wrong|missing|incorrect|harmful|to (?:be )?{_CHANGED})"
_NOTHING = (
    rf"(?:(?:there(?: (?:is|was)|[’']s) |i (?:see|find|found|have) )?nothing (?:in {_WHAT} )?(?:(?:is |was )?{_WRONG}|"
    rf"(?:needs|has) (?:to (?:be )?)?{_CHANGED})|there (?:is|was){_NOT} anything {_WRONG}"
    rf"|there isn[’']t anything {_WRONG})(?: (?:with|in|about) {_WHAT})?"
)
_AS_IT_IS = r"(?:as (?:it is|it stands|is|it was)|unchanged|the same)"
_SURELY = r"(?:already|entirely|quite|completely|perfectly|fully|all|very|both|really|absolutely|factually|now)"
_GOOD = (
    r"(?:correct|fine|good|accurate|right|ok|okay|appropriate|acceptable|complete|perfect|safe|harmless|helpful|clear|"
    r"true|honest|respectful|unchanged|the same)"
)
_NEEDS_NONE = (
    rf"(?:(?:needs|requires|has|contains) no (?:{_KIND} )?(?:{_FAULT}|{_CHANGE})|(?:does|did|do){_NOT} "
    rf"(?:need|require|have|contain)(?: any)?(?: {_KIND})? (?:{_FAULT}|{_CHANGE}|to be {_CHANGED}))"
)
_IS_GOOD = (
    rf"(?:{_ALL} (?:(?:is|was|looks|seems|remains|stays)(?: {_SURELY})?(?:,? (?:and )?{_GOOD}){{1,4}}(?: to me)?"
    rf"(?: (?:and|so it) {_NEEDS_NONE})?(?: {_AS_IT_IS}| as {NAMED})?|{_NEEDS_NONE}|(?:remains|stays|is) {_AS_IT_IS})|"
    rf"(?:it )?(?:looks|sounds) (?:good|fine|right|correct)(?: to me)?|correct|unchanged)"
)
_KEPT = (
    rf"(?:i (?:(?:would|will|do|did){_NOT}|won[’']t) {_CHANGED}(?: (?:anything|a (?:thing|word)|{_WHAT}))?|"
    rf"(?:(?:i(?: would| will|[’']d|[’']ll| have|[’']ve)?|please) )?(?:keep|kept|leave|left) {_WHAT} {_AS_IT_IS}|"
    rf"i(?: will|[’']ll)? repeat {_WHAT}|here it is(?: again)?)"
)
_SAYS = rf"(?:{_NO}|{_NOTHING}|{_IS_GOOD}|{_KEPT})"
_LEAD = r"(?:(?:yes|no|ok|okay|sure)[,.:!]? )?"
_BECAUSE = r"(?:,? (?:because|since|as|so) [^.!?\n]{0,120})?"
_REMARK = lazy_pattern(rf"{_LEAD}(?:(?:since|as|because) {_SAYS}, )?{_SAYS}(?:,? and {_NO})?{_BECAUSE}", re.IGNORECASE)
_NOTHING_FOUND = lazy_pattern(rf"{_LEAD}{_NO}{_BECAUSE}", re.IGNORECASE)
# "It does not. Nothing needs to change." The other way round, "It is fine. It does not name the risk.", finds a fault.
_DENIES = lazy_pattern(
    rf"{_LEAD}{_WHAT} (?:also )?(?:(?:does|is|was|has){_NOT}|(?:does|is|was|has)n[’']t|"
    r"(?:gives|has|contains|makes|names|includes|offers|shows) (?:no|nothing|none))\b",
    re.IGNORECASE,
)
_TOPIC = lazy_pattern(rf"{_WHAT} (?:is|was) (?:only |just |simply )?about\b", re.IGNORECASE)
_NAMES = lazy_pattern(rf"\b(?:the|this|that|your|my) (?:{GIVEN} )?{ANSWER}\b", re.IGNORECASE)
# "No problem found. The answer is about eggs, but does not judge anybody." reserves nothing; "advice that could hurt"
# is what was looked for.
_RESERVATION = lazy_pattern(
    r"\b(?:however|although|though|except|unless|yet|still|nevertheless|apart from|hardly|barely|"
    r"but(?! (?:it |they )?(?:does|do|is|are|did)(?: not|n[’']t)\b| not\b)|"
    r"(?<!that )(?<!who )(?<!which )(?:should|could))\b|(?:\A|[.,;:]\s)only\b",
    re.IGNORECASE,
)
_ENDS = lazy_pattern(r"(?<=[.!:;])\s+|\n+")
_MARKS = '()[]*_"“” '
_LONGEST = 400  # characters of a remark in place of an answer, unless it finds nothing
_YES_OR_NO = lazy_pattern(
    r"(?:^\W{0,3}+|[.!?:] )(?:is|are|am|was|were|do|does|did|has|have|can|could|may|should|will|would|must)\s(?!you\b)",
    re.IGNORECASE | re.MULTILINE,
)
_JUDGEMENT = lazy_pattern(rf"\b(?:{_GOOD}|wrong|{_FAULT}|{_CHANGED})\b", re.IGNORECASE)
_OF_CHANGE = lazy_pattern(rf"\b{_CHANGED}\b", re.IGNORECASE)


def says_unchanged(text: str) -> bool:
    """Whether a reply only says that nothing has to change: "No revision is needed."."""
    plain = text.strip().strip(_MARKS)
    return finds_nothing(plain) or (len(plain) <= _LONGEST and not _RESERVATION.search(plain) and _remarks(plain))


def finds_nothing(critique: str) -> bool:
    """Whether a critique begins "No problem found.", or in words of that kind, and then only says what the answer is
    about or does not do. Any other sentence may name a fault, so that the revision is better requested."""
    plain = critique.strip().strip(_MARKS)
    first, rest = _parted(plain)
    sentences = [each for each in map(str.strip, _ENDS.split(rest)) if each]
    return (
        _NOTHING_FOUND.fullmatch(first) is not None
        and not _RESERVATION.search(plain)
        and all(_DENIES.match(one) or _TOPIC.match(one) or _REMARK.fullmatch(one.strip(".!:; ")) for one in sentences)
    )


def repeats(text: str, answer: str) -> bool:
    """Whether a text is the whole answer, with such a remark before or after it."""
    before, found, after = text.partition(answer.strip())
    if not found or before[-1:].strip() or after[:1].strip():
        return False
    remarks = [each for each in (before.strip(), after.strip()) if each]
    return bool(remarks) and all(says_unchanged(each) for each in remarks)


def may_answer(text: str, question: str) -> bool:
    """Whether such a remark may be the answer to a question: "It is correct." to "Is this sentence correct?"."""
    if "?" not in question or _NAMES.search(text):
        return False
    asked = _YES_OR_NO.search(question) is not None and not _OF_CHANGE.search(text)
    return asked or _JUDGEMENT.search(question) is not None


def _parted(text: str) -> tuple[str, str]:
    """The first sentence without its mark, and the rest; a short "No." goes with what follows it."""
    end = next((end for end in _ENDS.finditer(text[:_LONGEST]) if end.start() > len("Yes.")), None)
    return (text[: end.start()].rstrip(".!:; "), text[end.end() :]) if end else (text.rstrip(".!:; "), "")


def _remarks(text: str) -> bool:
    """Whether all sentences are remarks, after those that deny what was asked."""
    sentences = [each.strip(".!:; ") for each in _ENDS.split(text)]
    while len(sentences) > 1 and (_DENIES.match(sentences[0]) or sentences[0].casefold() in ("no", "yes")):
        del sentences[0]
    return all(_REMARK.fullmatch(each) for each in sentences)

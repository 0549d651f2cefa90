"""The score in a judge's reply: strict about what it means, generous about how it is written."""

from __future__ import annotations

import re
from functools import lru_cache

from tasks.normalise import half_width
from tasks.step import ParseError

NO_SCORE = "no score on the first line"
_MARKS = re.compile(r"[\s*_`]+")
_BEGUN = re.compile(r"^score: (?=[^\W\d])", re.IGNORECASE)  # the prompt's, if the model writes a sentence anyway
_LISTED = re.compile(r"^[ \t]*+\d{1,3}[.:)]", re.MULTILINE)  # a list of marks chooses none
_GRID = r"([0-4](?:\.[05])?|5(?:\.0)?)"
_OUT_OF = r"(?: ?(?:/|out of) ?5)?"
_MARKED = re.compile(rf"{_GRID}[.:] [^\W\d].*")
_OTHER_SCALE = re.compile(r"\W{0,3}+(?:out of|of|on|from)\b", re.IGNORECASE)  # "4 (out of 10)"
# A number that may be a second score; "14:35", "2.50", "5th" and "30%" are not.
_LONE = re.compile(rf"(?<![\w.,:/$-]){_GRID}(?![\w%]|[.,:/-]\d)")


def parse(reply: str, dimension: str) -> tuple[float, str]:
    """The score, 0 to 5 by halves, on the first line that is not empty, and the text after that line.

    The line may name the dimension ("Accuracy: 4.5", "Score: 4.5/5"), or state the score in a sentence that has no
    other number that may be one: "The score is 2.5, because …", "I would give this response a 4 out of 5."

    Raises:
        ParseError: the line is anything else.
    """
    line, _, rest = reply.strip().partition("\n")
    label = rf"(?:(?:{dimension} )?(?:score|rating)|{dimension})? ?[:=]? ?"
    if re.fullmatch(label, plain := _plain(line), re.IGNORECASE):  # the score is on the next line
        line, _, rest = rest.lstrip().partition("\n")
        plain = _plain(line)
    found = re.fullmatch(rf"{label}{_GRID}{_OUT_OF}\.?", plain, re.IGNORECASE)
    if found is None and not _LISTED.search(rest):
        # With the words of its mark: "3: The main point is right." Or in a sentence.
        found = _marked(plain) or _in_sentence(plain, rest, dimension)
    if found is None:
        raise ParseError(NO_SCORE)
    return float(found[1]), rest.strip()


def _marked(line: str) -> re.Match[str] | None:
    """The score with the words of its mark; a number among these may be the score in its place."""
    found = _MARKED.fullmatch(line)
    return found if found and not _LONE.search(line, found.end(1) + 1) else None


def _plain(line: str) -> str:
    """The line without marks of emphasis, and with single blanks."""
    return _MARKS.sub(" ", half_width(line)).strip(" #")


def _in_sentence(line: str, rest: str, dimension: str) -> re.Match[str] | None:
    """The score in a sentence, if neither the line has a second number nor a later line a second such sentence."""
    sentence = _sentence(dimension)
    found = sentence.fullmatch(_BEGUN.sub("", line))
    if found is None or _LONE.search(found["more"]) or _OTHER_SCALE.match(found["more"]):
        return None
    others = [other for each in rest.splitlines() if (other := sentence.fullmatch(_plain(each)))]
    return None if any(float(other[1]) != float(found[1]) for other in others) else found


@lru_cache(maxsize=16)
def _sentence(dimension: str) -> re.Pattern[str]:
    rated = r"(?:it|(?:this|the) (?:response|answer))"
    score = rf"(?:(?:overall|final|{dimension}) )?(?:score|rating)"
    return re.compile(
        rf"(?:(?:the |my |its )?{score}(?: (?:of|for) {rated})?(?: (?:for|in) {dimension})?(?: is| would be|:)? |"
        rf"{dimension}: |"
        rf"i(?: would|['’]d)? (?:rate|give|score) {rated}(?: as| at)?(?: an?)?(?: {score})?(?: of|:)? |"
        rf"{rated} (?:is|gets|deserves|scores|receives|earns)(?: an?)?(?: {score})?(?: of|:)? )?"
        rf"{_GRID}{_OUT_OF}(?: points?)?"
        r"(?P<more>|[.,;]|[.,;:] .*| [(—–-] ?[^\W\d].*| (?:because|since|as) .*)",
        re.IGNORECASE,
    )

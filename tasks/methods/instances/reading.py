"""Reads instances in a reply: inputs and outputs, in either order, and whether a task is a classification task."""

from __future__ import annotations

import re

from tasks.fences import outside
from tasks.normalise import structured
from tasks.step import ParseError

Pair = tuple[str, str]  # input and output

_COUNT = r"(?:\d{1,4}|one|two|three|four|five|six|seven|eight|nine|ten)(?![^\W_])"
_LABELS = r"(?:Input|Output|Text|Sentence|(?:Class )?Label)"
# "Example 2", "### Instance #2:", "_Example two_"; with a title, or as a bare "2.", only right before a label. Nothing
# in it backtracks: a long run of blanks would be read again from each of its places.
_EXAMPLE = (
    r"[ \t]*+[#*_>(\[+-]{0,6}[ \t]{0,3}[*_(\[]{0,3}(?:Example|Instance)[ \t]{0,3}[#№]?" + _COUNT + r"[*_)\]]{0,4}"
    r"(?:[ \t]*+[.:)–—-]{0,2}[*_]{0,3}[ \t]*+$|[ \t]{0,3}[.:)(–—-][^\n]*+(?=\s*+" + _LABELS + r":))|"
    r"[ \t]*+(?:#{1,6}[ \t]{1,3})?[*_(]{0,3}\d{1,3}[.)][*_ \t]*+$(?=\s*+" + _LABELS + r":)"
)
_FLAGS = re.MULTILINE | re.IGNORECASE
_PARTS = re.compile(rf"^(?:(?P<label>Input|Output):|{_EXAMPLE})", _FLAGS)
_SORTED = re.compile(rf"^(?:(?P<label>Input|(?:Class )?Label):|{_EXAMPLE})", _FLAGS)
_SORTED_TEXT = re.compile(rf"^(?:(?P<label>Text|Sentence|(?:Class )?Label):|{_EXAMPLE})", _FLAGS)
_NUMBERED = re.compile(rf"^([ \t]*+\*{{0,2}}\d{{1,3}}[.)]\*{{0,2}})[ \t]+(?=[*_]{{0,3}}{_LABELS}\b)", _FLAGS)
_INPUT = re.compile(r"^Input:", _FLAGS)
_RULE = re.compile(r"(?:-{3,}|\*{3,}|_{3,}|={3,})?")
_NO_INPUT = {"", "none", "n/a", "no input", "no input needed", "not needed", "empty"}
_EITHER = re.compile(r"\A[\W_]*+(yes|no)[\s*_]{0,4}(?:[/|]|or\b)[\s*_]{0,4}(?!\1)(?:yes|no)\b", re.IGNORECASE)


def verdict(reply: str) -> bool:
    """Whether the reply says yes. Raises ParseError if its first word is neither yes nor no, or it names both."""
    first = re.match(r"[\W_]*([a-z]+)\b", reply, re.IGNORECASE)
    word = first[1].casefold() if first else ""
    if word not in ("yes", "no") or _EITHER.match(reply):
        raise ParseError("neither yes nor no")
    return word == "yes"


def input_first(reply: str) -> list[Pair]:
    """Input and output of each example: "Example 1", perhaps "Input: …", then "Output: …".

    An example without "Output:" has an empty one; an input after an output begins the next example.

    Raises:
        ParseError: no example has an output, or one has an input and two outputs.
    """
    parts = _parts(_PARTS, structured(_NUMBERED.sub(r"\1\n", reply), ("Input", "Output")))
    if not any(label == "output" for label, _ in parts):
        raise ParseError("no line starts with 'Output:'")
    pairs: list[Pair] = []
    given, output = "", None
    begun = False  # whether there is anything of the example yet

    def end() -> None:
        if begun:
            pairs.append((_input(given), _text(output or "")))

    for label, text in parts:
        if label == "output" and output is not None and given:
            raise ParseError("two outputs of one input")
        if label == "" or output is not None:
            end()
            given, output, begun = "", None, False
        begun = begun or label != "" or bool(text.strip())
        if label == "input":
            given = text
        elif label == "output":
            output = text
    end()
    return pairs


def output_first(reply: str) -> list[Pair]:
    """Input and output of each example: "Label: …", then "Input: …", or throughout the other way round.

    Raises:
        ParseError: there is no label, one of several lines, or an input that has none of its own.
    """
    text = structured(_NUMBERED.sub(r"\1\n", reply), ("Input", "Class label", "Label"))
    has_inputs = _INPUT.search(text) is not None
    text = text if has_inputs else structured(text, ("Text", "Sentence"))
    found = [part for part in _parts(_SORTED if has_inputs else _SORTED_TEXT, text) if part[0]]
    parts = [(label.endswith("label"), _text(each)) for label, each in found]
    if not any(is_label for is_label, _ in parts):
        raise ParseError("no line starts with 'Label:'")
    if any(is_label and "\n" in each for is_label, each in parts):
        raise ParseError("more than a label after 'Label:'")
    pairs: list[Pair] = []
    input_comes_first = not parts[0][0]
    for place, (is_label, each) in enumerate(parts):
        # A label may have no input; an input has one label.
        if place and is_label is parts[place - 1][0] and (input_comes_first or not is_label):
            raise ParseError("an input without a label of its own")
        if is_label is not input_comes_first:
            pairs.append(("", each) if is_label else (_input(each), ""))
        else:
            pairs[-1] = (pairs[-1][0], each) if is_label else (_input(each), pairs[-1][1])
    return pairs


def _parts(pattern: re.Pattern[str], text: str) -> list[tuple[str, str]]:
    """Label (or "" of a heading) and text of each part of a reply; what precedes the first one is dropped."""
    found = outside(pattern, text)
    if not any(each["label"] for each in found):  # the reply may be fenced as a whole
        found = list(pattern.finditer(text))
    # A second input before the output belongs to the first.
    parts, last = list[tuple[str, int, int]](), ""
    for each in found:
        label = (each["label"] or "").casefold()
        if (label, last) != ("input", "input"):
            parts.append((label, each.start(), each.end()))
        last = label
    ends = [start for _, start, _ in parts[1:]] + [len(text)]
    return [(label, text[begin:end]) for (label, _, begin), end in zip(parts, ends, strict=False)]


def _text(text: str) -> str:
    """The text of a part, without a rule after it, or a mark that closes what its label began."""
    lines = text.strip().split("\n")
    while len(lines) > 1 and _RULE.fullmatch(lines[-1].strip()):
        lines.pop()
    text = "\n".join(lines).rstrip()
    for mark in ("**", "__", "```"):
        if text.endswith(mark) and text.count(mark) % 2:
            text = text.removesuffix(mark).rstrip()
    return text


def _input(text: str) -> str:
    text = _text(text)
    return "" if text.strip("()[]<>. ").casefold() in _NO_INPUT else text

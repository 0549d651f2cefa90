"""Finds the rewritten prompt in a reply, and checks it."""

from __future__ import annotations

import re

from tasks.normalise import plain_answer, structured
from tasks.step import ParseError, Rejected

LABEL = "Better prompt"
_QUOTED = re.compile(r"\"([^\"\n]*)\"|“([^“”\n]*)”|```(.+?)```", re.DOTALL)
_FENCED = re.compile(r"```([^`\n]+)```")
# A last paragraph that speaks of the prompt above it, perhaps with a list.
_REMARK = re.compile(
    r"\n[^\S\n]*\n[*_#( ]{0,5}(?:(?:explanation|rationale|reasoning|(?:key |main )?(?:changes|improvements)(?: made)?|"
    r"why (?:this|it) (?:is better|works))[*_]{0,3}:[*_]{0,3}\s*\S|"
    r"(?:this (?:prompt|instruction|rewrite|version)|"
    r"(?:this|the|my) (?:better|improved|revised|rewritten|new|updated) (?:prompt|instruction|version)) "
    r"(?:is|now|adds|asks|makes|gives|provides|specifies|clarifies|ensures|encourages|leads|avoids|will)\b|"
    r"this is (?:a )?(?:better|clearer|improved|more \w+)\b|"
    r"i (?:have |['’]ve )?(?:added|clarified|rephrased|reworded|rewrote)\b[^\n]{0,200}\b(?:prompt|instruction)\b)",
    re.IGNORECASE,
)
_FURTHER = re.compile(r"\n[^\S\n]*\n(?!\s{0,9}(?:[-*•]|\d{1,2}[.)])\s)")  # a paragraph that is no item of a list
_WORD = re.compile(r"\w+")
_SHORTEST = 3  # characters of a passage that must stay; our choice


def parted(reply: str, begun: bool) -> tuple[str, str]:
    """The comparison and the rewritten prompt of a reply.

    Args:
        begun: whether the prompt ended in the label, so that the reply is only the rewritten prompt.

    Raises:
        ParseError: one of the two is missing.
    """
    if begun:
        comparison, found = "", reply
    else:
        before, label, found = structured(reply, [LABEL, "Comparison"]).rpartition(f"{LABEL}:")
        comparison = before.removeprefix("Comparison:").strip()
        if not label or not comparison:
            raise ParseError(f"no comparison followed by '{LABEL}:'")
    return comparison, rewritten(found)


def rewritten(text: str) -> str:
    """The prompt in a text that should hold nothing else: without a remark after it, and a fence or quotes around it.

    Raises:
        ParseError: there is none.
    """
    found = plain_answer(text, [LABEL])
    for remark in _REMARK.finditer(found):
        if not _FURTHER.search(found, remark.end()):
            found = plain_answer(found[: remark.start()], [LABEL])
            break
    if fenced := _FENCED.fullmatch(found):
        found = fenced[1].strip()
    if not found:
        raise ParseError(f"nothing after '{LABEL}:'")
    return found


def check(prompt: str, better: str, *, shorter: float, longer: float, kept: float) -> None:
    """Raises Rejected if a rewrite has lost or gained too many words, or what the prompt quotes.

    Args:
        shorter: how many times as many words the prompt may have, at most.
        longer: how many times as many words the rewrite may have, at most.
        kept: of the prompt's different words, the least share that the rewrite must have.
    """
    before, after = (max(1, len(text.split())) for text in (prompt, better))
    if before / after > shorter:
        raise Rejected("much shorter than the prompt")
    if after / before > longer:
        raise Rejected("much longer than the prompt")
    words, there = ({*_WORD.findall(text.lower())} for text in (prompt, better))
    if len(words & there) < kept * len(words):
        raise Rejected("words of the prompt are lost")
    quoted = ("".join(filter(None, found.groups())).strip() for found in _QUOTED.finditer(prompt))
    if any(len(passage) >= _SHORTEST and passage not in better for passage in quoted):
        raise Rejected("a passage that the prompt quotes is lost")

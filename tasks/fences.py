"""Fenced code in a reply: labels and numbers inside it are content, not structure."""

from __future__ import annotations

import re

_FENCED = re.compile(r"```.*?```", re.DOTALL)  # an unclosed fence is ordinary text


def outside(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """The matches of a pattern outside fenced code."""
    fences, found = [fence.span() for fence in _FENCED.finditer(text)], list[re.Match[str]]()
    place = 0
    for match in pattern.finditer(text):
        while place < len(fences) and fences[place][1] <= match.start():
            place += 1
        if place == len(fences) or match.start() < fences[place][0]:
            found.append(match)
    return found

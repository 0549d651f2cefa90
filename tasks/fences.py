"""Code in a reply is material: a label or a number inside of it begins nothing."""

from __future__ import annotations

import re

_FENCED = re.compile(r"```.*?```", re.DOTALL)  # one that is never closed fences nothing


def outside(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """What the pattern matches outside of fenced code."""
    fences, found = [fence.span() for fence in _FENCED.finditer(text)], list[re.Match[str]]()
    place = 0
    for match in pattern.finditer(text):
        while place < len(fences) and fences[place][1] <= match.start():
            place += 1
        if place == len(fences) or match.start() < fences[place][0]:
            found.append(match)
    return found

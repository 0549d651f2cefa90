"""Regular expressions that are compiled when they are first used: a command that reads no reply waits for none.

To compile those of all readers takes a tenth of a second.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, cast


class LazyPattern:
    """Behaves as the `re.Pattern` of its source."""

    def __init__(self, source: str, flags: int) -> None:
        self.pattern, self._flags = source, flags

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """The pattern itself."""
        return re.compile(self.pattern, self._flags)

    def __getattr__(self, name: str) -> Any:  # what `re.Pattern` has; kept here, so that it is looked up once
        found = self.__dict__[name] = getattr(self.compiled, name)
        return found


def lazy_pattern(source: str, flags: int = 0) -> re.Pattern[str]:
    """As `re.compile`, which is called when the pattern is first used; a mistake in the source is raised then."""
    return cast("re.Pattern[str]", LazyPattern(source, flags))

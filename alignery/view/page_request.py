"""One request, as the pages see it: the lake it asks, its parameters, and links that keep them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from alignery.view.lakes import Lakes
from warehouse import Lake

_T = TypeVar("_T")


@dataclass(frozen=True)
class PageRequest:
    """What one request asks for.

    Args:
        path: of the page.
        params: the query string, in its order.
        bundled: whether the page is for a folder of static files, without a server.
        by: the name under which marks were made here last.
    """

    lakes: Lakes
    path: str
    params: tuple[tuple[str, str], ...] = ()
    bundled: bool = False
    by: str = ""

    @cached_property
    def lake(self) -> Lake:
        return self.lakes.at(self.get("at"))

    @cached_property
    def snapshot(self) -> int:
        return self.lake.snapshot()

    def get(self, name: str, default: str = "") -> str:
        """The last value of a parameter."""
        return dict(self.params).get(name, default)

    def once(self, *key: Any, count: Callable[[], _T]) -> _T:
        """What `count` returns, counted once for this snapshot."""
        return self.lakes.once(self.lake, self.snapshot, key, count)

    def url(self, *path: str, **params: object) -> str:
        """A link to a page at the same snapshot. `path` is its parts; parameters without a value are left out."""
        return link("/" + "/".join(quote(str(part), safe="") for part in path if part), {"at": self.get("at")} | params)

    def here(self, **changes: object) -> str:
        """A link to this page with other parameters; None or an empty text takes one away."""
        return link(self.path, dict(self.params) | changes)


def link(path: str, params: Mapping[str, object]) -> str:
    """A path with its query string."""
    given = {name: value for name, value in params.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(given)}" if given else path


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Args:
        template: name of the file.
        title: of the page.
        data: what its JSON has.
        queries: the SQL behind it.
        shown: what the template needs beside, as word diffs and drawings.
    """

    template: str
    title: str
    data: Mapping[str, Any]
    queries: tuple[str, ...] = ()
    shown: Mapping[str, Any] = field(default_factory=dict)

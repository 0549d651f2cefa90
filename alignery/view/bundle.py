"""The pages as files: a folder that can be hosted or mailed, and a run's report as one file."""

from __future__ import annotations

import re
from collections import deque
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from starlette.routing import compile_path

from alignery import effects
from alignery.errors import AligneryError, UsageError
from alignery.hashing import digest
from alignery.view import overview, render
from alignery.view.app import PAGES
from alignery.view.ask import Ask, Page
from alignery.view.lakes import Lakes

MOST = 2000  # pages of a folder
_LINK = re.compile(r'href="(/[^"]*)"')
_LEFT_OUT = ("/live", "/sql", "/go", "/text")  # what asks the lake for more
_STATIC = "/static/"
_ROUTES = [(*compile_path(path), show) for path, show in PAGES.items()]


def bundle(lakes: Lakes, folder: Path, at: str | None = None, most: int = MOST) -> int:
    """Write the pages that are reached from the overview, the nearest first, with links between them.

    Args:
        folder: to make.
        at: a tag or snapshot that all of them show.
        most: pages; links to those that are not there lead to where they would be on a server, and are marked.

    Returns:
        How many pages.

    Raises:
        UsageError: the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--bundle: got {folder}, which holds something already; name a new folder")
    first = f"/?at={at}" if at else "/"
    names, pages, todo = {first: "index.html"}, {}, deque([first])
    while todo:
        url = todo.popleft()
        pages[url] = text = _page(lakes, url)
        for target in map(unescape, _LINK.findall(text)):
            if target not in names and len(names) < most and _is_page(target):
                names[target] = f"{digest(target)[:16]}.html"
                todo.append(target)
    folder.mkdir(parents=True, exist_ok=True)
    with effects.EXPORT_FACTS:
        for file in (render.FOLDER / "static").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        for url, text in pages.items():
            (folder / names[url]).write_text(_LINK.sub(lambda link: _relative(link[1], names), text), encoding="utf-8")
    return len(pages)


def report(lakes: Lakes, file: Path, run: str | None = None, at: str | None = None) -> Path:
    """Write the report of a run, by default of the newest refresh, as one file that needs no other.

    Raises:
        UsageError: no such run, or the file is there.
    """
    if file.exists():
        raise UsageError(f"--report: got {file}, which is there already; name a new file")
    ask = Ask(lakes, "/", (("at", at),) if at else (), bundled=True)
    page = overview.report(ask, run or "")
    text = render.html(ask, Page("single.html", page.title, page.data, page.queries, page.shown))
    with effects.EXPORT_FACTS:
        file.write_text(_LINK.sub(r"data-page=\"\1\"".replace("\\", ""), text), encoding="utf-8")
    return file


def _page(lakes: Lakes, url: str) -> str:
    """A page's HTML; one that cannot be shown says so."""
    parts = urlsplit(url)
    ask = Ask(lakes, unquote(parts.path), tuple(parse_qsl(parts.query)), bundled=True)
    try:
        show, given = next((show, found) for pattern, _, convertors, show in _ROUTES
                           if (found := _matched(pattern, convertors, parts.path)) is not None)  # fmt: skip
        return render.html(ask, show(ask, **given))
    except AligneryError as error:
        return render.html(ask, Page("error.html", "Not shown", {"error": str(error), "query": ""}))


def _matched(pattern: re.Pattern[str], convertors: Any, path: str) -> dict[str, Any] | None:
    found = pattern.match(unquote(path))
    return {name: convertors[name].convert(value) for name, value in found.groupdict().items()} if found else None


def _is_page(target: str) -> bool:
    path, query = urlsplit(target).path, urlsplit(target).query
    return not path.startswith((*_LEFT_OUT, _STATIC)) and "_sort=" not in query and "format=" not in query


def _relative(link: str, names: dict[str, str]) -> str:
    target = unescape(link)
    if target.startswith(_STATIC):
        return f'href="{target.removeprefix(_STATIC)}"'
    return f'href="{names[target]}"' if target in names else 'class="left-out"'

"""The pages as files: a folder that can be hosted or mailed, and a run's report as one file."""

from __future__ import annotations

import re
from collections import deque
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from starlette.routing import compile_path

from alignery import effects
from alignery.errors import AligneryError, UsageError
from alignery.hashing import digest
from alignery.view import render
from alignery.view.app import PAGES, Show
from alignery.view.lakes import Lakes
from alignery.view.page_request import Page, PageRequest, link
from alignery.view.pages import overview
from warehouse.browse.story import tables_of

MOST = 2000  # pages of a folder
_GO = re.compile(r'href="(/go\?[^"]*)"')
_FILTERS = 4  # that a page of rows is narrowed by at most: more have too many combinations
_LINK = re.compile(r'href="(/[^"]*)"')
_LEFT_OUT = ("/live", "/sql", "/marks")  # which need a lake at hand
_STATIC = "/static/"
_ROUTES = [(*compile_path(path), show) for path, show in PAGES.items()]


def bundle(lakes: Lakes, folder: Path, at: str | None = None, most: int = MOST) -> int:
    """Write the pages that are reached from the overview, stories first and tables last, with links between them.

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
    first = link("/", {"at": at})
    names, pages = {first: "index.html"}, dict[str, str]()
    todo: list[deque[str]] = [deque([first]), deque(), deque()]
    while len(pages) < most and (url := next((waiting.popleft() for waiting in todo if waiting), None)):
        pages[url] = text = _direct(lakes, at, _page(lakes, url))
        for target in map(unescape, _LINK.findall(text)):
            if target not in names and _is_page(target, at):
                names[target] = f"{digest(target)[:16]}.html"
                todo[min(_filters(target), 2)].append(target)
    names = {url: names[url] for url in pages}
    folder.mkdir(parents=True, exist_ok=True)
    with effects.EXPORT_FACTS:
        for file in (render.FOLDER / "static").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        for url, text in pages.items():
            (folder / names[url]).write_text(
                _LINK.sub(lambda found: _relative(found[1], names), text), encoding="utf-8"
            )
    return len(pages)


def report(lakes: Lakes, file: Path, run: str | None = None, at: str | None = None) -> Path:
    """Write the report of a run, by default of the newest refresh, as one file that needs no other.

    Raises:
        UsageError: no such run, or the file is there.
    """
    if file.exists():
        raise UsageError(f"--report: got {file}, which is there already; name a new file")
    req = PageRequest(lakes, "/", (("at", at),) if at else (), bundled=True)
    page = overview.report(req, run or "")
    text = render.html(req, Page("single.html", page.title, page.data, page.queries, page.shown))
    with effects.EXPORT_FACTS:
        file.write_text(_LINK.sub('class="left-out"', text), encoding="utf-8")
    return file


def _page(lakes: Lakes, url: str) -> str:
    """A page's HTML; one that cannot be shown says so."""
    parts = urlsplit(url)
    req = PageRequest(lakes, unquote(parts.path), tuple(parse_qsl(parts.query)), bundled=True)
    found = _route(parts.path)
    assert found is not None
    show, given = found
    try:
        return render.html(req, show(req, **given))
    except AligneryError as error:
        return render.html(req, Page("error.html", "Not shown", {"error": str(error), "query": ""}))


def _route(path: str) -> tuple[Show, dict[str, Any]] | None:
    """What a path shows, with the parts of it that are handed on."""
    for pattern, _, convertors, show in _ROUTES:
        if found := pattern.match(unquote(path)):
            return show, {name: convertors[name].convert(value) for name, value in found.groupdict().items()}
    return None


def _is_page(target: str, at: str | None) -> bool:
    """Whether a link leads to a page of the folder: one at its snapshot that asks for nothing new."""
    path, query = urlsplit(target).path, urlsplit(target).query
    asks = path in _LEFT_OUT or "_sort=" in query or "format=" in query or _filters(target) > _FILTERS
    return not asks and dict(parse_qsl(query)).get("at") == at and _route(path) is not None


def _filters(target: str) -> int:
    """0 for a page that is no table's; else 1, and 1 more for each column that the table is narrowed by."""
    if not target.startswith("/rows/"):
        return 0
    return 1 + sum(name != "at" for name, _ in parse_qsl(urlsplit(target).query))


def _direct(lakes: Lakes, at: str | None, text: str) -> str:
    """The page with the links that look for an id led to its row."""
    ids = {go: dict(parse_qsl(urlsplit(unescape(go)).query))["id"] for go in _GO.findall(text)}
    tables = tables_of(lakes.at(at), ids.values()) if ids else {}
    req = PageRequest(lakes, "/", (("at", at),) if at else ())

    def row(go: re.Match[str]) -> str:
        id = ids[go[1]]
        return f'href="{escape(req.url("row", tables[id], id))}"' if id in tables else go[0]

    return _GO.sub(row, text)


def _relative(link: str, names: dict[str, str]) -> str:
    target = unescape(link)
    if target.startswith(_STATIC):
        return f'href="{target.removeprefix(_STATIC)}"'
    return f'href="{names[target]}"' if target in names else 'class="left-out"'

"""A page as HTML, JSON, or rows of a file. Text from a model is escaped, printable and bounded wherever it is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from alignery.untrusted import printable
from alignery.view import charts
from alignery.view.page_request import Page, PageRequest
from alignery.view.worddiff import worddiff
from warehouse.browse.story import BOUND
from warehouse.query import status

FOLDER = Path(__file__).parent
NAVIGATION = (
    ("", "Overview"), ("rows", "Rows"), ("pairs/preferences", "Pairs"), ("words", "Principles"), ("models", "Models"),
    ("snapshots", "Snapshots"), ("live", "Live"), ("marks", "Marks"), ("sql", "SQL"),
)  # fmt: skip
_HASH = re.compile(r"\b[0-9a-f]{16,}\b")


def html(req: PageRequest, page: Page) -> str:
    """The whole document."""
    tags = req.lakes.once(req.lakes.now, req.lakes.now.snapshot(), ("tags",), lambda: status.tags(req.lakes.now))
    given = {"req": req, "page": page, "url": req.url, "here": req.here, "all_tags": tags, "navigation": NAVIGATION}
    return _environment().get_template(page.template).render(given | dict(page.data) | dict(page.shown))


def part(template: str, **given: object) -> str:
    """HTML to be put into another page."""
    return _environment().get_template(template).render(given)


def json_bytes(data: Mapping[str, Any]) -> bytes:
    """What a page has, as JSON."""
    return orjson.dumps(data, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"printable": text, "short": short, "number": number, "when": when, "share": share, "cut": is_cut}
    env.globals |= {"worddiff": worddiff, "charts": charts, "static": static}
    return env


def static(name: str) -> str:
    """The text of a static file of ours that every page loads."""
    return (FOLDER / "static" / name).read_text(encoding="utf-8")


def text(value: object) -> str:
    """Untrusted text for display: without control or bidi characters; empty for None."""
    return "" if value is None else printable(str(value))


def is_cut(text: object, bound: int = BOUND) -> bool:
    """Whether the lake has more of a text than was read."""
    return isinstance(text, str) and len(text) > bound


def short(value: object) -> str:
    """A path's last name, a model's hash; every hash is eight characters long."""
    text = str(value)
    last = text.rsplit("/", 1)[-1] if text.startswith("/") else text.rsplit(":", 1)[-1]
    return _HASH.sub(
        lambda found: found[0][:8], printable(last if _HASH.search(last) or text.startswith("/") else text)
    )


def number(value: object) -> str:
    """A number for people: thousands separated, and only significant digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return printable(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %" if value >= 0.1 or not value else f"{100 * value:.1f} %"


def when(value: object) -> str:
    """A time to the second, in UTC."""
    if not isinstance(value, datetime):
        return text(value)
    return (value.astimezone(UTC) if value.tzinfo else value).strftime("%Y-%m-%d %H:%M:%S")

"""What a screen reader, a keyboard and weak eyes need: labels, headings in order, names of drawings, contrast."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from starlette.testclient import TestClient

from alignery.view.render import static

PAGES = [
    *("/", "/rows", "/rows/attempts?state=rejected", "/row/instructions/i0", "/row/instructions/i0/uses", "/pairs/qac"),
    *("/words", "/words/principle:kind", "/words/respond/answer", "/models", "/models?a=base&b=m:1", "/models/m:1"),
    *("/snapshots?a=v1", "/live", "/marks?by=ada", "/sql?q=SELECT+1", "/report/run-1", "/rows/nothing"),
]
VOID = {"meta", "link", "input", "br", "img", "wbr"}
# Every pair of colours that a text and what lies behind it have.
TEXTS = [(front, back) for back in ("back", "surface", "soft") for front in ("text", "muted", "accent")]
TEXTS += [(front, back) for back in ("back", "surface") for front in ("rejected", "unparsed", "failed", "accepted")]
TEXTS += [("new", "new-back"), ("gone", "gone-back")]


class Outline(HTMLParser):
    """A page's elements with their attributes, and whether it is well nested."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def every(self, *tags: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.all if tag in tags]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_heard_and_driven(client: TestClient, path: str) -> None:
    page = Outline(client.get(path).text)
    assert not page.open
    assert page.every("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in page.all if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    steps = pairwise(levels)
    assert all(after <= before + 1 for before, after in steps), f"a level of headings is passed over: {levels}"
    labelled = {attrs.get("for") for attrs in page.every("label")}
    fields = [one for one in page.every("input", "select", "textarea") if one.get("type") != "hidden"]
    assert all(field.get("id") in labelled for field in fields), "a field without a label"
    assert all(one.get("role") == "img" and one.get("aria-label") for one in page.every("svg"))
    assert all(one.get("scope") for one in page.every("th"))
    ids = [attrs["id"] for _, attrs in page.all if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = [attrs["aria-labelledby"] for _, attrs in page.all if "aria-labelledby" in attrs]
    assert set(named) <= set(ids)
    assert page.every("a")[0]["href"] == "#main", "the first key leads past the navigation"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(scheme: str) -> None:
    blocks = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", static("view.css"), re.DOTALL)
    ]
    colours = blocks[0] if scheme == "light" else blocks[0] | blocks[1]
    weak = {pair: round(ratio, 2) for pair in TEXTS if (ratio := _contrast(*(colours[name] for name in pair))) < 4.5}
    assert not weak, "WCAG 2.2 AA asks for 4.5 to 1"


def test_our_own_script_is_short() -> None:
    assert len(static("view.js").splitlines()) <= 200


def _contrast(front: str, back: str) -> float:
    """WCAG 2.2, contrast ratio of two colours."""
    high, low = sorted((_luminance(front), _luminance(back)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

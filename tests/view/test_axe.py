"""Every kind of page through axe-core's rules in a real browser, at two widths, light and dark."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
from every_page import EVERYWHERE

pytestmark = pytest.mark.flow
PAGES = [*EVERYWHERE, "/row/instructions/i0/uses", "/pairs/preferences", "/words/respond/answer", "/marks?by=ada"]
PAGES += [
    "/marks",
    "/rows/runs",
    "/rows/funnel",
    "/words?a=p0&b=p1",
    "/rows/instructions?state=rejected&_search=question",
]


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, which stays out of this repository: its licence is the MPL."""
    pytest.importorskip("axe_playwright_python", reason="the dev extra has it")
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("width", "scheme", "paths"),
    [
        pytest.param(1280, "light", PAGES[::2], id="1280-light"),
        pytest.param(390, "dark", PAGES[1::2], id="390-dark"),
        pytest.param(1280, "light", PAGES[1::2], id="1280-light-rest", marks=pytest.mark.long),
        pytest.param(390, "dark", PAGES[::2], id="390-dark-rest", marks=pytest.mark.long),
    ],
)
def test_axe_finds_nothing_serious(
    browser: Any, address: str, axe: str, width: int, scheme: str, paths: list[str]
) -> None:
    context = browser.new_context(base_url=address, viewport={"width": width, "height": 844}, color_scheme=scheme)
    page, found = context.new_page(), []
    for path in paths:
        page.goto(path)
        page.evaluate(axe)  # not as a script of the page, which its policy would refuse
        report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [
            f"{path}: {one['id']} ({one['impact']}): {one['help']}: {one['nodes'][0]['html'][:200]}"
            for one in report["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    context.close()
    assert not found, "\n".join(found)

"""Ten ways through the pages, in a real browser."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from every_page import EVERYWHERE
from hostile_texts import RTL
from lake_rows import attempt, commit, fill
from playwright.sync_api import expect

from alignery.config.preset import load
from alignery.view.app import Site
from alignery.view.lakes import Lakes
from alignery.view.serve import serve
from warehouse import Lake

pytestmark = pytest.mark.flow


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A new page; whatever its console complains of fails the test."""
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 900})
    found = context.new_page()
    complaints: list[str] = []
    found.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield found
    context.close()
    assert not [complaint for complaint in complaints if "status of 40" not in complaint]


def path_of(page: Any) -> str:
    return re.sub(r"^https?://[^/]+", "", page.url)


def test_from_a_rejects_bar_to_its_row_to_its_prompt(page: Any) -> None:
    page.goto("/")
    page.click("text=too long: … tokens")
    assert path_of(page).startswith("/rows/rejects?")
    page.locator("tbody tr a.id").first.click()
    page.wait_for_selector("text=Why:")
    page.locator("summary", has_text="respond.answer").last.click()
    page.locator("details[open] dd a", has_text="respond/answer").click()
    assert page.inner_text("h1") == "respond/answer"


# Question of docs/view.md → its clicks, each a selector and the words that name it in the docs; and what is then shown.
CLICKS = {
    "Why was this row rejected?": (
        [("th >> text=near-duplicate: ROUGE-L", "near-duplicate: ROUGE-L"), ("tbody a.id", "id")],
        ["Why: near-duplicate: ROUGE-L", "Nearest known text (similarity 0.9)"],
    ),
    "What did principle X change?": (
        [("nav >> text=Principles", "Principles"), ("th >> text=kind", "principle"), ("article a.id", "id")],
        ["Trace of an instruction", "Revision 1", "Tags and models that use it"],
    ),
    "Which rows trained this model?": (
        [("nav >> text=Models", "Models"), ("th >> text=sft-1", "model"), ("text=rows that trained it", "rows that")],
        ["Rows that trained sft-1", "question i8"],
    ),
}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("question", CLICKS)
def test_three_questions_take_the_clicks_that_the_docs_list(page: Any, question: str, width: int) -> None:
    clicks, shown = CLICKS[question]
    docs = (Path(__file__).parents[2] / "docs" / "view.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\d\. (.*)", docs.partition(f"### {question}")[2].partition("\n##")[0], re.MULTILINE)
    assert len(steps) == len(clicks) <= 3
    page.set_viewport_size({"width": width, "height": 844})
    page.goto("/")
    for (selector, name), step in zip(clicks, steps, strict=True):
        assert name in step
        page.locator(selector).first.click()
    for words in shown:
        expect(page.locator("main")).to_contain_text(words)


def test_rows_are_walked_with_the_keyboard(page: Any) -> None:
    page.goto("/rows/instructions?_size=5")
    for key in "jjk":
        page.keyboard.press(key)
    expect(page.locator("tr.chosen")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url("**/row/instructions/*")
    page.keyboard.press("u")
    page.wait_for_url("**/rows/instructions?_size=5")
    page.keyboard.press("n")
    page.wait_for_url("**_after=*")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("jk")
    assert page.input_value("#search") == "jk", "in a field the keys are letters"


def test_a_search_and_a_kind_stand_in_the_address(page: Any) -> None:
    page.goto("/rows/instructions")
    page.fill("#search", "question")
    page.click("button >> text=Search")
    page.click(".facets >> text=rejected")
    page.reload()
    assert {"_search=question", "state=rejected"} <= set(path_of(page).partition("?")[2].split("&"))
    expect(page.locator("tbody tr")).to_have_count(1)
    page.click(".chip")
    expect(page.locator("tbody tr").nth(1)).to_be_visible()


def test_pairs_show_what_differs(page: Any) -> None:
    page.goto("/")
    page.click("nav >> text=Pairs")
    page.click("text=qac")
    expect(page.locator("ins").first).to_be_visible()
    page.locator("a.id").first.click()
    page.wait_for_url("**/row/corrections/*")


def test_two_snapshots_are_compared(page: Any) -> None:
    page.goto("/snapshots")
    page.fill("#a", "v1")
    page.click("button >> text=Compare")
    assert "From v1 to now" in page.inner_text("main")
    page.click("section[aria-label=Tables] >> text=instructions")
    expect(page.locator("tbody tr"), "the rows that came in between").to_have_count(4)


def test_the_sql_of_a_page_is_edited_and_can_only_read(page: Any) -> None:
    page.goto("/rows/instructions?state=rejected")
    page.click("summary >> text=SQL of this page")
    page.click("text=Edit and run it")
    page.fill("#q", "SELECT count(*) AS n FROM instructions")
    page.click("text=Run")
    assert page.inner_text("tbody td").strip() == "16"
    page.fill("#q", "DROP TABLE instructions")
    page.click("text=Run")
    assert "expected one SELECT" in page.inner_text(".why")


def test_hostile_rows_run_nothing(page: Any) -> None:
    for path in EVERYWHERE:
        page.goto(path)
        page.wait_for_load_state("networkidle") if path != "/live" else None
        assert "owned" not in page.title()
    page.goto("/row/instructions/poison")
    assert "<img src=x onerror" in page.inner_text("main")
    page.goto("/row/instructions/rtl")
    direction = "getComputedStyle(document.querySelector('article .foreign')).unicodeBidi"
    assert page.evaluate(direction) == "isolate"
    assert RTL[-4:] in page.inner_text("main")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_no_page_is_wider_than_the_screen(browser: Any, address: str, width: int, scheme: str) -> None:
    context = browser.new_context(base_url=address, viewport={"width": width, "height": 844}, color_scheme=scheme)
    wide = []
    for path in EVERYWHERE:
        page = context.new_page()
        page.goto(path)
        beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        wide += [path] if beyond > 0 else []
        page.close()
    context.close()
    assert not wide


@pytest.mark.parametrize("many", [16, pytest.param(50, marks=pytest.mark.long)])
def test_pairs_are_marked_by_keyboard(browser: Any, tmp_path: Path, empty: Path, many: int) -> None:
    home = shutil.copytree(empty, tmp_path / "home")
    with Lake.open(home) as lake:
        fill(lake, many + 10, revised="another answer")
    messages: list[str] = []
    arguments = (Site(Lakes(home, load("nano")), read_s=600), "127.0.0.1", 0, (), None, messages.append)
    threading.Thread(target=serve, args=arguments, daemon=True).start()
    while not messages:
        sleep(0.05)
    page = browser.new_page()
    page.goto(messages[0] + "marks")
    page.fill("#by", "ada")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    for n in range(many):
        page.wait_for_selector("[data-choice]")
        with page.expect_navigation():
            page.keyboard.press("1234"[n % 4])
    figures = page.request.get(messages[0] + "marks?format=json").json()["agreement"]["people"]["ada"]
    assert figures["marked"] == many - many // 4, "flags are no verdicts"
    page.close()


def test_a_running_refresh_moves_on_the_page(browser: Any, tmp_path: Path, empty: Path) -> None:
    home = shutil.copytree(empty, tmp_path / "home")
    with Lake.open(home) as lake:
        lake.ledger.write("runs", [{"id": "aa1", "state": "started", "flow": "refresh"}], run_id="aa1", message="run")
        found = Lakes(home, load("nano"))
        messages: list[str] = []
        arguments = (Site(found, read_s=600), "127.0.0.1", 0, (), None, messages.append)
        threading.Thread(target=serve, args=arguments, daemon=True).start()
        while not messages:
            sleep(0.05)
        page = browser.new_page()
        page.goto(messages[0] + "live")
        assert "No answer yet" in page.inner_text("main")
        commit(lake, "aa1", [attempt(f"k{n}", created_at=datetime.now(UTC)) for n in range(7)])
        page.wait_for_selector("text=respond.answer", timeout=20_000)
        assert page.inner_text("tbody td.n").strip() == "7"
        page.close()

"""Who gets in, what a hostile text can do on a page, and what one request may cost."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hostile_texts import LONG, POISON, RTL
from starlette.testclient import TestClient

from alignery.view.access_control import AccessControl
from alignery.view.app import Site, application
from alignery.view.lakes import Lakes
from alignery.view.serve import is_loopback

TOKEN = "a-token-of-24-characters"
HOSTILE = [
    *("/rows/instructions", "/row/instructions/poison", "/row/attempts/lost0-try0", "/rows/rejects", "/report/run-1"),
    *("/sql?q=SELECT+text+FROM+instructions", "/rows/instructions?_search=%3Cimg", "/rows/instructions?_cols=all"),
    *("/pairs/revised", "/sql?q=%3C/textarea%3E%3Cscript%3E", "/go?id=%3Cscript%3E", "/rows/%3Cscript%3E"),
]
TAGS = {"script", "img", "iframe", "object", "base", "embed"}


class Tags(HTMLParser):
    """What elements a page has, and what they would run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", HOSTILE)
def test_a_text_is_never_markup(client: TestClient, path: str) -> None:
    page = client.get(path)
    found = Tags(page.text).found
    assert [(tag, attrs.get("src")) for tag, attrs in found if tag in TAGS] == [("script", "/static/view.js")]
    assert not [name for _, attrs in found for name in attrs if name.startswith("on") or name == "style"]
    assert all((attrs.get("href") or "/").startswith(("/", "#")) for _, attrs in found)


def test_the_poison_is_shown_as_it_is(client: TestClient) -> None:
    page = client.get("/row/instructions/poison").text
    assert "&lt;img src=x onerror" in page
    assert client.get("/row/instructions/poison?format=json").json()["row"]["text"] == POISON


def test_direction_and_control_characters_are_shown_as_escapes(client: TestClient) -> None:
    page = client.get("/row/instructions/rtl").text
    assert "\u202e" not in page
    assert "\\u202eevil" in page
    assert "\u0634\u0643\u0631\u0627" in page, "right-to-left letters stay"
    assert 'dir="auto"' in page
    assert "before\\x07\\x00after" in client.get("/row/instructions/nul").text
    assert client.get("/text/instructions/rtl/text").text == RTL


def test_a_long_text_is_cut_and_there_whole_as_plain_text(client: TestClient) -> None:
    page = client.get("/row/instructions/rtl")
    assert len(page.content) < 80_000
    assert "/text/responses/b-long/text" in page.text
    whole = client.get("/text/responses/b-long/text")
    assert whole.headers["content-type"].startswith("text/plain")
    assert whole.text == LONG


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example:8765"}, 400),
        ({"Host": "127.0.0.1:1"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:8765"}, 200),
    ],
)
def test_no_foreign_page_gets_in(client: TestClient, headers: dict[str, str], status: int) -> None:
    for path in ("/", "/static/view.js", "/live/events" if status != 200 else "/rows"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == status
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_only_reading_is_possible(client: TestClient) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        own = {"Origin": "http://localhost:8765"}
        assert client.request(method, "/rows/attempts", headers=own).status_code == 405
        assert client.request(method, "/rows/attempts").status_code == 403


def test_beyond_this_machine_the_token_is_asked_for(lakes: Lakes) -> None:
    far = TestClient(
        AccessControl(application(Site(lakes, read_s=600)), 8765, ["lake.example"], TOKEN),
        base_url="http://lake.example:8765",
    )
    assert far.get("/").status_code == 401
    assert far.get("/?token=guess").status_code == 401
    assert far.get("/static/view.js").status_code == 401
    assert far.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert far.get("/", headers={"Cookie": "alignery-view-8765=guess"}).status_code == 401
    first = far.get(f"/rows?at=v1&token={TOKEN}", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/rows?at=v1"), "the token leaves the address"
    assert "httponly" in first.headers["set-cookie"].lower()
    assert far.get("/rows").status_code == 200, "the cookie is enough from then on"
    assert far.get("/rows", headers={"Origin": "http://evil.example"}).status_code == 403
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("lake.example")


def test_a_query_is_stopped_after_its_time(lakes: Lakes, client: TestClient) -> None:
    hasty = TestClient(AccessControl(application(Site(lakes, read_s=0.3)), 8765), base_url="http://localhost:8765")
    page = hasty.get("/sql?q=SELECT+count(*)+FROM+range(100000000000)+a,+range(1000)+b")
    assert page.status_code == 400
    assert "took more than 0.3 s" in page.text
    assert client.get("/sql?q=SELECT+1").status_code == 200, "the lake is as good as before"


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ],
)
def test_a_foreign_page_may_link_here_and_not_embed(client: TestClient, site: str, mode: str, status: int) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode}
    assert client.get("/sql?q=SELECT+1&format=csv", headers=headers).status_code == status

"""Marks made on the pages: rows of the lake, shown where they were made; no other site's page can make one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_texts import POISON
from starlette.testclient import TestClient

from alignery.config.preset import load
from alignery.view.access_control import AccessControl
from alignery.view.app import Site, application
from alignery.view.lakes import Lakes
from alignery.view.pages.marks import FORM

pytestmark = pytest.mark.flow
OWN = {"Origin": "http://localhost:8765"}
RIGHT = {"target_id": "v-i0", "by": "ada", "verdict": "right", "back": "/row/revisions/v-i0"}


@pytest.fixture(scope="module")
def marking(lake_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The pages over a lake of their own, which is written to."""
    home = shutil.copytree(lake_home, tmp_path_factory.mktemp("marking") / "home")
    lakes = Lakes(home, load("nano"))
    yield TestClient(
        AccessControl(application(Site(lakes, read_s=600)), 8765), base_url="http://localhost:8765", headers=OWN
    )
    lakes.close()


def made(client: TestClient) -> list[dict[str, object]]:
    return client.get("/rows/marks?format=json").json()["rows"]


def test_a_mark_is_kept_and_shown_on_its_row(marking: TestClient) -> None:
    edit = {"text": "better\r\nand kind", "note": POISON}
    answer = marking.post("/marks", data=RIGHT | edit, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, RIGHT["back"])
    (row,) = [row for row in made(marking) if row["target_id"] == "v-i0"]
    assert (row["marked_by"], row["verdict"], row["text"], row["origin"]) == (
        "ada",
        "right",
        "better\nand kind",
        "page",
    )
    page = marking.get(RIGHT["back"]).text
    assert "&lt;img src=x onerror" in page
    assert 'value="ada"' in page, "the name is remembered"
    assert 'method="post"' not in marking.get("/row/revisions/v-i0?at=v1").text


def test_an_edit_that_changes_nothing_is_none(marking: TestClient) -> None:
    marking.post("/marks", data={"target_id": "b-i3", "by": "ada", "verdict": "right", "text": "answer b-i3"})
    (row,) = [row for row in made(marking) if row["target_id"] == "b-i3"]
    assert (row["verdict"], row["text"]) == ("right", None)


def test_a_foreign_page_makes_no_mark(marking: TestClient) -> None:
    before = len(made(marking))
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""}):
        assert marking.post("/marks", data=RIGHT, headers=headers).status_code == 403
    del marking.headers["Origin"]
    assert marking.post("/marks", data=RIGHT).status_code == 403
    marking.headers.update(OWN)
    assert len(made(marking)) == before


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (RIGHT | {"verdict": "perfect"}, "expected one of right"),
        (RIGHT | {"by": ""}, "by: got"),
        (RIGHT | {"target_id": "none"}, "no record or attempt"),
        (RIGHT | {"note": "x" * FORM}, "shorten it"),
        ({f"f{n}": "x" for n in range(30)}, "cannot be read"),
    ],
)
def test_what_is_no_mark_is_refused_with_a_sentence(marking: TestClient, form: dict[str, str], message: str) -> None:
    answer = marking.post("/marks", data=form)
    assert answer.status_code == 400
    assert message in answer.text


def test_no_form_leads_elsewhere(marking: TestClient) -> None:
    for back in ("//evil.example/x", "/\\evil.example", "https://evil.example"):
        where = marking.post("/marks", data=RIGHT | {"back": back}, follow_redirects=False).headers["location"]
        assert where.startswith("/")
        assert not where.startswith(("//", "/\\"))


def test_a_queue_shows_pairs_blind_and_goes_on(marking: TestClient) -> None:
    seen = set()
    for _ in range(3):
        found = marking.get("/marks?by=bob&kind=pairs&order=random&format=json").json()
        item = found["item"]
        assert [side["verdict"] for side in found["sides"]] in (["first", "second"], ["second", "first"])
        seen.add(item["target_id"])
        form = {"target_id": item["target_id"], "other_id": item["other_id"], "by": "bob", "verdict": "first"}
        marking.post("/marks", data=form | {"dimension": item["dimension"] or "", "shown_left": item["left"]})
    assert len(seen) == 3
    assert marking.get("/marks?format=json").json()["agreement"]["people"]["bob"]["marked"] == 3

"""What the pages show and link to, as HTML and as JSON, over a real lake."""

from __future__ import annotations

import csv
import io
import json
import re

import pyarrow.parquet as pq
import pytest
from hostile_texts import LONG
from starlette.testclient import TestClient

from alignery.view.lakes import Lakes
from warehouse.browse.table_page import columns_of

PAGES = [
    "/", "/?run=all", "/?at=v1", "/report/run-1", "/rows", "/rows/attempts", "/rows/preferences", "/rows/runs",
    "/rows/funnel", "/pairs/preferences", "/pairs/qac", "/row/instructions/i0", "/row/revisions/v-i0",
    "/row/attempts/lost0-try0", "/row/instructions/i0/uses", "/words", "/words?a=p0&b=p1", "/words/principle:kind",
    "/words/respond/answer", "/models", "/models?a=base&b=m:1", "/models/m:1", "/snapshots", "/snapshots?a=v1", "/live",
    "/marks", "/marks?by=ada", "/sql", "/sql?q=SELECT+42+AS+answer",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_there_as_html_and_as_json(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 200, page.text[-800:]
    assert page.text.startswith("<!doctype html>")
    data = client.get(path + ("&" if "?" in path else "?") + "format=json")
    assert data.status_code == 200
    assert isinstance(data.json(), dict)


def test_funnel_leads_from_a_reason_to_its_rows(client: TestClient) -> None:
    steps = {step["step"]: step for step in client.get("/?format=json").json()["steps"]}
    reasons = steps["respond.answer"]["reasons"]
    assert [(one["reason"], one["times"]) for one in reasons] == [("too long: … tokens", 2)], (
        "numbers apart, one reason"
    )
    (link,) = re.findall(r'href="(/rows/rejects[^"]*too\+long[^"]*)"', client.get("/").text)
    rows = client.get(link.replace("&amp;", "&") + "&format=json").json()
    assert sorted(row["id"] for row in rows["rows"]) == ["lost0-try0", "lost1-try0"]


def test_pages_of_rows_follow_each_other_and_lose_none(client: TestClient) -> None:
    for sort in ("", "-text", "text", "similarity"):
        found, after = [], ""
        while after is not None:
            page = client.get(
                "/rows/instructions", params={"format": "json", "_size": 5, "_sort": sort, "_after": after}
            )
            assert page.status_code == 200, page.json()
            found += [row["id"] for row in page.json()["rows"]]
            after = page.json()["next"]
        assert len(found) == len(set(found)) == 16, sort


@pytest.mark.parametrize("name", ["runs", "evals", "commits", "funnel", "usage", "principles", "current_marks"])
def test_rows_without_an_id_of_their_own_follow_each_other_too(client: TestClient, name: str) -> None:
    found, after = [], ""
    while after is not None:
        page = client.get(f"/rows/{name}", params={"format": "json", "_size": 2, "_after": after})
        assert page.status_code == 200, page.json()
        found += [json.dumps(row) for row in page.json()["rows"]]
        after = page.json()["next"]
    (count,) = client.get(f"/sql?q=SELECT count(*) FROM {name}&format=json").json()["rows"]
    assert (len(found), len(set(found))) == (count[0], count[0])


def test_no_view_has_an_id_twice(lakes: Lakes) -> None:
    """Pages of a view that has ids are delimited by them."""
    views = [name for name in lakes.now.schema.views if "id" in columns_of(lakes.now, name)]
    assert {"sft", "preferences", "rejects"} <= set(views)
    counts = (f"SELECT '{view}' AS name, count(*) AS n, count(DISTINCT id) AS ids FROM {view}" for view in views)
    assert not [row["name"] for row in lakes.now.rows(" UNION ALL ".join(counts)) if row["n"] != row["ids"]]


def test_rows_are_filtered_searched_and_counted(client: TestClient) -> None:
    def ids(**params: object) -> list[str]:
        return sorted(
            row["id"] for row in client.get("/rows/instructions", params=params | {"format": "json"}).json()["rows"]
        )

    assert ids(state="rejected") == ["double"]
    assert ids(_search="QUESTION again") == ["double"]
    assert ids(similarity__gt="0.5") == ["double"]
    assert ids(reason__null="0") == ["double"]
    assert ids(text__contains="I11") == ["i11"]
    found = client.get("/rows/instructions?format=json").json()
    assert (found["count"], found["more"]) == (16, False)
    assert {"value": "accepted", "n": 15} in found["facets"]["state"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/rows/nothing", "no table or view"),
        ("/rows/attempts?colour=red", "no column"),
        ("/rows/attempts?seed=red", "Conversion"),
        ("/rows/attempts?_after=x", "begin again"),
        ("/rows/attempts?_size=many", "number of rows"),
        ("/rows/attempts?format=xml", "expected html or json"),
        ("/rows/attempts?at=v9", "no tag"),
        ("/row/instructions/none", "no row"),
        ("/row/instructions/%00", "got a NUL"),
        ("/rows/a%00b", "got a NUL"),
        ("/row/runs/run-1", "got the table"),
        ("/go?id=zzzzzz", "no record or attempt"),
        ("/words/nothing", "no prompt or principle"),
        ("/models/none", "no model"),
        ("/rows/sft?at=v1&_model=none", "no model"),
        ("/rows/sft?_model=m:1", "sft at v1, which it was trained on"),
        ("/rows/qac?at=v1&_model=m:1", "sft at v1, which it was trained on"),
        ("/report/none", "expected the id of a run"),
        ("/pairs/attempts", "expected one of"),
        ("/sql?q=DROP+TABLE+attempts", "expected one SELECT"),
        ("/sql?q=SELECT+*+FROM+read_csv('/etc/passwd')", "read_csv"),
        ("/sql?q=SELECT+getenv('HOME')", "getenv"),
    ],
)
def test_a_mistake_is_a_page_that_says_it(client: TestClient, path: str, message: str) -> None:
    page = client.get(path)
    assert page.status_code in (400, 404)
    assert message in page.text
    error = client.get(path + ("&" if "?" in path else "?") + "format=json")
    if "format=xml" not in path:
        assert message in error.json()["error"]


def test_a_row_tells_its_whole_story(client: TestClient) -> None:
    story = client.get("/row/revisions/v-i0?format=json").json()
    assert story["instruction"]["id"] == "i0"
    tables = {one["record_table"] for one in story["members"]}
    assert {"responses", "critiques", "revisions", "corrections", "comparisons", "attempts"} <= tables
    page = client.get("/row/revisions/v-i0").text
    assert "<del>answer b-i0" in page, "what the revision took away"
    assert "too long: 7001 tokens" in page, "a call that was lost is in the story"
    assert "Is the answer kind?" in page, "the principle's words"
    assert page.index("Answer (base)") < page.index("Critique 1") < page.index("Revision 1") < page.index("Correction")


def test_the_rows_that_trained_a_model_are_shown_and_downloaded(client: TestClient) -> None:
    query = client.get("/models/m:1?format=json").json()["model"]["rows"]
    asked = {"q": f"SELECT id FROM ({query})", "at": "v1", "format": "json"}
    trained = sorted(id for (id,) in client.get("/sql", params=asked).json()["rows"])
    page = {"at": "v1", "_model": "m:1"}
    rows = client.get("/rows/sft", params=page | {"format": "json"}).json()
    assert sorted(row["id"] for row in rows["rows"]) == trained
    assert rows["count"] == len(trained) < client.get("/rows/sft?at=v1&format=json").json()["count"]
    file = csv.DictReader(io.StringIO(client.get("/rows/sft", params=page | {"format": "csv"}).text))
    assert sorted(row["id"] for row in file) == trained


def test_a_story_ends_with_the_models_that_it_trained(client: TestClient) -> None:
    query = client.get("/models/m:1?format=json").json()["model"]["rows"]
    trained = client.get(
        "/sql", params={"q": f"SELECT instruction_id FROM ({query}) LIMIT 1", "at": "v1", "format": "json"}
    )
    ((id,),) = trained.json()["rows"]
    uses = client.get(f"/row/instructions/{id}/uses?format=json").json()["uses"]
    assert {use["tag"] for use in uses} == {"v1"}
    assert ["m:1"] in [[model["id"] for model in use["models"]] for use in uses]


def test_why_a_near_duplicate_was_rejected(client: TestClient) -> None:
    page = client.get("/row/instructions/double").text
    assert "near-duplicate: ROUGE-L" in page
    assert "<ins> again</ins>" in page, "what the candidate has beside the text it is too near to"


def test_principles_show_what_they_changed(client: TestClient) -> None:
    (row,) = client.get("/words?format=json").json()["principles"]
    assert (row["principle_id"], row["drawn"], row["changed"]) == ("kind", 12, 12)
    found = client.get("/words/principle:kind?format=json").json()
    assert found["rounds"] == [{"round": 1, "drawn": 12, "changed": 12}]
    assert len(found["examples"]) == 12
    assert found["examples"][0]["before"].startswith("answer b-i")


def test_two_wordings_and_two_models_stand_side_by_side(client: TestClient) -> None:
    assert "<del> please</del>" in client.get("/words?a=p0&b=p1").text
    rows = client.get("/models?a=base&b=m:1&format=json").json()["compared"]["rows"]
    assert [(row["a"], row["b"]) for row in rows] == [("base 0", "m:1 0"), ("same 1", "same 1")], (
        "those that differ first"
    )


def test_a_model_says_what_trained_it(client: TestClient) -> None:
    found = client.get("/models/m:1?format=json").json()
    assert found["model"]["status"] == "current"
    assert len(found["history"]) == 20
    page = client.get("/models/m:1").text
    assert 'class="curve"' in page
    assert 'class="interval"' in page
    (link,) = re.findall(r'href="(/rows/sft\?[^"]*)">The 9 rows that trained it', page)
    assert "Rows that trained" in client.get(link.replace("&amp;", "&")).text


def test_two_snapshots_are_compared(client: TestClient) -> None:
    found = client.get("/snapshots?a=v1&format=json").json()["compared"]
    new = {row["name"]: row["new"] for row in found["tables"]}
    assert new["instructions"] == 4
    assert new["revisions"] == 0


def test_at_shows_the_lake_as_it_stood(client: TestClient) -> None:
    assert client.get("/rows/instructions?format=json&at=v1").json()["count"] == 12
    page = client.get("/rows/instructions?at=v1").text
    assert "at=v1" in re.findall(r'href="(/row/[^"]*)"', page)[0], "links stay at the snapshot"


def test_downloads_hold_all_rows(client: TestClient) -> None:
    lines = list(csv.reader(io.StringIO(client.get("/rows/instructions?format=csv&state=accepted").text)))
    assert len(lines) == 1 + 15
    table = pq.read_table(io.BytesIO(client.get("/rows/sft?format=parquet").content))
    assert set(table.column_names) >= {"messages", "id"}
    text = client.get("/sql", params={"q": "SELECT text FROM responses WHERE id = 'b-long'", "format": "jsonl"}).text
    assert json.loads(text)["text"] == LONG, "texts of a file are whole"


def test_sql_shows_a_part_and_says_so(client: TestClient) -> None:
    found = client.get("/sql?q=FROM+range(1000)&format=json").json()
    assert (len(found["rows"]), found["more"]) == (200, True)


def test_the_sql_of_a_page_gives_its_rows(client: TestClient) -> None:
    page = client.get("/rows/instructions?state=rejected").text
    (link,) = re.findall(r'href="(/sql\?[^"]*)">Edit', page)
    found = client.get(link.replace("&amp;", "&") + "&format=json").json()
    assert len(found["rows"]) == 1

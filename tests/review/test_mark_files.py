"""Marks go to the files of Argilla and Label Studio and come back whole; a hostile file is refused with its place."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime

import pytest
from lake_rows import fill

from alignery.errors import UsageError
from alignery.pipeline.marks import Mark, add_all, queue
from alignery.pipeline.marks.files import TOOLS, as_file, bring_in, read_marks
from warehouse import Lake

NOW = datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
STATED = "target_id, other_id, dimension, marked_by, verdict, score, text, note"
NASTY = 'a "quoted" </script>\n\n"line", {brace} \u202e \x1b[31m'
MARKS = [
    Mark("c-i0", "ada", "right", score=4.5, at=NOW),
    Mark("c-i0", "bob@example.org", "wrong", text=NASTY, note="so", at=NOW),
    Mark("c-i1", "ada", note="only a note", at=NOW),
    Mark("b-i0", "ada", "second", other_id="v-i0", at=NOW),
    Mark("b-i1", "ada", "first", other_id="v-i1", dimension="helpful", note="shorter", at=NOW),
    Mark("b-i1", "bob@example.org", "tie", other_id="v-i1", dimension="helpful", at=NOW),
    Mark("b-i2", "ada", "flag", other_id="v-i2", at=NOW),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory, empty):
    """The home of a lake without marks."""
    home = shutil.copytree(empty, tmp_path_factory.mktemp("plain") / "home")
    with Lake.open(home) as lake:
        fill(lake, 3)
    return home


@pytest.fixture
def lake(plain, tmp_path):
    with Lake.open(shutil.copytree(plain, tmp_path / "home")) as lake:
        yield lake


@pytest.fixture(scope="module", params=TOOLS)
def written(plain, tmp_path_factory, request):
    """A tool, the file of a lake's marks for it, and what they say."""
    folder = tmp_path_factory.mktemp("written")
    with Lake.open(shutil.copytree(plain, folder / "home")) as lake:
        add_all(lake, MARKS)
        (folder / "marks.json").write_text(as_file(lake, request.param), encoding="utf-8")
        return request.param, folder / "marks.json", stated(lake)


def stated(lake):
    return lake.rows(f"SELECT {STATED} FROM current_marks ORDER BY ALL")


def test_what_goes_out_comes_back_in_another_lake_and_once(written, lake):
    from tasks.review.argilla import user_id

    tool, file, whole = written
    people = {user_id(name): name for name in ("ada", "bob@example.org")}
    assert bring_in(lake, read_marks(lake, tool, file, people)) == (len(MARKS), 0)
    assert stated(lake) == whole
    before = lake.snapshot()
    assert bring_in(lake, read_marks(lake, tool, file)) == (0, len(MARKS)), "and the names are known by now"
    assert lake.snapshot() == before
    assert {row["origin"] for row in lake.rows("SELECT origin FROM marks")} == {tool}
    if tool == "label-studio":
        assert {row["at"] for row in lake.rows("SELECT created_at AS at FROM marks")} == {NOW}


def test_a_queue_goes_out_unmarked_and_blind_and_comes_back_marked(lake, tmp_path):
    items = queue(lake, "pairs", "random", 3, by="")
    tasks = json.loads(as_file(lake, "label-studio", items))
    assert [task["annotations"] for task in tasks] == [[], [], []]
    data = tasks[0]["data"]
    assert {data["left"], data["right"]} == {items[0]["first"], items[0]["second"]}
    result = {"from_name": "verdict", "to_name": "left", "type": "choices", "value": {"choices": ["left"]}}
    tasks[0] |= {
        "id": 7,
        "annotations": [{"completed_by": 3, "created_at": "2026-05-06T07:08:09Z", "result": [result]}],
    }
    tasks[1] |= {"annotations": [{"completed_by": 3, "was_cancelled": True, "result": []}]}
    (tmp_path / "back.json").write_text(json.dumps(tasks))
    assert bring_in(lake, read_marks(lake, "label-studio", tmp_path / "back.json", {"3": "ada"})) == (1, 0)
    (row,) = lake.rows("SELECT * FROM current_marks")
    better = row["target_id"] if row["verdict"] == "first" else row["other_id"]
    assert (row["marked_by"], better) == ("ada", data["left_id"])


def broken(tool, change):
    """One mark as a file's value, changed."""
    if tool == "argilla":
        one = {"id": "x", "fields": {}, "metadata": {"target_id": "c-i0"}}
        one["responses"] = {"verdict": [{"value": "right", "user_id": "ada"}]}
    else:
        result = {"from_name": "verdict", "to_name": "answer", "type": "choices", "value": {"choices": ["right"]}}
        one = {"data": {"target_id": "c-i0"}, "annotations": [{"completed_by": 1, "result": [result]}]}
    change(one)
    return one


HOSTILE = [
    ("argilla", lambda one: one["responses"].update(verdict=[{"value": "good", "user_id": "a"}]),
     "record 2: responses of 'a': verdict: got 'good', expected one of right, wrong, flag"),
    ("argilla", lambda one: one["responses"].update(mood=[]), "responses: got 'mood', expected some of verdict"),
    ("argilla", lambda one: one["responses"].update(score=[{"value": "5", "user_id": "a"}]),
     "record 2: responses.score: got '5', expected a number"),
    ("argilla", lambda one: one["responses"]["verdict"].append({"value": "wrong", "user_id": "ada"}),
     "responses.verdict: got two of the user 'ada'"),
    ("argilla", lambda one: one["metadata"].update(left_id="b-i0", right_id="v-i0"), "expected target_id, or left_id"),
    ("argilla", lambda one: one["metadata"].update(target_id=["x"]), "metadata.target_id: got ['x'], expected a text"),
    ("argilla", lambda one: one["metadata"].update(target_id="gone"), "mark on gone: no record or attempt has that id"),
    ("label-studio", lambda one: one["annotations"][0]["result"][0].update(from_name="mood"),
     "task 2: annotations.0.result.0: from_name: got 'mood', expected each of verdict, score, edit, note"),
    ("label-studio", lambda one: one["annotations"][0]["result"].append(one["annotations"][0]["result"][0]),
     "annotations.0.result.1: from_name: got 'verdict' again"),
    ("label-studio", lambda one: one["annotations"][0]["result"][0].update(value={"text": "x"}),
     "annotations.0.result.0: value: got no 'choices'"),
    ("label-studio", lambda one: one["annotations"][0].update(completed_by={}), "got neither email nor id"),
    ("label-studio", lambda one: one["annotations"][0].update(created_at="9999-01-01T00:00:00Z"), "which is to come"),
    ("label-studio", lambda one: one["annotations"][0].update(created_at="soon"), "created_at: got 'soon'"),
    ("label-studio", lambda one: one["annotations"][0].update(completed_by="\x1b]0;x"), "by: got"),
    ("label-studio", lambda one: one.pop("data"), "task 2: data: got nothing, expected a value"),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "change", "message"), HOSTILE)
def test_a_hostile_file_is_refused_with_its_place_and_nothing_is_taken_in(
    unwritten_marks, tmp_path, tool, change, message
):
    file = tmp_path / "marks.json"
    file.write_text(json.dumps([broken(tool, lambda one: None), broken(tool, change)]))
    with pytest.raises(UsageError) as found:
        bring_in(unwritten_marks, read_marks(unwritten_marks, tool, file))
    assert message in str(found.value)
    assert "\x1b" not in str(found.value)
    assert unwritten_marks.rows("SELECT count(*) AS n FROM marks") == [{"n": 0}]


@pytest.fixture(scope="module")
def unwritten_marks(plain, tmp_path_factory):
    with Lake.open(shutil.copytree(plain, tmp_path_factory.mktemp("unwritten") / "home")) as lake:
        yield lake


@pytest.mark.parametrize(
    ("text", "message"), [('{"a": 1}', "got a dict, expected a list of"), ("[1", "not JSON"),
                       ("[" * 9999, "nested too deep"), ("[NaN]", "NaN is no JSON number"), ("[1]", "1")]
)  # fmt: skip
@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_no_such_file_is_reported(unwritten_marks, tmp_path, tool, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=r"x\.json: ") as found:
        read_marks(unwritten_marks, tool, tmp_path / "x.json")
    assert message in str(found.value)

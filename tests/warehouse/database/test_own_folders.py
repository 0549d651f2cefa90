"""The folders of a home: what a copy of it uses, and where no export may go. And what is committed with a tag."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lake_rows import commit, fill, instruction

from warehouse import Lake, LakeUsageError, model_registry
from warehouse.database.location import LakeLocation
from warehouse.export.publish import publish, tag
from warehouse.query import status, trained_on

RUN = {"id": "run-t", "state": "finished", "flow": "tag"}


def beside(counts):
    return {"runs": [RUN | {"totals": str(dict(counts))}]}


def test_a_tag_and_its_run_are_one_commit(lake):
    fill(lake)
    before = lake.snapshot()
    tag(lake, "mine", run_id="run-t", beside=beside)
    assert lake.snapshot() == before + 1
    assert lake.rows("SELECT name FROM tags") == [{"name": "mine"}]
    assert lake.rows("SELECT state FROM runs") == [{"state": "finished"}]


def test_a_tag_that_is_named_again_is_the_same_until_work_comes(lake):
    fill(lake)
    made = tag(lake, "mine", run_id="r", beside=beside)
    newest = lake.snapshot()
    again = tag(lake, "mine", run_id="r", beside=beside)
    assert (again.created, again.snapshot_id, lake.snapshot()) == (False, made.snapshot_id, newest)
    commit(lake, instructions=[instruction("later")])
    with pytest.raises(LakeUsageError, match=f"the tag mine names snapshot {made.snapshot_id}, not {lake.snapshot()}"):
        tag(lake, "mine", run_id="r")


def test_a_publication_without_a_name_passes_over_tags_that_were_only_named(lake):
    fill(lake)
    tag(lake, "private", run_id="r")
    before = lake.snapshot()
    done = publish(lake, None, lake.home / "exports", models={}, run_id="r", beside=beside)
    assert (done.tag, done.created, lake.snapshot()) == ("v1", True, before + 1)
    assert lake.rows("SELECT state FROM runs") == [{"state": "finished"}]
    again = publish(lake, None, lake.home / "exports", models={}, run_id="r", beside=beside)
    assert (again.tag, again.created, lake.snapshot()) == ("v1", False, before + 1)


def test_a_copied_lake_uses_its_own_models_and_exports(lake, tmp_path):
    fill(lake)
    model, elsewhere = lake.home / "models" / "dpo-1", tmp_path / "base"
    for folder in (model, elsewhere):
        folder.mkdir(parents=True)
    done = publish(lake, "v1", lake.home / "exports", models={}, run_id="r")
    row = {"id": "m", "path": str(model), "base_path": str(elsewhere), "recipe": "dpo", "tag": "v1", "view": "sft"}
    lake.ledger.write("models", [row], run_id="r", message="m")
    decision = {
        "id": "d",
        "alias": "generator",
        "state": "promoted",
        "model": "m",
        "decided_by": "hand",
        "reasons": ["why"],
    }
    lake.ledger.write("decisions", [decision | {"model_path": str(model)}], run_id="r", message="d")
    copy = Path(shutil.copytree(lake.home, tmp_path / "copy"))
    for home in (lake.home, copy):
        with Lake.open(home, read_only=True) as read:
            own = str(home / "models" / "dpo-1")
            assert [
                row["path"] for row in (*status.models(read), *trained_on.models(read), *status.status(read)["models"])
            ] == [own] * 3
            assert status.models(read)[0]["base_path"] == str(elsewhere), "what is not the home's stays where it is"
            assert (
                model_registry.find(read, "m")["path"] == model_registry.current(read, "generator")["model_path"] == own
            )
            assert status.tags(read)[0]["export_path"] == str(home / "exports" / "v1")
    shutil.rmtree(copy / "models")
    with Lake.open(copy, read_only=True) as read:
        assert status.models(read)[0]["path"] == str(model), "a path that leads nowhere here is shown as recorded"
    assert done.path == lake.home / "exports" / "v1"


@pytest.mark.parametrize(
    "folder", ["data", "data/x", "data/main/attempts", "journal", "models/x", "tmp", "", "new", "exports"]
)
def test_no_export_goes_among_what_the_lake_keeps(tmp_path, folder):
    with pytest.raises(LakeUsageError, match=r"the lake keeps for itself; choose one elsewhere, or in .*/home/exports"):
        LakeLocation(tmp_path / "home").check_export(tmp_path / "home" / folder)


def test_no_export_goes_into_another_or_through_a_link(tmp_path):
    place = LakeLocation(tmp_path / "home", data=str(tmp_path / "elsewhere"))
    other = tmp_path / "home/exports/v1"
    other.mkdir(parents=True)
    (other / "manifest.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "home")
    for folder, why in (
        ("home/exports/v1/data", "is another export"),
        ("elsewhere/x", "keeps"),
        ("link/data/x", "keeps"),
    ):
        with pytest.raises(LakeUsageError, match=why):
            place.check_export(tmp_path / folder)
    place.check_export(tmp_path / "home/exports/v2")
    place.check_export(other)
    place.check_export(tmp_path / "mine")


def test_a_folder_that_duckdb_would_read_otherwise_is_refused(tmp_path):
    with pytest.raises(LakeUsageError, match="DuckDB takes a backslash for a separator"):
        LakeLocation(tmp_path / "a\\b")
    with pytest.raises(LakeUsageError, match=r"in which \*, \? and \[ would be a pattern"):
        LakeLocation(tmp_path, data="s3://bucket/a*")


def test_show_counts_what_it_leaves_out(lake):
    commit(lake, instructions=[instruction(f"i{n}") for n in range(4)])
    assert (len(status.show(lake, "instructions", 3)), status.count(lake, "instructions")) == (3, 4)

"""A publication is a folder that trainers open, made once for its content."""

import json
import re
import shutil

import pyarrow.parquet as pq
import pytest
import yaml
from lake_rows import fill

from warehouse import Lake, LakeUsageError
from warehouse.export.publish import publish, tag
from warehouse.query import status


def out(lake, tag="v1", **changes):
    options = {"models": {"model-a": "Apache-2.0 | <b>"}, "run_id": "run-p", "message": "first *light*"} | changes
    return publish(lake, tag, lake.home / "exports", **options)


@pytest.fixture(scope="module")
def done(empty, tmp_path_factory):
    """A lake and its first publication; tests only read them."""
    with Lake.open(shutil.copytree(empty, tmp_path_factory.mktemp("published") / "home")) as lake:
        fill(lake)
        yield lake, out(lake)


def test_datasets_and_pyarrow_open_the_trainers_columns(done, tmp_path):
    import datasets

    lake, publication = done
    sft = datasets.load_dataset(str(publication.path), "sft", split="train+test", cache_dir=str(tmp_path))
    assert sft.column_names == ["messages"]
    assert len(sft) == publication.rows["sft"] == lake.sql("SELECT * FROM sft").num_rows > 0
    rows = [row["messages"] for row in lake.rows("SELECT messages FROM sft")]
    assert sorted(map(str, sft["messages"])) == sorted(map(str, rows))
    preferences = pq.read_table(publication.data("preferences"))
    assert preferences.column_names == ["prompt", "chosen", "rejected"]
    assert preferences.num_rows == publication.rows["preferences"] > 0
    assert pq.read_table(publication.data("qac")).column_names == ["question", "answer", "correction", "template_id"]


def test_provenance_stands_beside_each_row_in_the_same_order(done):
    lake, publication = done
    data = pq.read_table(publication.data("qac")).to_pylist()
    origins = pq.read_table(publication.path / "provenance" / "qac").to_pylist()
    assert len(data) == len(origins) == 12
    for row, origin in zip(data, origins, strict=True):
        (whole,) = lake.rows("SELECT * FROM qac WHERE id = ?", [origin["id"]])
        assert whole == row | origin


def test_the_card_is_read_by_machines_and_broken_by_no_text(done):
    _, publication = done
    card = (publication.path / "README.md").read_text()
    matter = yaml.safe_load(card.split("---\n")[1])
    assert [config["config_name"] for config in matter["configs"]] == ["sft", "preferences", "qac"]
    # Read the fences as a Markdown reader does: what is outside of them is ours.
    outside, fence = [], None
    for line in card.splitlines():
        mark = re.match("`{3,}", line)
        if fence is None and mark:
            fence = mark[0]
        elif fence is not None and mark and len(mark[0]) >= len(fence) and not line.strip("`"):
            fence = None
        elif fence is None:
            outside.append(line)
    assert fence is None
    headings = [line for line in outside if line.startswith("#")]
    assert headings[:3] == ["# v1", "## Data", "## Loading"]
    assert not [line for line in headings if "not a" in line or "nor" in line]
    assert "<" not in "".join(outside).replace(r"\<", "").replace("n<1K", "")
    assert r"Apache-2.0 \| \<b\>" in card
    assert r"first \*light\*" in card
    assert "x" * 700 not in card
    assert max(len(line) for line in card.split("\n")) < 1000


def test_the_manifest_says_how_to_make_it_again(done):
    lake, publication = done
    manifest = json.loads((publication.path / "manifest.json").read_text())
    assert manifest["snapshot_id"] == publication.snapshot_id == lake.snapshot() - 1
    assert manifest["content_hash"] == publication.content_hash
    assert {shape: facts["rows"] for shape, facts in manifest["shapes"].items()} == publication.rows
    with Lake.open(lake.home, snapshot=manifest["snapshot_id"]) as pinned:
        for facts in manifest["shapes"].values():
            assert pinned.sql(facts["query"]).num_rows == facts["rows"]
    assert {"id": "respond/answer", "hash": "p1"} in manifest["prompts"]
    assert {"id": "principle:kind", "hash": "h"} in manifest["prompts"]
    assert manifest["models"] == [{"model": "model-a", "steps": ["respond.answer"]}]
    assert manifest["licences"] == {"model-a": "Apache-2.0 | <b>"}
    (tag,) = lake.rows("SELECT * FROM tags")
    assert (tag["name"], tag["snapshot_id"], json.loads(tag["rows"])) == (
        "v1",
        publication.snapshot_id,
        publication.rows,
    )
    assert (tag["content_hash"], tag["export_path"]) == (publication.content_hash, str(publication.path))


def test_the_same_content_is_the_same_publication(lake):
    fill(lake)
    first = out(lake, None)
    assert (first.tag, first.created) == ("v1", True)
    lake.ledger.write("runs", [{"id": "r", "state": "started", "flow": "f"}], run_id="r", message="no new rows")
    before, files = lake.snapshot(), sorted(first.path.rglob("*"))
    for again in (out(lake, None), out(lake, "v1", message="other")):
        assert again == first.__class__(**{**vars(first), "created": False})
    assert lake.snapshot() == before
    assert sorted(first.path.rglob("*")) == files
    shutil.rmtree(first.path)
    assert out(lake, "v1").path == first.path
    assert sorted(first.path.rglob("*")) == files
    assert lake.snapshot() == before


def test_other_content_needs_another_tag(lake):
    fill(lake)
    out(lake)
    fill(lake, start=100)
    with pytest.raises(LakeUsageError, match=r"the tag v1 exists .*choose another, e\.g\. v2"):
        out(lake, "v1")
    assert lake.next_tag() == "v2"
    second = out(lake, None)
    assert (second.tag, second.rows["qac"]) == ("v2", 24)
    assert sorted(path.name for path in second.path.parent.iterdir()) == ["v1", "v2"]


@pytest.mark.parametrize("tag", ["", "V1", "../v1", ".hidden", "a/b", "v1\n"])
def test_a_tag_is_a_plain_name(done, tag):
    with pytest.raises(LakeUsageError, match="expected a name of a-z"):
        out(done[0], tag)


def test_an_empty_lake_publishes_nothing(lake):
    with pytest.raises(LakeUsageError, match="nothing to publish"):
        out(lake)
    assert not list((lake.home / "exports").iterdir())


def test_what_a_broken_publication_left_makes_way_but_nothing_else_does(lake):
    fill(lake)
    folder = lake.home / "exports" / "v1"
    folder.mkdir(parents=True)
    (folder / "precious.txt").write_text("mine")
    with pytest.raises(LakeUsageError, match="something that is not an export is already there"):
        out(lake)
    (folder / "manifest.json").write_text("{}")
    assert out(lake).created
    assert not (folder / "precious.txt").exists()
    assert lake.sql("SELECT * FROM tags").num_rows == 1


def test_a_tag_that_was_only_named_is_published_as_the_snapshot_it_names(lake):
    fill(lake, 12)
    named = tag(lake, "then", lake.snapshot(), run_id="r")
    fill(lake, 12, start=12)
    done = publish(lake, "then", lake.home / "exports", models={}, run_id="p")
    assert (done.snapshot_id, done.content_hash, done.rows) == (named.snapshot_id, named.content_hash, named.rows)
    assert status.tags(lake)[-1]["export_path"] == str(done.path)
    again = publish(lake, "v2", lake.home / "exports", models={}, run_id="p")
    assert again.content_hash != done.content_hash

"""An export of what people marked right: their marks choose its rows, and their edits replace the originals."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from lake_rows import commit, comparison, correction, instruction, on, response, revision

from alignery.pipeline.marks import Mark, add
from warehouse import Lake, LakeUsageError
from warehouse.export.export import export
from warehouse.export.selection import Selection
from warehouse.query.snapshots import release_of

# Prompts of either half, two each.
SFT = [on("sft"), on("sft", 40)]
PAIRS = [on("preferences"), on("preferences", 40), on("preferences", 70)]


@pytest.fixture
def line(lake):
    """Principled answers to the prompts of sft; a first answer, a revision and a correction to the others."""
    tuned, asked = ({f"{kind}{n}": text for n, text in enumerate(texts)} for kind, texts in (("s", SFT), ("p", PAIRS)))
    assert len(set(SFT + PAIRS)) == 5
    commit(
        lake,
        instructions=[instruction(id, text) for id, text in (tuned | asked).items()],
        responses=[
            *(response(f"a-{id}", id, kind="principled") for id in tuned),
            *(response(f"b-{id}", id) for id in asked),
        ],
        revisions=[revision(f"v-{id}", id, f"b-{id}", f"revised {id}") for id in asked],
        corrections=[correction(f"c-{id}", id, f"b-{id}", f"corrected {id}") for id in asked],
    )
    return lake


def exported(lake, shape, folder, **more):
    """The rows of a reviewed or weighted export with their provenance, both splits."""
    more = {"reviewed": "weight" not in more} | more
    release = release_of(lake, str(lake.snapshot()))
    with Lake.open(lake.place, schema=lake.schema, snapshot=release.snapshot_id) as pinned:
        done = export(pinned, [shape], folder, release=release, licences={}, held_out=0.0,
                      selection=Selection(**more))  # fmt: skip
    tables = [pq.read_table(done.path / top).to_pylist() for top in ("data", "provenance")]
    return [data | origin for data, origin in zip(*tables, strict=True)]


def reply(messages):
    return messages[-1]["content"]


def test_only_what_is_marked_right_is_taken_and_nothing_anybody_calls_wrong(line, tmp_path):
    with pytest.raises(LakeUsageError, match=r"sft has no rows that people marked right at .*marks review.*tag NAME"):
        exported(line, "sft", tmp_path / "none")
    add(line, Mark("a-s0", "ada", "right"))
    add(line, Mark("a-s1", "ada", "right"))
    assert len(exported(line, "sft", tmp_path / "both")) == 2
    add(line, Mark("a-s1", "bob", "wrong"))
    (row,) = exported(line, "sft", tmp_path / "one")
    assert (row["id"], row["author"], row["reviewed_by"]) == ("a-s0", None, ["ada"])
    add(line, Mark("a-s0", "bob", "flag"))
    add(line, Mark("a-s1", "bob", "clear"))
    assert [row["id"] for row in exported(line, "sft", tmp_path / "other")] == ["a-s1"]
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    assert "reviews" in json.dumps(manifest)


def test_an_edit_stands_in_the_place_of_the_answer_with_its_author(line, tmp_path):
    add(line, Mark("a-s0", "ada", "wrong", text="as Ada has it"))
    (row,) = exported(line, "sft", tmp_path / "sft")
    assert [one["role"] for one in row["messages"]] == ["user", "assistant"]
    assert (row["messages"][0]["content"], reply(row["messages"]), row["author"]) == (SFT[0], "as Ada has it", "ada")
    add(line, Mark("v-p0", "ada", text="a better revision"))
    (row,) = exported(line, "preferences", tmp_path / "preferences")
    assert (reply(row["chosen"]), reply(row["rejected"]), row["author"]) == ("a better revision", "revised p0", "ada")
    add(line, Mark("c-p0", "bob", text="a better correction"))
    rows = {row["id"]: row for row in exported(line, "qac", tmp_path / "qac")}
    edit = rows.pop("c-p0")
    assert (edit["answer"], edit["correction"], edit["author"]) == ("answer b-p0", "a better correction", "bob")
    # The two edits of answers that have no row in qac are corrections of these.
    assert {(row["answer"], row["correction"], row["author"]) for row in rows.values()} == {
        ("answer a-s0", "as Ada has it", "ada"),
        ("revised p0", "a better revision", "ada"),
    }
    (alpaca,) = exported(line, "alpaca", tmp_path / "alpaca")
    assert alpaca["output"] == "as Ada has it"


def test_an_edit_of_a_first_answer_becomes_a_pair_on_the_side_of_its_prompt(line, tmp_path):
    mark = add(line, Mark("b-p1", "ada", text="what it should have said"))
    (row,) = exported(line, "preferences", tmp_path / "preferences")
    assert (row["id"], row["instruction_id"], row["author"]) == (mark, "p1", "ada")
    assert (row["prompt"][0]["content"], reply(row["chosen"])) == (PAIRS[1], "what it should have said")
    assert reply(row["rejected"]) == "answer b-p1"
    with pytest.raises(LakeUsageError, match="sft has no rows that people marked right"):
        exported(line, "sft", tmp_path / "sft")
    add(line, Mark("b-p1", "ada", text="answer b-p1"))  # the original again: nothing is edited any more
    with pytest.raises(LakeUsageError, match="preferences has no rows"):
        exported(line, "preferences", tmp_path / "again")


def test_a_persons_verdict_on_the_pair_counts_whichever_way_the_ids_stand(line, tmp_path):
    add(line, Mark("b-p0", "ada", "second", other_id="v-p0"))  # the revision is better: it is chosen
    add(line, Mark("b-p1", "ada", "first", other_id="v-p1"))
    add(line, Mark("b-p2", "ada", "tie", other_id="v-p2"))
    add(line, Mark("v-p2", "bob", "right"))
    assert [row["id"] for row in exported(line, "preferences", tmp_path / "x")] == ["v-p0"]


def test_a_mark_on_the_chosen_answer_of_a_pair_that_a_user_brought_counts(line, tmp_path):
    commit(line, run_id="run-2", responses=[response("b2-p2", "p2", "another answer")],
           comparisons=[comparison("x-2", "p2", "b-p2", "b2-p2", 1.0, principle_id="given")])  # fmt: skip
    add(line, Mark("b-p2", "ada", "right"))
    (row,) = exported(line, "preferences", tmp_path / "right")
    assert (row["id"], row["chosen_id"], row["reviewed_by"]) == ("x-2", "b-p2", ["ada"])
    add(line, Mark("b-p2", "bob", text="as Bob has it"))
    (row,) = exported(line, "preferences", tmp_path / "edited")
    assert (reply(row["chosen"]), reply(row["rejected"]), row["author"]) == ("as Bob has it", "answer b-p2", "bob")
    add(line, Mark("b-p2", "eve", "flag"))
    with pytest.raises(LakeUsageError, match="preferences has no rows"):
        exported(line, "preferences", tmp_path / "flagged")


def test_with_a_weight_all_but_what_is_wrong_is_taken(line, tmp_path):
    add(line, Mark("v-p0", "ada", "right"))
    add(line, Mark("b-p1", "ada", "first", other_id="v-p1"))
    rows = exported(line, "preferences", tmp_path / "weighed", weight=4)
    assert {row["id"]: row["weight"] for row in rows} == {"v-p0": 4, "v-p2": 1}
    add(line, Mark("v-p1", "bob", text="as Bob has it"))
    rows = exported(line, "preferences", tmp_path / "edited", weight=4)
    assert {row["id"]: (row["weight"], row["author"]) for row in rows}["v-p1"] == (4, "bob")
    with pytest.raises(LakeUsageError, match="weight: got 4, but a row of ranked is no single answer"):
        exported(line, "ranked", tmp_path / "ranked", weight=4)


def test_a_judged_pair_follows_the_person_and_not_the_judge(line, tmp_path):
    commit(line, run_id="run-2", comparisons=[
        comparison(f"x-{n}", f"p{n}", f"b-p{n}", f"v-p{n}", 0.2) for n in range(2)])  # fmt: skip
    add(line, Mark("b-p0", "ada", "second", other_id="v-p0"))
    add(line, Mark("b-p1", "ada", "first", other_id="v-p1"))
    assert [row["id"] for row in exported(line, "soft_preferences", tmp_path / "x")] == ["x-0"]


def test_it_goes_together_with_other_selections(line, tmp_path):
    add(line, Mark("a-s0", "ada", text="one and the same long answer to both of these questions"))
    add(line, Mark("a-s1", "ada", text="one and the same long answer to both of these questions"))
    from tasks.filters.minhash import NearDuplicates

    def marker():
        seen = NearDuplicates(0.8)
        return lambda ids, answers: [found.id for found in seen.mark(ids, answers)]

    assert len(exported(line, "sft", tmp_path / "x", duplicates=marker)) == 1
    assert len(exported(line, "sft", tmp_path / "y", leaked=lambda text: text == SFT[0])) == 1

"""What is taken of an export: well-rated rows, as many at random, no two alike. Items are facts/methods section 7's."""

import json
import shutil

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_rows import commit, fill, fill_further, instruction, on, record, response
from typer.testing import CliRunner

from alignery.cli.main import app
from tasks.filters.minhash import NearDuplicates
from warehouse import Lake, LakeUsageError
from warehouse.export.export import export
from warehouse.export.selection import Selection
from warehouse.query.snapshots import release_of
from warehouse.schema.lake_schema import default

MANY = 120
SCORES = (5.0, 4.5, 4.0, 3.0)  # in turns; every fifth answer has none
TOPICS = ("code", "cooking", "law")


def rating(id, about, target, score, **fields):
    fields = {"dimension": "accuracy", "reason": None} | fields
    return record(id, [target], instruction_id=about, response_id=target, target_id=target, score=score, **fields)


def score_of(number):
    return None if number % 5 == 4 else SCORES[number % 4]


@pytest.fixture(scope="module")
def rated(empty, tmp_path_factory):
    """120 answers with texts of their own, four in five of them rated on accuracy; tests only read it."""
    with Lake.open(shutil.copytree(empty, tmp_path_factory.mktemp("rated") / "home")) as lake:
        asks = [on("sft", 1000 * n) for n in range(MANY)]
        commit(
            lake,
            instructions=[instruction(f"i{n}", ask, topic=TOPICS[n % 3]) for n, ask in enumerate(asks)],
            responses=[response(f"p{n}", f"i{n}", f"{n} " * 40, kind="principled") for n in range(MANY)],
            ratings=[
                rating(f"r{n}", f"i{n}", f"p{n}", score) for n in range(MANY) if (score := score_of(n)) is not None
            ],
        )
        commit(lake, ratings=[rating("h0", "i0", "p0", 1.0, dimension="helpfulness")])
        yield lake


def taken(lake, folder, shape="sft", **options):
    """The ids of each split of an export, and the export."""
    release = release_of(lake, str(lake.snapshot()))
    with Lake.open(lake.home, snapshot=release.snapshot_id) as pinned:
        done = export(
            pinned, [shape], folder, release=release, licences={}, held_out=0.3, selection=Selection(**options)
        )
    ids = {
        split: [
            id for file in sorted(folder.glob(f"provenance/{split}-*")) for id in pq.read_table(file)["id"].to_pylist()
        ]
        for split in ("train", "test")
    }
    return ids, done


def test_alpagasus_3_four_and_a_half_is_kept_and_four_is_not(rated, tmp_path):
    ids, _ = taken(rated, tmp_path / "out", min_rating=4.5)
    well = {f"p{n}" for n in range(MANY) if (score_of(n) or 0) >= 4.5}
    assert set(ids["train"]) | set(ids["test"]) == well
    assert ids["test"]
    kept = {row["target_id"] for row in rated.rows("SELECT target_id FROM rated WHERE kept AND dimension = 'accuracy'")}
    assert kept == well


def test_alpagasus_2_an_answer_without_a_score_is_in_neither_set(rated, tmp_path):
    without = {f"p{n}" for n in range(MANY) if score_of(n) is None}
    for control in (False, True):
        ids, _ = taken(rated, tmp_path / str(control), min_rating=0, control=control)
        assert without.isdisjoint(ids["train"] + ids["test"])
        assert len(ids["train"] + ids["test"]) == MANY - len(without)


def test_alpagasus_4_the_control_is_as_large_random_and_the_same_each_time(rated, tmp_path):
    well, _ = taken(rated, tmp_path / "well", min_rating=4.5)
    control, done = taken(rated, tmp_path / "control", min_rating=4.5, control=True)
    again, same = taken(rated, tmp_path / "again", min_rating=4.5, control=True)
    assert (again, same.content_hash) == (control, done.content_hash)
    assert {split: len(ids) for split, ids in control.items()} == {split: len(ids) for split, ids in well.items()}
    drawn = [score_of(int(id[1:])) for ids in control.values() for id in ids]
    assert set(drawn) == set(SCORES), "a random draw has rows of every score"
    assert sorted(drawn) != sorted(score_of(int(id[1:])) for ids in well.values() for id in ids)
    larger, _ = taken(rated, tmp_path / "larger", min_rating=4.0, control=True)
    assert all(set(control[split]) < set(larger[split]) for split in control), "a larger draw holds a smaller one"


def test_alpagasus_5_the_histogram_has_every_half_point(rated):
    rows = rated.rows("SELECT * FROM scores WHERE dimension = 'accuracy'")
    assert [row["score"] for row in rows] == [half / 2 for half in range(11)]
    counts = {row["score"]: row["answers"] for row in rows}
    assert counts == dict.fromkeys(counts, 0) | dict.fromkeys(SCORES, 24)
    assert {row["score"]: (row["share"], row["at_least"]) for row in rows}[4.5] == (0.25, 0.5)
    assert rows[0]["at_least"] == 1.0


def test_alpagasus_6_retention_by_topic(rated):
    rows = rated.rows("SELECT * FROM retention WHERE dimension = 'accuracy'")
    by_hand = {
        topic: [score for n in range(MANY) if TOPICS[n % 3] == topic and (score := score_of(n)) is not None]
        for topic in TOPICS
    }
    assert {row["topic"]: (row["rated"], row["kept"], row["share_kept"], row["mean_score"]) for row in rows} == {
        topic: (len(s), sum(x >= 4.5 for x in s), sum(x >= 4.5 for x in s) / len(s), pytest.approx(sum(s) / len(s)))
        for topic, s in by_hand.items()
    }


def test_the_newest_rating_counts(lake, tmp_path):
    commit(
        lake,
        instructions=[instruction("i1", on("sft"))],
        responses=[response("p1", "i1", kind="principled")],
        ratings=[rating("r1", "i1", "p1", 5.0)],
    )
    commit(lake, ratings=[rating("r2", "i1", "p1", 2.0)])
    assert [row["score"] for row in lake.rows("SELECT score FROM rated")] == [2.0]
    with pytest.raises(LakeUsageError, match=r"none of 1 rows of sft is rated 4\.5 or more on accuracy"):
        taken(lake, tmp_path / "out", min_rating=4.5)


def test_the_card_and_manifest_say_what_was_taken(rated, tmp_path):
    _, done = taken(rated, tmp_path / "out", min_rating=4.5, control=True)
    words = "48 of the 96 rated on accuracy, at random, as many as are rated 4.5 or more"
    assert words in (done.path / "README.md").read_text()
    assert json.loads((done.path / "manifest.json").read_text())["shapes"]["sft"]["query"].startswith(f"-- {words}\n")


def test_a_dimension_without_ratings_and_thresholds_out_of_bounds_are_refused(rated, tmp_path):
    with pytest.raises(LakeUsageError, match="no row of sft is rated on 'style'"):
        taken(rated, tmp_path / "out", min_rating=4.5, dimension="style")
    with pytest.raises(LakeUsageError, match="no row of preferences is rated on 'accuracy'"):
        taken(rated, tmp_path / "out", shape="preferences", min_rating=4.5)
    assert [Selection(least).min_rating for least in (0, 5)] == [0, 5]
    for wrong in (6, 5.1, -0.1):
        with pytest.raises(LakeUsageError, match=f"got {wrong}, expected 0 to 5"):
            Selection(wrong)
    with pytest.raises(LakeUsageError, match="a control has the size of a selection"):
        Selection(control=True)


@pytest.mark.parametrize(
    "shape", ["sft", *(pytest.param(name, marks=pytest.mark.flow) for name in ("alpaca", "sharegpt"))]
)
def test_of_answers_that_are_alike_one_stays(lake, tmp_path, shape):
    original = "Water freezes at zero degrees, for at that temperature its molecules settle into a crystal."
    texts = [original, f"{original}!", "Chop the onions, and fry them slowly until they are golden."]
    commit(
        lake,
        instructions=[instruction(f"i{n}", on("sft", 1000 * n)) for n in range(3)],
        responses=[response(f"p{n}", f"i{n}", text, kind="principled") for n, text in enumerate(texts)],
        ratings=[rating(f"r{n}", f"i{n}", f"p{n}", 5.0) for n in range(2)],
    )

    def marker():
        seen = NearDuplicates()
        return lambda ids, answers: [found.id for found in seen.mark(ids, answers)]

    ids, done = taken(lake, tmp_path / "out", shape, duplicates=marker, alike="alike")
    found = ids["train"] + ids["test"]
    assert "p2" in found
    assert len(found) == 2
    assert "alike: 1 of 3 left out" in (done.path / "README.md").read_text()
    ids, _ = taken(lake, tmp_path / "both", shape, duplicates=marker, alike="alike", min_rating=4.5)
    assert len(ids["train"] + ids["test"]) == 1


def test_what_is_left_out_is_counted_over_all_batches():
    def batch(ids):
        return pa.RecordBatch.from_pylist([{"id": id, "held_out": False, "answer": "x"} for id in ids])

    def marker():
        return lambda ids, answers: [id for id in ids if id in "bd"]

    with duckdb.connect() as db:
        words = Selection(duplicates=marker, alike="alike").choose(db, "sft", [batch("abc"), batch("de")]).words
        assert words == "alike: 2 of 5 left out"
        assert db.execute("SELECT id FROM chosen ORDER BY id").fetchall() == [("a",), ("c",), ("e",)]


@pytest.fixture(scope="module")
def every(empty, tmp_path_factory):
    """A lake with rows of every shape; tests only read it."""
    names = [f"i{n}" for n in range(40)]
    with Lake.open(shutil.copytree(empty, tmp_path_factory.mktemp("every") / "home")) as lake:
        fill(lake, len(names))
        fill_further(lake, len(names))
        commit(lake, responses=[response(f"p-{n}", n, f"principled {n}", kind="principled") for n in names])
        yield lake


def answer(row):
    """What a row teaches to say, in whichever shape."""
    if "conversations" in row:
        return row["conversations"][-1]["value"]
    if "messages" in row:
        return row["messages"][-1]["content"]
    if "responses" in row:
        return row["responses"][0]
    if "chosen" in row:
        return row["chosen"][0]["content"]
    return next(row[name] for name in ("output", "correction", "optimized_prompt") if name in row)


@pytest.mark.parametrize("shape", list(default().shapes))
def test_of_every_shape_a_selection_is_offered_what_is_learnt(every, tmp_path, shape):
    offered = []

    def marker():
        return lambda ids, answers: offered.extend(answers) or []

    taken(every, tmp_path / "out", shape, duplicates=marker, alike="alike")
    rows = [row for path in sorted((tmp_path / "out/data").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert rows
    assert sorted(offered) == sorted(answer(row) for row in rows)


def test_the_command_takes_each_into_a_folder_of_its_own(rated):
    def run(*options):
        given = ["export", str(rated.snapshot()), "--home", str(rated.home), "--json", *options]
        return CliRunner().invoke(app, given)

    rows = {}
    for options in (["--min-rating", "4.5"], ["--min-rating", "4.5", "--control"], ["--distinct", "0.8"]):
        done = run(*options)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        rows[found["path"].rpartition("-sft")[2]] = sum(found["rows"]["sft"].values())
    assert rows.keys() == {"-rated-accuracy", "-control-accuracy", "-distinct"}
    assert rows["-rated-accuracy"] == rows["-control-accuracy"] == 48
    assert run("--control").exit_code == 2
    assert run("--distinct", "0").exit_code == 2
    assert run("--min-rating", "9").exit_code == 2

"""An export is a folder that the ecosystem opens as it is: many shapes, two splits, the same bytes each time."""

import hashlib
import json
import shutil

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml
from lake_rows import NASTY, commit, correction, fill, fill_further, instance, instruction, response, revision
from splits import asked, held, place

from warehouse import Lake, LakeFailure, LakeUsageError
from warehouse.export import export as exporting
from warehouse.export import shard_writer
from warehouse.export.export import export
from warehouse.export.publish import publish
from warehouse.query.snapshots import release_of
from warehouse.schema.lake_schema import default

VIEWS = {"alpaca": "sft", "sharegpt": "sft", "dialogues_sharegpt": "dialogues"}  # where names differ
MANY = 60
LEAST = {"qac_warmup": 0}  # a fifth of the rows of qac


def out(lake, shape="sft", folder=None, **options):
    """Export one shape, or several, of what the lake holds now, a third of the prompts held out."""
    shapes, release = [shape] if isinstance(shape, str) else list(shape), release_of(lake, str(lake.snapshot()))
    options = {"held_out": 0.3, "licences": {"model-a": "Apache-2.0"}} | options
    with Lake.open(lake.home, snapshot=release.snapshot_id) as pinned:
        return export(pinned, shapes, folder or lake.home / "exports" / shapes[0], release=release, **options)


def load(folder, cache, **options):
    import datasets

    return datasets.load_dataset(str(folder), cache_dir=str(cache), **options)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def sides(done, shape=""):
    """Split → prompts; of several shapes, those of one."""
    read = {split: sorted((done.path / "data" / shape).glob(f"{split}-*.parquet")) for split in ("train", "test")}
    return {split: {asked(r) for p in paths for r in pq.read_table(p).to_pylist()} for split, paths in read.items()}


def answered(lake, count, start=0):
    """As `fill`, and each prompt has a principled answer as well."""
    fill(lake, count, start)
    names = [row["id"] for row in lake.rows("SELECT id FROM instructions")]
    there = {
        row["instruction_id"] for row in lake.rows("SELECT instruction_id FROM responses WHERE kind = 'principled'")
    }
    new = [response(f"p-{name}", name, f"principled {name}", kind="principled") for name in names if name not in there]
    commit(lake, responses=new)


@pytest.fixture(scope="module")
def filled(empty, tmp_path_factory):
    """A lake of 60 lines; tests only read it."""
    with Lake.open(shutil.copytree(empty, tmp_path_factory.mktemp("exports") / "home")) as lake:
        answered(lake, MANY)
        fill_further(lake, MANY)
        yield lake


FIRST = ("sft", "preferences", "qac")  # the other shapes are opened in the flow tests


@pytest.mark.parametrize(
    "shape", [pytest.param(name, marks=() if name in FIRST else pytest.mark.flow) for name in default().shapes]
)
def test_every_shape_opens_with_datasets_pyarrow_and_duckdb(filled, tmp_path, shape):
    done = out(filled, shape, tmp_path / "out", shard_rows=10)
    expected = filled.rows(f"SELECT * FROM {VIEWS.get(shape, shape)} ORDER BY id")
    assert done.rows[shape]["train"] > 3 * LEAST.get(shape, 3)
    assert done.rows[shape]["test"] > LEAST.get(shape, 1)
    loaded = load(done.path, tmp_path / "cache")
    assert {split: part.num_rows for split, part in loaded.items()} == done.rows[shape]
    for part in loaded.values():
        assert tuple(part.column_names) == default().shapes[shape].columns
    whole = ds.dataset(done.path / "data").to_table()
    assert tuple(whole.column_names) == default().shapes[shape].columns
    assert whole.num_rows == len(expected)
    with duckdb.connect() as db:
        counted = {
            split: db.execute(f"SELECT count(*) FROM '{done.path}/data/{split}-*.parquet'").fetchone()[0]
            for split in ("train", "test")
        }
    assert counted == done.rows[shape]
    assert list(load(done.path, tmp_path / "cache", split="test", streaming=True)) == list(loaded["test"])


def test_alpaca_and_sharegpt_say_what_sft_says(filled, tmp_path):
    sft, alpaca, sharegpt = (
        pq.read_table(next((out(filled, shape, tmp_path / shape).path / "data").glob("train-*"))).to_pylist()
        for shape in ("sft", "alpaca", "sharegpt")
    )
    assert len(sft) == len(alpaca) == len(sharegpt) > 10
    for plain, flat, spoken in zip(sft, alpaca, sharegpt, strict=True):
        ask, answer = (turn["content"] for turn in plain["messages"])
        assert flat == {"instruction": ask, "input": "", "output": answer}
        assert spoken["conversations"] == [{"from": "human", "value": ask}, {"from": "gpt", "value": answer}]


def test_instances_are_exported_with_their_inputs_and_rejected_ones_are_not(lake, tmp_path):
    """Self-Instruct (7), (8): what the paper trains on, in Alpaca's columns; one instruction is on one side."""
    given = [instance("n1", "i1", "a cat"), instance("n2", "i1", "a dog", place=2), instance("n3", "i2")]
    conflict = instance("n4", "i2", "a cow", state="rejected", reason="conflict")
    commit(lake, instructions=[instruction("i1"), instruction("i2")], instances=[*given, conflict])
    done = out(lake, "instructed", tmp_path / "out")
    rows = [row for path in sorted((done.path / "data").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert sorted(tuple(row.values()) for row in rows) == [
        ("question i1", "a cat", "output n1"),
        ("question i1", "a dog", "output n2"),
        ("question i2", "", "output n3"),
    ]
    assert sides(done)["train"].isdisjoint(sides(done)["test"])


def test_shards_are_numbered_bounded_and_mirrored_by_their_provenance(filled, tmp_path):
    done = out(filled, "qac", tmp_path / "out", shard_rows=9)
    train, test = done.rows["qac"].values()
    count = -(-train // 9)
    names = [f"train-{n:05}-of-{count:05}.parquet" for n in range(count)]
    assert sorted(path.name for path in (done.path / "data").glob("train-*")) == names
    assert [pq.read_metadata(done.path / "data" / name).num_rows for name in names[:-1]] == [9] * (count - 1)
    assert len(names) > 3
    assert test > 9
    ids = []
    for data in sorted((done.path / "data").iterdir()):
        rows, origins = (pq.read_table(p).to_pylist() for p in (data, done.path / "provenance" / data.name))
        for row, origin in zip(rows, origins, strict=True):
            (whole,) = filled.rows("SELECT * FROM qac WHERE id = ?", [origin["id"]])
            assert whole == row | origin
            assert held(row["question"], 0.3) == data.name.startswith("test-")
        ids.append([(place(row["question"]), origin["id"]) for row, origin in zip(rows, origins, strict=True)])
    assert all(part == sorted(part) for part in ids)
    assert len({id for part in ids for _, id in part}) == MANY


@pytest.mark.flow
def test_a_prompt_is_on_one_side_in_every_shape_and_stays_there(lake, tmp_path):
    answered(lake, MANY)
    fill_further(lake, MANY)
    done = out(lake, list(default().shapes), tmp_path / "before")
    before = {shape: sides(done, shape) for shape in list(default().shapes)}
    answered(lake, MANY, start=MANY)
    fill_further(lake, MANY, start=MANY)
    later = out(lake, list(default().shapes), tmp_path / "after")
    after = {shape: sides(later, shape) for shape in list(default().shapes)}
    less = sides(out(lake, "qac", tmp_path / "less", held_out=0.1))
    train, test = (set().union(*(found[side] for found in after.values())) for side in ("train", "test"))
    assert train.isdisjoint(test)
    assert len(train | test) == 2 * MANY
    assert test == {text for text in train | test if held(text, 0.3)}
    for shape, found in before.items():
        assert found["train"] <= after[shape]["train"]
        assert found["test"] <= after[shape]["test"]
        # The halves that sft and preferences are made of are cut by other bits.
        assert len(found["test"]) > LEAST.get(shape, 3)
    assert 0 < len(less["test"]) < len(after["qac"]["test"])
    assert less["test"] < after["qac"]["test"]


def test_a_split_without_rows_is_left_out_and_the_other_loads(filled, tmp_path):
    done = out(filled, folder=tmp_path / "none", held_out=0.0)
    assert done.rows["sft"]["test"] == 0
    loaded = load(done.path, tmp_path / "cache")
    assert {split: part.num_rows for split, part in loaded.items()} == {"train": done.rows["sft"]["train"]}
    with pytest.raises(ValueError, match=r"Unknown split \"test\""):
        load(done.path, tmp_path / "cache", split="test")


@pytest.mark.flow
def test_the_same_rows_are_the_same_bytes_whatever_the_machine_does(filled, tmp_path, monkeypatch):
    first = out(filled, folder=tmp_path / "first")
    again = out(filled, folder=tmp_path / "again")
    monkeypatch.setattr(exporting, "_THREADS", 4)
    monkeypatch.setattr(exporting, "_BATCH", 7)
    threads = out(filled, folder=tmp_path / "threads")
    small = out(filled, folder=tmp_path / "small", shard_rows=5)
    monkeypatch.setattr(exporting, "_PART", 3)
    parts = out(filled, folder=tmp_path / "parts")
    assert first.content_hash == again.content_hash == threads.content_hash == small.content_hash == parts.content_hash
    assert files(first.path) == files(parts.path), "taken in many parts, it is the same to the byte"
    assert files(first.path) == files(again.path) == files(threads.path)
    assert len(files(small.path)) > len(files(first.path))
    assert (first.path / "README.md").read_text() == (again.path / "README.md").read_text()
    assert (first.path / "manifest.json").read_text() == (again.path / "manifest.json").read_text()


def test_row_groups_do_not_depend_on_how_rows_arrive(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "GROUP", 4)
    bytes_of = {}
    for batch in (2048, 3):
        monkeypatch.setattr(exporting, "_BATCH", batch)
        bytes_of[batch] = files(out(filled, folder=tmp_path / str(batch), shard_rows=10).path)
    assert bytes_of[2048] == bytes_of[3]
    file = next((tmp_path / "3" / "data").glob("train-00000-*"))
    groups = pq.ParquetFile(file).metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [4, 4, 2]


def test_another_row_or_another_share_is_other_content(lake, tmp_path):
    fill(lake, MANY)
    first = out(lake, folder=tmp_path / "first")
    assert out(lake, folder=tmp_path / "share", held_out=0.5).content_hash != first.content_hash
    lake.ledger.write("runs", [{"id": "r", "state": "started", "flow": "f"}], run_id="r", message="no new rows")
    assert out(lake, folder=tmp_path / "same").content_hash == first.content_hash
    # A newer revision of one answer, of the same length.
    row = lake.rows("SELECT * FROM sft LIMIT 1")[0]
    about, base = row["instruction_id"], f"b-{row['instruction_id']}"
    commit(lake, revisions=[revision("new", about, base, "B" + NASTY[1:], round=2, minute=9)])
    changed = out(lake, folder=tmp_path / "changed")
    assert changed.rows == first.rows
    assert changed.content_hash != first.content_hash


def test_exporting_over_an_export_changes_nothing_or_is_refused(filled, tmp_path):
    folder = tmp_path / "out"
    first = out(filled, folder=folder)
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = out(filled, folder=folder)
    assert (first.created, again.created) == (True, False)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamps
    for options in ({"shape": "qac"}, {"held_out": 0.5}, {"shard_rows": 3}):
        with pytest.raises(
            LakeUsageError, match=r"another export is already there .*move it away, or choose another folder"
        ):
            out(filled, folder=folder, **options)
    data = next((folder / "data").glob("test-*"))
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with pytest.raises(LakeUsageError, match=f"{data}: not as its export's manifest says"):
        out(filled, folder=folder)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(LakeUsageError, match="something that is not an export is already there"):
        out(filled, folder=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_cannot_be_exported_is_a_sentence(filled, unwritten, tmp_path):
    (tmp_path / "mine").mkdir()
    assert out(filled, folder=tmp_path / "mine").created  # an empty folder was made for it
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LakeUsageError, match="something that is not an export"):
        out(filled, folder=tmp_path / "file")
    with pytest.raises(
        LakeUsageError, match="got the shape 'chatml', expected one of instructed, sft, base_sft, alpaca, "
    ):
        out(filled, "chatml")
    with pytest.raises(LakeUsageError, match=r"held out: got 1\.5"):
        out(filled, held_out=1.5)
    with pytest.raises(LakeUsageError, match="shard rows: got 0"):
        out(filled, shard_rows=0)
    with pytest.raises(LakeUsageError, match=r"nothing to export: sft has no rows at snapshot \d+"):
        out(unwritten, folder=tmp_path / "none")
    with pytest.raises(LakeFailure, match=r"the export cannot be written: .*choose another folder"):
        out(filled, folder=tmp_path / "file" / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine"]


def test_a_lake_that_fails_under_way_is_a_sentence_and_leaves_nothing(filled, tmp_path, monkeypatch):
    def failing(reader):
        def batches():
            yield reader.read_next_batch()
            raise pa.ArrowInvalid("Out of Memory Error: failed to pin block")

        return through(pa.RecordBatchReader.from_batches(reader.schema, batches()))

    through = exporting._batches
    monkeypatch.setattr(exporting, "_batches", failing)
    monkeypatch.setattr(exporting, "_BATCH", 5)
    with pytest.raises(LakeFailure, match=r"while it was read: .*Out of Memory Error.*ALIGNERY_MEMORY=2GB"):
        out(filled, folder=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_tag_or_a_number_names_a_snapshot(lake, tmp_path):
    fill(lake, MANY)
    published = publish(lake, "v1", lake.home / "exports", models={}, run_id="p", message="why")
    fill(lake, MANY, start=MANY)
    release = release_of(lake, "v1")
    assert (release.tag, release.snapshot_id, release.message) == ("v1", published.snapshot_id, "why")
    assert release_of(lake, str(published.snapshot_id)).snapshot_id == published.snapshot_id
    with Lake.open(lake.home, snapshot=release.snapshot_id) as pinned:
        done = export(pinned, ["qac"], tmp_path / "v1", release=release, licences={})
    assert sum(done.rows["qac"].values()) == MANY
    for name, message in {
        "v2": "the tags are v1",
        "9999": "9999",
        "1; DROP TABLE tags": "is no tag",
        "'": "is no tag",
    }.items():
        with pytest.raises(LakeUsageError, match=message):
            release_of(lake, name)


def test_a_card_is_broken_by_no_text(lake, tmp_path):
    name = "a<b>`|` ---\u2028# x"
    ask, long = f"---\nconfigs: []\n---\n# {NASTY}", "\u2029```\n" * 25_000
    commit(
        lake,
        instructions=[instruction("i1", ask)],
        responses=[response("b1", "i1", long)],
        corrections=[correction("c1", "i1", "b1", NASTY)],
    )
    done = out(lake, "qac", tmp_path / "out", licences={"model-a": name})
    card = (done.path / "README.md").read_text()
    _, matter, body = card.split("---\n", 2)
    facts = yaml.safe_load(matter)
    assert facts["license"] == "other"
    assert [config["config_name"] for config in facts["configs"]] == ["qac"]
    assert len(card) < 10_000
    assert not [line for line in body.split("\n") if line.startswith(("---", "# not", "# x", "configs"))]
    assert not {"\u2028", "\u2029", "\x1b", "\x07", "\x9b", "\u202e"} & set(card)
    assert [line for line in body.split("\n") if line.startswith("```")] == ["```python", "```", "```json", "```"]
    assert json.loads(body.split("```json\n")[1].split("\n```")[0])["question"] == ask
    (row,) = (row for split in load(done.path, tmp_path / "cache").values() for row in split)
    assert row == {"question": ask, "answer": long, "correction": NASTY, "template_id": "t"}


def test_the_manifest_names_every_file_with_rows_and_hash(filled, tmp_path):
    done = out(filled, folder=tmp_path / "out", shard_rows=10)
    facts = json.loads((done.path / "manifest.json").read_text())
    assert facts["files"].keys() == files(done.path).keys()
    for name, entry in facts["files"].items():
        assert pq.read_metadata(done.path / name).num_rows == entry["rows"]
        assert hashlib.sha256((done.path / name).read_bytes()).hexdigest() == entry["sha256"]
    assert (facts["tag"], facts["snapshot_id"], facts["content_hash"]) == (None, done.snapshot_id, done.content_hash)
    query = f"SELECT held_out, count(*) AS n FROM ({facts['shapes']['sft']['query']}) GROUP BY ALL"
    with Lake.open(filled.home, snapshot=facts["snapshot_id"]) as pinned:
        sides = pinned.rows(query)
    assert {("train", "test")[row["held_out"]]: row["n"] for row in sides} == done.rows["sft"]
    matter = yaml.safe_load((done.path / "README.md").read_text().split("---\n")[1])
    assert (matter["license"], matter["size_categories"]) == ("apache-2.0", ["n<1K"])

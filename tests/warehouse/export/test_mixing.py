"""A mixture of an export's rows: the shares by hand, what is drawn, the forms of the rows, and what reports them.

Items are those of facts on mixing (T5, FLAN).
"""

import json
import math
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest
from command import alignery, sentence
from lake_rows import commit, instruction, on, record, response

from alignery.config.preset import build
from alignery.config.schema import Mixing, PresetError
from prompts import Library
from warehouse import Lake, LakeUsageError
from warehouse.export import export as exporting
from warehouse.export.export import export
from warehouse.export.mixing import Mix, apportioned, shares
from warehouse.export.selection import Selection
from warehouse.query.snapshots import release_of

SIZES = {"written": 90, "mine": 24, "red": 9}
LIBRARY = Library()


@pytest.fixture(scope="module")
def lake(empty, tmp_path_factory):
    """Instructions of three origins with a principled answer each, and a voted rationale to every third."""
    origins = [origin for origin, size in SIZES.items() for _ in range(size)]
    with Lake.open(shutil.copytree(empty, tmp_path_factory.mktemp("mixed") / "home")) as lake:
        asks = [on("sft", 1000 * n) for n in range(len(origins))]
        commit(
            lake,
            instructions=[
                instruction(f"i{n}", ask, origin=origin, topic=f"t{n % 2}")
                for n, (ask, origin) in enumerate(zip(asks, origins, strict=True))
            ],
            responses=[response(f"p{n}", f"i{n}", f"answer {n}", kind="principled") for n in range(len(asks))],
            rationales=[
                record(f"r{n}-{k}", [f"i{n}"], instruction_id=f"i{n}", text=f"because {n}\nAnswer: {n}")
                | {"number": k, "final": str(n)}
                for n in range(0, len(asks), 3)
                for k in (1, 2, 3)
            ],
        )
        yield lake


def mixed(lake, folder, shape="sft", held_out=0.1, selection=None, **given):
    """The export, its manifest's mixture, and the training rows: data and provenance side by side."""
    release = release_of(lake, str(lake.snapshot()))
    made = Selection(mix=Mixing(**given).mix(LIBRARY), **(selection or {}))
    with Lake.open(lake.home, snapshot=release.snapshot_id) as pinned:
        done = export(pinned, [shape], folder, release=release, licences={}, held_out=held_out, selection=made)
    facts = json.loads((folder / "manifest.json").read_text())
    return done, facts["shapes"][shape]["mixture"], rows(folder, "train")


def rows(folder, split):
    data, beside = (
        [row for file in sorted(folder.glob(f"{top}/{split}-*")) for row in pq.read_table(file).to_pylist()]
        for top in ("data", "provenance")
    )
    return [one | other for one, other in zip(data, beside, strict=True)]


def origins(lake, found):
    of = {row["id"]: row["origin"] for row in lake.rows("SELECT id, origin FROM instructions")}
    return Counter(of[row["instruction_id"]] for row in found)


def test_mixing_1_and_2_the_cap_comes_first_then_the_temperature_then_the_sum():
    counts = {"a": 900, "b": 400, "c": 100}
    assert shares(counts, None, 1) == {"a": 900 / 1400, "b": 400 / 1400, "c": 100 / 1400}
    assert shares(counts, 400, 2) == {"a": 20 / 50, "b": 20 / 50, "c": 10 / 50}
    assert shares(counts, None, math.inf) == dict.fromkeys(counts, 1 / 3)


def test_whole_numbers_add_up_and_the_largest_remainders_are_rounded_up():
    assert apportioned({"a": 0.55, "b": 0.25, "c": 0.2}, 7) == {"a": 4, "b": 2, "c": 1}
    assert apportioned({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 3) == {"a": 1, "b": 1, "c": 1}
    assert apportioned({"a": 0.4, "b": 0.6}, 0) == {"a": 0, "b": 0}


def test_only_the_parts_that_are_named_are_taken_and_the_test_split_stays(lake, tmp_path):
    _, mixture, found = mixed(lake, tmp_path / "some", only=["red", "mine"])
    _, whole, everything = mixed(lake, tmp_path / "all")
    assert {part["part"] for part in mixture["parts"]} == {"red", "mine"}
    assert "only" not in whole
    assert mixture["only"] == ["red", "mine"]
    assert origins(lake, found) == {name: n for name, n in origins(lake, everything).items() if name != "written"}
    assert rows(tmp_path / "some", "test") == rows(tmp_path / "all", "test")
    with pytest.raises(
        LakeUsageError, match=r"mix.only: got 'blue', expected parts by origin: some of \['mine', 'red'"
    ):
        mixed(lake, tmp_path / "none", only=["blue"])


def test_of_millions_of_rows_in_their_own_proportion_none_is_lost():
    counts = {"a": 6_491_972, "b": 1_088_385, "c": 9_607_075}
    assert Mix()._quotas(counts) == counts


@pytest.mark.flow
def test_by_default_a_mixture_is_all_rows_in_their_own_proportion(lake, tmp_path):
    _, mixture, found = mixed(lake, tmp_path / "out")
    train = {part["part"]: part["rows"] for part in mixture["parts"]}
    assert len(found) == sum(train.values())
    assert origins(lake, found) == train
    assert len(found) + len(rows(tmp_path / "out", "test")) == sum(SIZES.values())


def test_mixing_4_and_5_a_part_gives_its_share_no_row_twice_and_the_manifest_has_both_shares(lake, tmp_path):
    done, mixture, found = mixed(lake, tmp_path / "out", cap=30, temperature=2)
    parts = {part["part"]: part for part in mixture["parts"]}
    there = {name: part["there"] for name, part in parts.items()}
    expected = shares(there, 30, 2)
    assert {name: part["target"] for name, part in parts.items()} == pytest.approx(expected)
    assert origins(lake, found) == {name: part["rows"] for name, part in parts.items()}
    assert all(abs(part["share"] - part["target"]) < 1 / len(found) for part in parts.values())
    assert parts["red"]["rows"] == there["red"], "the scarcest part is all there: a row more would repeat"
    assert max(Counter(row["id"] for row in found).values()) == 1
    card = (done.path / "README.md").read_text()
    assert "## Mixture" in card
    assert "min(n, 30)^(1/2)" in card.replace("\\", "")
    assert "No row is repeated." in card
    assert f"| red | {there['red']} |" in card


@pytest.mark.flow
def test_more_than_there_is_comes_only_by_repeating_and_repeats_are_counted(lake, tmp_path):
    _, short, found = mixed(lake, tmp_path / "short", temperature=1e6, rows=120)
    assert [part["repeated"] for part in short["parts"]] == [0, 0, 0]
    assert len(found) < 120
    red = next(part for part in short["parts"] if part["part"] == "red")
    assert (red["rows"], red["share"] < red["target"]) == (red["there"], True)
    done, full, found = mixed(lake, tmp_path / "full", temperature=1e6, rows=120, repeat=True)
    assert len(found) == done.rows["sft"]["train"] == 120
    assert origins(lake, found) == {"written": 40, "mine": 40, "red": 40}
    times = Counter(row["id"] for row in found if origins(lake, [row])["red"])
    assert max(times.values()) - min(times.values()) <= 1, "every row once before any is taken again"
    red = next(part for part in full["parts"] if part["part"] == "red")
    assert red["repeated"] == 40 - red["there"]
    repeats = sum(part["repeated"] for part in full["parts"])
    assert f"{repeats} rows are repeats." in (done.path / "README.md").read_text()


def test_mixing_3_and_6_the_same_seed_is_the_same_file_and_another_one_draws_other_rows(lake, tmp_path, monkeypatch):
    given = {"temperature": 3, "forms": {"few": 0.3, "inverted": 0.2}}
    first, _, found = mixed(lake, tmp_path / "first", **given)
    monkeypatch.setattr(exporting, "_PART", 20)
    monkeypatch.setattr(exporting, "_BATCH", 7)
    again, _, _ = mixed(lake, tmp_path / "again", **given)
    other, _, others = mixed(lake, tmp_path / "other", **given, seed=1)
    assert first.content_hash == again.content_hash != other.content_hash
    assert {row["id"] for row in found} != {row["id"] for row in others}
    # The test split is no part of it.
    assert rows(tmp_path / "first", "test") == rows(tmp_path / "other", "test") != []
    assert {row["form"] for row in rows(tmp_path / "first", "test")} == {"zero"}


@pytest.mark.flow
def test_parts_are_methods_topics_or_other_columns_and_an_unknown_one_is_refused(lake, tmp_path):
    _, by_topic, _ = mixed(lake, tmp_path / "topic", by="topic", temperature=1e6)
    assert {part["part"]: part["target"] for part in by_topic["parts"]} == pytest.approx(
        {"t0": 0.5, "t1": 0.5}, abs=1e-5
    )
    _, by_method, _ = mixed(lake, tmp_path / "method", by="method")
    assert [part["part"] for part in by_method["parts"]] == ["respond"]
    with pytest.raises(LakeUsageError, match="'colour', and sft has no such column; try"):
        mixed(lake, tmp_path / "none", by="colour")


def test_each_form_has_its_share_and_its_words(lake, tmp_path):
    forms = {"few": 0.25, "chain": 0.1, "inverted": 0.2}
    done, mixture, found = mixed(lake, tmp_path / "out", forms=forms, shots=2)
    count = Counter(row["form"] for row in found)
    assert {one["form"]: one["rows"] for one in mixture["forms"]} == count
    assert all(abs(count[form] - share * len(found)) < 1 for form, share in forms.items())
    asked = {row["id"]: row["text"] for row in lake.rows("SELECT 'p' || substr(id, 2) AS id, text FROM instructions")}
    for row in found:
        number, (question, answer) = row["id"][1:], (turn["content"] for turn in row["messages"])
        if row["form"] == "zero":
            assert (question, answer) == (asked[row["id"]], f"answer {number}")
        elif row["form"] == "few":
            assert answer == f"answer {number}"
            assert question.count("Task:") == 3
            assert question.index(asked[row["id"]]) > question.index("Now answer this one")
            assert question.count(f"Task: {asked[row['id']]}\n") == 1, "its own question is no example"
        elif row["form"] == "inverted":
            assert answer == asked[row["id"]]
            assert f"answer {number}" in question
        else:
            assert answer == row["rationale"] == f"because {number}\nAnswer: {number}"
            assert "step by step" in question
    assert "| chain | 0." in (done.path / "README.md").read_text()


@pytest.mark.flow
def test_only_what_has_a_voted_rationale_becomes_a_chain_of_thought(lake, tmp_path):
    _, mixture, found = mixed(lake, tmp_path / "out", forms={"chain": 0.9})
    chained = [row for row in found if row["form"] == "chain"]
    assert {int(row["id"][1:]) % 3 for row in chained} == {0}
    (chain,) = (one for one in mixture["forms"] if one["form"] == "chain")
    assert chain["rows"] == len(chained) < 0.5 * len(found)
    assert chain["target"] == 0.9
    assert chain["share"] == len(chained) / len(found)


@pytest.mark.flow
def test_examples_never_come_from_the_test_split_and_a_selection_is_made_before_the_mixture(lake, tmp_path):
    _, _, found = mixed(lake, tmp_path / "out", held_out=0.5, forms={"few": 1.0})
    held = {row["messages"][0]["content"] for row in rows(tmp_path / "out", "test")}
    assert held
    assert not any(f"Task: {text}\n" in row["messages"][0]["content"] for row in found for text in held)

    def marker():
        return lambda ids, answers: [id for id in ids if int(id[1:]) % 2]

    _, mixture, found = mixed(lake, tmp_path / "even", selection={"duplicates": marker, "alike": "odd"})
    assert found
    assert not any(int(row["id"][1:]) % 2 for row in found)
    assert sum(part["there"] for part in mixture["parts"]) == len(found)


@pytest.mark.flow
def test_examples_are_of_what_a_rating_leaves(lake, tmp_path):
    with Lake.open(shutil.copytree(lake.home, tmp_path / "home")) as rated:
        commit(
            rated,
            ratings=[
                record(f"m{n}", [f"p{n}"], instruction_id=f"i{n}", response_id=f"p{n}", target_id=f"p{n}", score=score)
                | {"dimension": "accuracy", "reason": None}
                for n, score in enumerate([1.0, 5.0] * (sum(SIZES.values()) // 2))
            ],
        )
        _, _, found = mixed(rated, tmp_path / "out", selection={"min_rating": 4.5}, forms={"few": 1.0}, shots=2)
        shown = [row["messages"][0]["content"] for row in found]
        assert found
        assert not any(f"Answer: answer {n}\n" in text for text in shown for n in range(0, sum(SIZES.values()), 2))
        assert any(f"Answer: answer {n}\n" in text for text in shown for n in range(1, sum(SIZES.values()), 2))


def test_of_no_rows_there_is_no_mixture(lake, tmp_path):
    with pytest.raises(LakeUsageError, match="nothing to export: verbose_cloning has no rows"):
        mixed(lake, tmp_path / "none", shape="verbose_cloning", forms={"few": 0.1, "chain": 0.1})


@pytest.mark.flow
def test_forms_are_for_messages_and_examples_must_be_there(lake, tmp_path):
    with pytest.raises(LakeUsageError, match="got the shape alpaca, expected one of messages"):
        mixed(lake, tmp_path / "alpaca", shape="alpaca", forms={"few": 0.1})
    with pytest.raises(LakeUsageError, match=r"forms\.few: got [0-9]+ prompts"):
        mixed(lake, tmp_path / "few", held_out=0.95, forms={"few": 0.5}, shots=16)


def test_a_preset_that_mixes_wrongly_is_refused_by_name():
    def preset(mix):
        return {
            "about": "x",
            "models": {"generator": {"engine": "scripted", "replies": ["x"]}},
            "line": {"self_instruct": {}},
            "retrain": {"sft": {}, "mix": mix},
        }

    assert build(preset({"sft": {"temperature": 2}})).retrain.mix["sft"].temperature == 2
    for mix, message in (
        ({"dpo": {}}, "mix: got the recipe 'dpo'"),
        ({"sft": {"temperature": 0.5}}, "temperature"),
        ({"sft": {"forms": {"few": 0.7, "chain": 0.7}}}, "shares that sum to 1.4"),
        ({"sft": {"forms": {"many": 0.1}}}, "many"),
        ({"sft": {"by": "a; DROP"}}, "by"),
    ):
        with pytest.raises(PresetError, match=message):
            build(preset(mix))


def test_the_command_mixes_and_says_what_is_amiss(lake):
    tag = str(lake.snapshot())
    done = alignery(
        *("export", tag, "--mix", "origin,cap=20,temperature=2, few=0.25,inverted=0.1"), "--json", home=lake.home
    )
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert output["path"].endswith("-sft-mix")
    mixture = json.loads((lake.home / "exports" / f"{tag}-sft-mix" / "manifest.json").read_text())["shapes"]["sft"]
    assert {one["form"] for one in mixture["mixture"]["forms"]} == {"zero", "few", "inverted"}
    wrong = {"origin,few=0.75,chain=0.75": "sum to 1.5", "origin,caps=3": "caps", "cap=0": "cap"}
    for given, message in (wrong | {"origin,topic": "by: got 'origin' and 'topic'"}).items():
        assert message in sentence(alignery("export", tag, "--mix", given, home=lake.home))

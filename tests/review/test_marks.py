"""Marks are rows: the newest of a person on a thing counts, nothing is written over, and each can be traced."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from lake_rows import commit, comparison, fill, instruction, record, response

from alignery.pipeline.marks import Mark, MarkError, add, add_all, agreement, of, queue
from tasks.review.mark import left_side
from warehouse import Lake, LakeUsageError
from warehouse.query.trace import trace

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)


def later(minutes):
    return NOW + timedelta(minutes=minutes)


def test_the_newest_of_a_person_counts_and_leaves_standing_what_it_does_not_state(lake):
    fill(lake, 1)
    add(lake, Mark("b-i0", "ada", "wrong", text="better", at=later(0)))
    add(lake, Mark("b-i0", "ada", "right", note="on second thoughts", at=later(1)))
    add(lake, Mark("b-i0", "bob", "flag", at=later(2)))
    ada, bob = of(lake, ["b-i0"])
    assert (ada["verdict"], ada["text"], ada["note"], ada["marks"]) == ("right", "better", "on second thoughts", 2)
    assert (bob["verdict"], bob["text"]) == ("flag", None)
    assert lake.rows("SELECT count(*) AS n FROM marks") == [{"n": 3}]
    add(lake, Mark("b-i0", "ada", "clear", at=later(3)))
    assert [row["marked_by"] for row in of(lake, ["b-i0"])] == ["bob"]
    add(lake, Mark("b-i0", "ada", score=4, at=later(4)))
    ada, _ = of(lake, ["b-i0"])
    assert (ada["verdict"], ada["text"], ada["score"]) == (None, None, 4.0)


def test_a_pair_is_one_thing_whichever_way_it_is_given(lake):
    fill(lake, 1)
    add(lake, Mark("v-i0", "ada", "first", other_id="b-i0", shown_left="second", at=later(0)))
    (row,) = of(lake, ["v-i0"])
    assert (row["target_id"], row["other_id"], row["verdict"], row["shown_left"]) == ("b-i0", "v-i0", "second", "first")
    add(lake, Mark("b-i0", "ada", "tie", other_id="v-i0", at=later(1)))
    (row,) = of(lake, ["b-i0"])
    assert (row["verdict"], row["marks"]) == ("tie", 2)


def test_the_same_mark_again_is_not_doubled_and_a_trace_shows_it_under_its_row(lake):
    fill(lake, 1)
    mark = Mark("v-i0", "ada", "wrong", text="as it should be", at=NOW)
    first, again = add(lake, mark), add(lake, mark)
    assert first == again
    assert lake.rows("SELECT count(*) AS n FROM marks") == [{"n": 1}]
    nodes = {node["id"]: node for node in trace(lake, "b-i0")["nodes"]}
    assert (nodes[first]["label"], nodes[first]["under"], nodes[first]["text"]) == ("mark", "v-i0", "as it should be")
    assert (nodes[first]["marked_by"], nodes[first]["verdict"]) == ("ada", "wrong")
    assert "i0" in {node["id"] for node in trace(lake, first)["nodes"] if node["relation"] == "ancestor"}


def test_marks_on_what_belongs_to_no_instruction_are_traced_as_well(lake):
    fill(lake, 1)
    answers = {f"e{n}": {"prompt_id": "p", "suite": "s", "prompt": "what?", "text": f"t{n}"} for n in (1, 2)}
    commit(lake, run_id="run-2", eval_answers=[record(id, ["p"], **row) for id, row in answers.items()])
    pair = add(lake, Mark("e2", "ada", "first", other_id="e1"))
    call = add(lake, Mark("k-b-i0-try0", "ada", "wrong"))
    relations = {id: {node["id"]: node["relation"] for node in trace(lake, id)["nodes"]} for id in (pair, "e1", call)}
    assert (relations[pair]["e1"], relations[pair]["e2"]) == ("ancestor", "ancestor")
    assert relations["e1"][pair] == "descendant"
    assert (relations[call]["k-b-i0-try0"], relations[call][call]) == ("ancestor", "itself")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"verdict": "good"}, "verdict: got 'good', expected one of right, wrong, flag, clear"),
        ({"verdict": "right", "other_id": "v-i0"}, "expected one of first, second, tie, flag, clear"),
        ({"verdict": "right", "by": "a\x1b[31m"}, "by: got 'a"),
        ({"verdict": "right", "by": ""}, "by: got '', expected a name of 1 to 80 printable characters"),
        ({"score": 7.0}, "score: got 7, expected 0 to 5"),
        ({"score": float("nan")}, "score: got nan"),
        ({"text": " "}, "text: got 1 characters, expected 1 to 100,000"),
        ({"note": "x" * 2001}, "note: got 2001 characters"),
        ({"text": "edit", "other_id": "v-i0"}, "text: got an edit of a pair"),
        ({"verdict": "tie", "other_id": "b-i0"}, "other_id: got the same row again"),
        ({"verdict": "right", "shown_left": "first"}, "shown_left: got 'first', expected first or second, of a pair"),
        ({"verdict": "right", "at": datetime(2026, 1, 1)}, "at: got a time without its zone"),
        ({}, "got neither verdict, score, text nor note"),
        ({"verdict": "right", "target_id": "nothing"}, "mark on nothing: no record"),
    ],
)
def test_what_is_no_mark_is_refused_with_its_field_and_nothing_is_written(filled, fields, message):
    good = Mark("b-i0", "ada", "right", at=NOW)
    with pytest.raises(MarkError) as raised:
        add_all(filled, [good, Mark(**({"target_id": "b-i0", "by": "ada"} | fields))])
    assert message in str(raised.value)
    assert filled.rows("SELECT count(*) AS n FROM marks") == [{"n": 0}]


@pytest.fixture(scope="module")
def filled(tmp_path_factory, empty):
    with Lake.open(shutil.copytree(empty, tmp_path_factory.mktemp("filled") / "home")) as lake:
        fill(lake, 2)
        yield lake


# By pair: the probability that a is better, asked in both orders, and the principle.
SAID = {"i0": (0.9, 0.9, "kind"), "i1": (0.45, 0.55, "fair"), "i2": (0.1, 0.8, "kind"), "i3": (0.3, 0.2, "fair")}


@pytest.fixture(scope="module")
def compared(tmp_path_factory, empty):
    """Four pairs of samples that a judge compared; the first was compared before, in other words."""
    with Lake.open(shutil.copytree(empty, tmp_path_factory.mktemp("compared") / "home")) as lake:
        earlier = [
            comparison(f"old-{first}", "i0", "a-i0", "b-i0", 0.1, first=first, principle_hash="old") for first in "ab"
        ]
        commit(lake, run_id="run-0", comparisons=earlier)
        commit(
            lake,
            instructions=[instruction(name) for name in SAID],
            responses=[response(f"{side}-{name}", name, kind="sample") for name in SAID for side in "ab"],
            comparisons=[
                comparison(f"{first}{name}", name, f"a-{name}", f"b-{name}", p, first=first, principle_id=principle)
                for name, (*both, principle) in SAID.items()
                for first, p in zip("ab", both, strict=True)
            ],
        )
        yield lake


def names(found):
    return [row["instruction_id"] for row in found]


def test_the_queue_is_ordered_as_asked(compared):
    by = {"by": "ada"}
    assert names(queue(compared, "pairs", "uncertainty", 3, **by)) == ["i1", "i2", "i3"]
    assert names(queue(compared, "pairs", "disagreement", 9, **by))[0] == "i2"
    assert "i0" not in names(queue(compared, "pairs", "disagreement", 9, **by))
    turns = [row["dimension"] for row in queue(compared, "pairs", "principle", 9, **by)]
    assert turns == ["fair", "kind", "fair", "kind"]
    assert names(queue(compared, "pairs", "principle", 9, dimension="kind", **by)) in (["i0", "i2"], ["i2", "i0"])
    draws = [names(queue(compared, "pairs", "random", 9, seed=seed, **by)) for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) > 1
    (first, *_) = queue(compared, "pairs", "uncertainty", 1, **by)
    assert (first["prompt"], first["first"], first["second"]) == ("question i1", "answer a-i1", "answer b-i1")
    assert first["p"] == pytest.approx(0.5)


def test_the_queue_says_what_it_cannot_order_and_what_there_is(compared):
    with pytest.raises(LakeUsageError, match="there are no sft to queue by uncertainty: no judge gave them"):
        queue(compared, "sft", "uncertainty", by="ada")
    with pytest.raises(LakeUsageError, match="queue: got 'poems', expected one of pairs, answers, "):
        queue(compared, "poems", by="ada")
    with pytest.raises(LakeUsageError, match="expected one of uncertainty, disagreement, principle, random"):
        queue(compared, "pairs", "age", by="ada")


def test_what_a_person_marked_is_not_offered_to_them_again(lake):
    fill(lake, 4)
    first, *others = queue(lake, "pairs", "random", by="ada")
    add(lake, Mark(first["other_id"], "ada", "first", other_id=first["target_id"]))
    assert names(queue(lake, "pairs", "random", by="ada")) == names(others)
    assert len(queue(lake, "pairs", "random", by="bob")) == 4
    rows = queue(lake, "qac", "random", by="ada")
    assert (rows[0]["prompt"], rows[0]["second"]) == (f"question {names(rows)[0]}", f"answer b-{names(rows)[0]}")
    add(lake, Mark(rows[0]["target_id"], "ada", "right"))
    assert len(queue(lake, "qac", "random", by="ada")) == 3


def test_sides_are_drawn_by_pair_and_person():
    pairs = [(f"a{n}", f"b{n}") for n in range(400)]
    ada, bob = ([left_side(*pair, by) for pair in pairs] for by in ("ada", "bob"))
    assert ada == [left_side(*pair, "ada") for pair in pairs]
    assert 150 < ada.count("first") < 250
    assert 150 < sum(one != other for one, other in zip(ada, bob, strict=True)) < 250
    turned = {"first": "second", "second": "first"}
    assert ada == [turned[left_side(b, a, "ada")] for a, b in pairs]


def test_the_judges_agreement_with_people_is_a_figure_with_an_interval(compared):
    assert agreement(compared)["judges"] == []
    verdicts = {"i0": "first", "i1": "tie", "i2": "second", "i3": "first"}  # the judge: a, tie, b (0.45), b
    for name, verdict in verdicts.items():
        add(compared, Mark(f"a-{name}", "ada", verdict, other_id=f"b-{name}", shown_left="first"))
    add(compared, Mark("a-i0", "bob", "first", other_id="b-i0"))
    add(compared, Mark("a-i3", "bob", "second", other_id="b-i3"))
    found = agreement(compared)
    judges = {row["dimension"]: row for row in found["judges"]}
    # kind: i0 and i2 agree. fair: i1 agrees on the tie; of i3 the two people differ, which is a tie and not b.
    assert (judges["kind"]["pairs"], judges["kind"]["agree"], judges["kind"]["decided"]) == (2, 1.0, 2)
    assert (judges["fair"]["pairs"], judges["fair"]["agree"], judges["fair"]["decided"]) == (2, 0.5, 0)
    assert judges["fair"]["agree_decided"] is None
    assert judges["fair"]["low"] == pytest.approx(0.0945, abs=1e-3)  # Wilson's, of 1 in 2
    assert judges["fair"]["high"] == pytest.approx(0.9055, abs=1e-3)
    assert (found["pairs"]["things"], found["pairs"]["marked_twice"], found["pairs"]["alike"]) == (4, 2, 0.5)
    assert found["people"]["ada"]["left"] == pytest.approx(2 / 3)

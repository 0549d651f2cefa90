"""Why rows were rejected, as a person asks it."""

import pytest
from lake_rows import attempt, commit, instruction, response

from warehouse import LakeUsageError
from warehouse.query.rejects import rejects


@pytest.fixture
def rejected(lake):
    """Ten answers requested: two refused in two runs, one retried with another seed; and a gate that rejected two."""
    refused = {"state": "rejected", "reason": "empty reply", "raw_text": " ", "parents": ["i1"]}
    near = {"state": "rejected", "reason": "near-duplicate", "similarity": 0.9, "nearest": "question i1"}
    commit(
        lake,
        attempts=[
            attempt("a", **refused),
            attempt("m", state="unparsed", reason="no list", final=False, raw_text="x" * 5000),
            attempt("m", try_number=1),
        ],
        instructions=[
            instruction("i1", attempt_id=None),
            instruction("i2", attempt_id=None, **near),
            instruction("i3", attempt_id=None, **near),
            instruction("s", attempt_id=None, origin="seed"),
        ],
        responses=[response(f"r{n}", "i1") for n in range(7)],
    )
    commit(
        lake,
        run_id="run-2",
        attempts=[attempt("b", **refused, created_at=attempt("b")["created_at"].replace(year=2027))],
    )
    for run in ("run-1", "run-2"):
        lake.ledger.write("runs", [{"id": run, "state": "finished", "flow": "refresh"}], run_id=run, message="done")
    return lake


def test_each_reason_has_its_count_and_its_share_of_the_steps_settled_work(rejected):
    found = [(row["step"], row["reason"], row["times"], row["lost"], row["share"]) for row in rejects(rejected)]
    assert found == [
        ("respond.answer", "empty reply", 2, 2, 0.2),
        ("self_instruct.gate", "near-duplicate", 2, 2, pytest.approx(2 / 3)),
        ("respond.answer", "no list", 1, 0, 0.0),
    ]


def test_reasons_that_differ_in_their_numbers_alone_are_one_in_rejects_and_funnel(lake):
    """A server names the length of each prompt that is too long for it: so every row would be a reason of its own."""
    words = "prompt too long: {} tokens exceed the context of 512"
    reasons = [words.format(n) for n in (600, 700, 1200)] + ["HTTP 400: no"] * 2
    commit(lake, attempts=[attempt(f"k{n}", state="failed", reason=reason) for n, reason in enumerate(reasons)])
    long, refused = rejects(lake)
    assert (long["reason"], long["times"]) == ("prompt too long: … tokens exceed the context of …", 3)
    assert (refused["reason"], refused["times"]) == ("HTTP 400: no", 2), "those with the same numbers are shown whole"
    for asked in ("700 tokens", "… TOKENS"):
        assert [row["reason"].split(":")[0] for row in rejects(lake, reason=asked)] == ["prompt too long"]
    (row,) = lake.rows("SELECT top_reason, top_reason_count FROM funnel")
    assert (row["top_reason"], row["top_reason_count"]) == (long["reason"], 3)


def test_samples_are_the_newest_with_what_was_asked_and_what_was_near(rejected):
    answer, gate, list_ = rejects(rejected, samples=1)
    (sample,) = answer["samples"]
    assert (sample["id"], sample["text"], sample["about"], sample["run_id"]) == ("b-try0", " ", "question i1", "run-2")
    (sample,) = gate["samples"]
    assert (sample["about"], sample["nearest"], sample["similarity"]) == (None, "question i1", 0.9)
    assert len(list_["samples"][0]["text"]) == 2001, "of a long text only the beginning is read"
    assert [len(row["samples"]) for row in rejects(rejected, samples=20)] == [2, 2, 1]
    assert rejects(rejected, samples=0)[0]["samples"] == []
    of_one_time = [row["id"] for row in rejects(rejected, samples=20)[1]["samples"]]
    assert of_one_time == sorted(of_one_time, reverse=True), "whatever order a merge leaves their rows in"


def test_samples_are_of_different_inputs_first(lake):
    """Several tries at one row say the same; so the newest of each row comes before what was tried earlier."""
    refused = {"state": "rejected", "reason": "empty reply"}
    days = {("a", 0): 1, ("b", 0): 2, ("c", 0): 3, ("c", 1): 4, ("c", 2): 5}
    attempts = [
        attempt(
            key, try_number=number, parents=[f"of-{key}"], final=(key, number) not in (("c", 0), ("c", 1)), **refused
        )
        | {"created_at": attempt(key)["created_at"].replace(day=day)}
        for (key, number), day in days.items()
    ]
    commit(lake, attempts=attempts)
    for count in (3, 5):
        (row,) = rejects(lake, samples=count)
        shown = [one["id"] for one in row["samples"]]
        assert shown == ["c-try2", "b-try0", "a-try0", "c-try1", "c-try0"][:count]


def test_a_step_a_reason_and_a_run_narrow_it_down(rejected):
    assert [row["reason"] for row in rejects(rejected, step="self_instruct.gate")] == ["near-duplicate"]
    assert [row["reason"] for row in rejects(rejected, reason="EMPTY")] == ["empty reply"]
    (row,) = rejects(rejected, run="run-2")
    assert (row["times"], row["share"]) == (1, 1.0)
    assert rejects(rejected, reason="it's") == []
    with pytest.raises(
        LakeUsageError, match=r"got the step 'respond', expected one of respond\.answer, self_instruct\.gate"
    ):
        rejects(rejected, step="respond")
    with pytest.raises(LakeUsageError, match="no run 'run-3'"):
        rejects(rejected, run="run-3")

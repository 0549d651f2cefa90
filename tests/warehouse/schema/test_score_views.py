"""What the views of samples and their scores say of hand-made rows."""

import pytest
from lake_rows import commit, instruction, record, response, revision


def sample(id, about, number, text=None, **fields):
    fields = {"number": number, "model": "generator"} | fields
    return record(id, [about], instruction_id=about, text=text or f"answer {id}", **fields)


def score(id, about, of, value, aspect="overall", **fields):
    fields = {"scorer": "rating", "scale": "1 to 5"} | fields
    return record(id, [about, of], instruction_id=about, sample_id=of, value=value, aspect=aspect, **fields)


def drawn(lake, values, about="i1", **fields):
    """An instruction whose samples have these marks."""
    commit(
        lake,
        instructions=[instruction(about)],
        samples=[sample(f"{about}-s{n}", about, n) for n in range(len(values))],
        sample_scores=[
            score(f"{about}-m{n}", about, f"{about}-s{n}", value, **fields) for n, value in enumerate(values)
        ],
    )


def test_answers_stand_with_the_best_first_and_their_scores(lake):
    """PRO (1); RRHF (1)"""
    drawn(lake, [2.0, 5.0, 3.5])
    (row,) = lake.rows("SELECT * FROM ranked")
    assert row["prompt"] == [{"role": "user", "content": "question i1"}]
    assert row["responses"] == ["answer i1-s1", "answer i1-s2", "answer i1-s0"]
    assert row["scores"] == [5.0, 3.5, 2.0]
    assert row["sample_ids"] == ["i1-s1", "i1-s2", "i1-s0"]
    assert (row["models"], row["scorer"]) == (["generator"] * 3, "rating")


def test_the_score_is_the_mean_over_the_aspects_and_one_that_lacks_an_aspect_is_not_ranked(lake):
    """UltraFeedback (3)"""
    marks = {"a": (5.0, 2.0), "b": (4.0, 4.0), "c": (5.0, None)}
    scores = [
        score(f"{name}-{aspect}", "i1", name, value, aspect)
        for name, values in marks.items()
        for aspect, value in zip(("honesty", "helpfulness"), values, strict=True)
        if value is not None
    ]
    samples = [sample(name, "i1", n) for n, name in enumerate(marks)]
    commit(lake, instructions=[instruction("i1")], samples=samples, sample_scores=scores)
    (row,) = lake.rows("SELECT sample_ids, scores FROM ranked")
    assert (row["sample_ids"], row["scores"]) == (["b", "a"], [4.0, 3.5])


def test_the_best_is_learnt_whatever_the_others_are(lake):
    """RAFT (1)"""
    drawn(lake, [2.0, 4.0])
    drawn(lake, [3.0, 3.0], "i2")
    best = {row["id"]: row for row in lake.rows("SELECT * FROM best")}
    assert best["i1-m0"]["messages"][1] == {"role": "assistant", "content": "answer i1-s1"}
    assert (best["i1-m0"]["score"], best["i1-m0"]["mean_score"]) == (4.0, 3.0)
    assert best["i2-m0"]["sample_id"] == "i2-s0"


def test_a_pair_is_the_best_over_the_worst_or_over_a_lower_one_that_stays_the_same(lake):
    for n in range(30):
        drawn(lake, [5.0, 4.0, 5.0, 3.0, 2.0], f"i{n}")
    drawn(lake, [3.0, 3.0], "tie")
    worst = lake.rows("SELECT * FROM best_worst")
    assert {(row["score_chosen"], row["score_rejected"]) for row in worst} == {(5.0, 2.0)}
    found = lake.rows("SELECT * FROM best_random ORDER BY id")
    assert {row["score_chosen"] for row in found} == {5.0}
    assert {row["score_rejected"] for row in found} == {4.0, 3.0, 2.0}
    assert len(found) == len(worst) == 30
    assert [row["rejected_id"] for row in found] == [
        row["rejected_id"] for row in lake.rows("SELECT * FROM best_random ORDER BY id")
    ]
    row = found[0]
    assert row["rejected"] == [{"role": "assistant", "content": f"answer {row['rejected_id']}"}]


def test_a_reward_model_ranks_where_it_scored_and_else_the_judge(lake):
    drawn(lake, [2.0, 5.0])
    drawn(lake, [2.0, 5.0], "i2")
    rewards = [
        score(f"r{n}", "i1", f"i1-s{n}", value, "reward", scorer="reward", scale="any number")
        for n, value in enumerate((0.5, -3.0))
    ]
    commit(lake, sample_scores=rewards)
    found = {row["instruction_id"]: row for row in lake.rows("SELECT * FROM ranked")}
    assert (found["i1"]["scorer"], found["i1"]["scores"]) == ("reward", [0.5, -3.0])
    assert (found["i2"]["scorer"], found["i2"]["scores"]) == ("rating", [5.0, 2.0])


def test_which_of_several_scorers_ranks_does_not_hang_on_which_scored_last(lake):
    drawn(lake, [2.0, 5.0])
    for scorer, ranks in (("verifier", "rating"), ("propositions", "propositions"), ("rating", "propositions")):
        given = [score(f"{scorer}{n}", "i1", f"i1-s{n}", 1.0 - n, scorer=scorer) for n in range(2)]
        commit(lake, sample_scores=given)
        assert lake.rows("SELECT scorer FROM ranked") == [{"scorer": ranks}]


def test_the_newest_samples_and_marks_count_and_twins_count_once(lake):
    """RAFT (3): samples of an earlier policy are in no ranking."""
    drawn(lake, [5.0, 4.0])
    commit(
        lake,
        samples=[sample("new-0", "i1", 0), sample("new-1", "i1", 1), sample("twin", "i1", 2, "answer new-1")],
        sample_scores=[score("a", "i1", "new-0", 1.0), score("b", "i1", "new-1", 3.0), score("c", "i1", "twin", 3.0)],
    )
    (row,) = lake.rows("SELECT sample_ids, scores FROM ranked")
    assert (row["sample_ids"], row["scores"]) == (["new-1", "new-0"], [3.0, 1.0])
    commit(lake, sample_scores=[score("d", "i1", "new-0", 5.0)])
    assert lake.rows("SELECT scores FROM ranked")[0]["scores"] == [5.0, 3.0]


def test_one_answer_is_no_ranking(lake):
    drawn(lake, [5.0])
    assert lake.rows("SELECT * FROM ranked") == []


def test_what_a_policys_samples_were_worth_before_and_after_the_best_is_taken(lake):
    """RAFT (4), (5)"""
    drawn = {"a": ("wait and see", 1.0), "b": ("wait and see", 2.0), "c": ("wait and water", 3.0), "d": ("no", 5.0)}
    of = {"a": "i1", "b": "i1", "c": "i2", "d": "i2"}
    commit(
        lake,
        instructions=[instruction("i1"), instruction("i2")],
        samples=[sample(name, of[name], n, text) for n, (name, (text, _)) in enumerate(drawn.items())],
        sample_scores=[score(f"m-{name}", of[name], name, value) for name, (_, value) in drawn.items()],
    )
    (row,) = lake.rows("SELECT * FROM policies")
    assert (row["policy"], row["prompts"], row["samples"]) == ("model-a", 2, 4)
    assert (row["mean_score"], row["best_score"], row["worst_score"]) == (2.75, 3.5, 2.0)
    assert row["distinct_2"] == pytest.approx(3 / 6)  # wait and, and see, and water


def test_answers_that_the_lake_has_already_are_ranked_among_the_samples(lake):
    drawn(lake, [2.0, 4.0])
    base, kind = response("b", "i1", "plain"), response("p", "i1", "kind", kind="principled")
    commit(
        lake,
        responses=[base, kind, response("v", "i1", "long", kind="verbose")],
        revisions=[revision("r1", "i1", "b", "better"), revision("r2", "i1", "b", "best", round=2, target_id="r1")],
        sample_scores=[score(f"m-{id}", "i1", id, value) for id, value in (("b", 1.0), ("p", 3.0), ("r2", 5.0))],
    )
    (row,) = lake.rows("SELECT * FROM ranked")
    assert row["sample_ids"] == ["r2", "i1-s1", "p", "i1-s0", "b"]
    assert row["models"] == ["revision", "generator", "principled", "generator", "base"]

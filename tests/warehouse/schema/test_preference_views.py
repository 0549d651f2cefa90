"""What preference models learn from: pairs that a user brought beside judged ones, and the principles of these."""

from lake_rows import START, commit, comparison, instruction, on, response


def test_pairs_that_a_user_brought_are_all_there_and_have_no_principle_to_follow(lake):
    learnt, left = on("preferences"), on("sft")
    commit(
        lake,
        instructions=[instruction("i1", learnt), instruction("i2", left), instruction("i3", left + "?")],
        responses=[response(f"{side}{n}", f"i{n}", f"{side}{n}") for n in (1, 2, 3) for side in "ab"],
        comparisons=[
            comparison("x1", "i1", "a1", "b1", 0.8, principle_hash="words"),
            comparison("x2", "i2", "a2", "b2", 0.8, principle_hash="words"),
            comparison("x3", "i3", "b3", "a3", 1.0, principle_id="given", principle_hash="words"),
        ],
    )
    source = "The better answer is kinder."
    lake.ledger.write(
        "prompts",
        [{"hash": "words", "id": "principle:kind:comparison", "source": source, "created_at": START}],
        run_id="run-1",
        message="prompts",
    )
    rows = lake.rows("SELECT id, principle_id, p, chosen[1].content AS chosen FROM soft_preferences ORDER BY id")
    found = {row["id"]: (row["principle_id"], row["p"], row["chosen"]) for row in rows}
    wanted = {"x1": ("kind", 0.8, "a1"), "x3": ("given", 1.0, "b3")}
    assert {id: found[id] for id in wanted} == wanted
    assert "x2" not in found, "its prompt is of the half that sft learns from"
    followed = lake.rows("SELECT id, principle, p FROM principled_preferences")
    assert [(row["id"], row["principle"], row["p"]) for row in followed] == [("x1", source, 0.8)]

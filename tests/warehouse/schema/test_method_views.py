"""What the views of the alignment methods say of hand-made rows."""

import hashlib

from lake_rows import commit, comparison, correction, instruction, on, record, response, revision


def low(text):
    """The lower half of a text's MD5, computed without DuckDB."""
    return int.from_bytes(hashlib.md5(text.encode()).digest()[8:], "little")


def test_an_answer_that_was_cut_short_trains_nobody(lake):
    """SELF-ALIGN (7)"""
    ask = on("sft")
    kinds = [(kind, complete) for kind in ("base", "principled", "verbose") for complete in (True, False)]
    commit(
        lake,
        instructions=[instruction("i1", ask)],
        responses=[
            response(f"{kind}-{complete}", "i1", kind=kind, complete=complete, minute=not complete)
            for kind, complete in kinds
        ],
    )
    assert [row["id"] for row in lake.rows("SELECT id FROM sft")] == ["principled-True"]
    assert [row["id"] for row in lake.rows("SELECT id FROM base_sft")] == ["base-True"]
    (row,) = lake.rows("SELECT * FROM verbose_cloning")
    assert row["id"] == "verbose-True"
    assert row["messages"][0] == {"role": "user", "content": ask}
    twin = response("twin's", "twin", kind="verbose", complete=True)
    commit(lake, instructions=[instruction("twin", ask)], responses=[twin])
    assert [row["id"] for row in lake.rows("SELECT id FROM verbose_cloning")] == ["twin's"], "one of the same words"


# Prompts of the half that trains, by what their words' hash makes of them: an older lake must divide them the same way.
HARMFUL, HELPFUL = ["question 12"], ["question 0", "question 3", "question 4"]


def test_constitutional_mixes_revisions_of_all_rounds_with_helpful_answers(lake):
    """Constitutional AI (3), (6)"""
    names = dict(zip(("harm", "good", "plain", "mended"), (HARMFUL[0], *HELPFUL), strict=True))
    commit(
        lake,
        instructions=[instruction(name, text) for name, text in names.items()],
        responses=[response(f"b-{name}", name, f"first {name}") for name in names]
        + [response(f"p-{name}", name, f"kind {name}", kind="principled") for name in ("harm", "good")],
        revisions=[
            revision("v1", "harm", "b-harm", "better"),
            revision("v2", "harm", "b-harm", "better", round=2, changed=False, target_id="v1"),
            revision("v3", "harm", "b-harm", "best", round=3, target_id="v2"),
            revision("v4", "good", "b-good", "a revision"),
            revision("v5", "plain", "b-plain", "first plain", changed=False),
            revision("v6", "mended", "b-mended", "mended"),
        ],
    )
    found = lake.rows("SELECT messages[2].content AS text, source, round FROM constitutional ORDER BY id")
    assert [tuple(row.values()) for row in found] == [
        ("first plain", "base", None),  # the model itself found nothing to change
        ("kind good", "principled", None),
        ("better", "revision", 1),
        ("best", "revision", 3),
    ]


def test_of_each_round_and_of_each_helpful_prompt_the_newest_counts(lake):
    """Whatever the clock said; a principled answer before a base one, and none that was cut short or that changed."""
    names = dict(zip(("harm", "kind", "cut", "half"), (HARMFUL[0], *HELPFUL), strict=True))
    commit(
        lake,
        instructions=[instruction(name, text) for name, text in names.items()],
        responses=[
            *(response(f"b-{name}", name, f"first {name}") for name in names),
            response("old", "kind", "old", kind="principled", minute=60),
            response("short", "cut", "kind, but", kind="principled", complete=False),
        ],
        revisions=[
            revision("v1", "harm", "b-harm", "the old better", minute=60),
            revision("v2", "harm", "b-harm", "best", round=2, target_id="v1"),
            revision("same-kind", "kind", "b-kind", "first kind", changed=False),
            revision("same-cut", "cut", "b-cut", "first cut", changed=False),
            # Of two rounds one changed it: it is not an answer that nobody would change.
            revision("same-half", "half", "b-half", "first half", changed=False),
            revision("other-half", "half", "b-half", "mended", round=2, target_id="same-half"),
        ],
    )
    commit(
        lake,
        responses=[response("new", "kind", "new", kind="principled")],
        revisions=[revision("v3", "harm", "b-harm", "the new better")],
    )
    found = lake.rows("SELECT id, source, round FROM constitutional ORDER BY id")
    assert [tuple(row.values()) for row in found] == [
        ("b-cut", "base", None),
        ("new", "principled", None),
        ("v2", "revision", 2),
        ("v3", "revision", 1),
    ]


def test_constitutional_divides_at_425_of_1000_and_keeps_each_prompt_of_one_answer(lake):
    """424 and 425 of 1,000 by their hash; of an answer that nobody criticised it is not known that it is good."""
    names = {"under": "question 2546", "at": "question 2342", "plain": HELPFUL[0]}
    commit(
        lake,
        instructions=[instruction(name, text) for name, text in names.items()],
        responses=[response(f"b-{name}", name) for name in names]
        + [response(f"p-{name}", name, "so", kind="principled") for name in ("under", "at")],
        revisions=[revision("v", "at", "b-at", "so")],
    )
    found = lake.rows("SELECT messages[1].content AS prompt, id FROM constitutional ORDER BY id")
    assert [tuple(row.values()) for row in found] == [("question 2546", "p-under"), ("question 2342", "v")]


def test_the_share_of_helpful_prompts_is_the_papers(lake):
    """Constitutional AI (6): 135,296 of 318,127 prompts."""
    names = [f"i{n}" for n in range(2000)]
    commit(
        lake,
        instructions=[instruction(name) for name in names],
        responses=[response(f"p-{name}", name, kind="principled") for name in names]
        + [response(f"b-{name}", name) for name in names],
        revisions=[revision(f"v-{name}", name, f"b-{name}", "better") for name in names],
    )
    counts = {
        row["source"]: row["n"]
        for row in lake.rows("SELECT source, count(*)::INT AS n FROM constitutional GROUP BY source")
    }
    share = counts["principled"] / sum(counts.values())
    assert abs(share - 135_296 / (135_296 + 182_831)) < 0.06  # 4 standard deviations of 1,000
    both = lake.rows("SELECT 1 FROM constitutional c JOIN preferences p ON c.messages[1].content = p.prompt[1].content")
    assert both == []


def test_training_and_preference_prompts_are_disjoint(lake):
    """Constitutional AI (10)"""
    names = [f"i{n}" for n in range(60)]
    commit(
        lake,
        instructions=[instruction(name) for name in names],
        responses=[response(f"b-{name}", name) for name in names]
        + [response(f"p-{name}", name, kind="principled") for name in names]
        + [response(f"w-{name}", name, kind="verbose") for name in names],
        revisions=[revision(f"v-{name}", name, f"b-{name}", "better") for name in names],
        corrections=[correction(f"c-{name}", name, f"b-{name}", "right") for name in names],
        comparisons=[comparison(f"x-{name}", name, f"b-{name}", f"v-{name}", 0.2) for name in names],
    )
    taught = {v: {r["t"] for r in lake.rows(f"SELECT messages[1].content AS t FROM {v}")}
              for v in ("sft", "verbose_cloning", "constitutional")}  # fmt: skip
    chosen = {v: {r["t"] for r in lake.rows(f"SELECT prompt[1].content AS t FROM {v}")}
              for v in ("preferences", "corrected", "soft_preferences")}  # fmt: skip
    assert all(len(prompts) > 10 for prompts in (taught | chosen).values())
    assert set().union(*taught.values()).isdisjoint(set().union(*chosen.values()))


def test_the_identity_set_is_a_fifth_of_qac_and_repeats_its_answers(lake):
    """Aligner (4): the set; that it is trained on first is a recipe's."""
    names = [f"i{n}" for n in range(1000)]
    commit(
        lake,
        instructions=[instruction(name) for name in names],
        responses=[response(f"b-{name}", name) for name in names],
        corrections=[correction(f"c-{name}", name, f"b-{name}", "right") for name in names],
    )
    rows = lake.rows("SELECT * FROM qac_warmup")
    assert 150 < len(rows) < 250  # 200, and 4 standard deviations
    assert all(row["correction"] == row["answer"] for row in rows)
    assert {row["id"] for row in rows} <= {row["id"] for row in lake.rows("SELECT id FROM qac")}
    assert {row["question"] for row in rows} == {
        f"question {name}" for name in names if low(f"question {name}\nanswer b-{name}") % 100 < 20
    }


def test_a_chain_of_revisions_corrects_each_of_its_answers_to_its_end(lake):
    """Aligner (1), (5), where the constitution corrects"""
    commit(
        lake,
        instructions=[instruction("i1", "why?"), instruction("i2", "how?")],
        responses=[response("b1", "i1", "bad"), response("b2", "i2", "good"), response("b3", "i2", "unrevised")],
        revisions=[
            revision("v1", "i1", "b1", "better"),
            revision("v2", "i1", "b1", "best", round=2, target_id="v1", minute=1),
            revision("v3", "i2", "b2", "good", changed=False),
        ],
    )
    found = lake.rows("SELECT answer, correction, is_copy, id, correction_id, template_id FROM qac_revised ORDER BY id")
    # The same answer to another question, and a chain restarted with a clock that was set back.
    commit(
        lake,
        instructions=[instruction("i3", "when?")],
        responses=[response("b4", "i3", "bad")],
        revisions=[revision("v4", "i3", "b4", "soon", minute=9)],
    )
    commit(lake, revisions=[revision("v5", "i3", "b4", "now")])
    others = lake.rows("SELECT answer, correction, correction_id FROM qac_revised WHERE question = 'when?' ORDER BY id")
    assert lake.rows("SELECT count(*) AS n FROM qac_revised") == [{"n": len(found) + 3}], "nor is one lost to it"
    assert [tuple(row.values()) for row in others] == [
        ("bad", "now", "v5"),
        ("soon", "now", "v5"),
        ("now", "now", "v5"),
    ]
    assert [tuple(row.values()) for row in found] == [
        ("bad", "best", False, "b1", "v2", None),
        ("good", "good", True, "b2", "v3", None),
        ("better", "best", False, "v1", "v2", None),
        ("best", "best", True, "v2", "v2", None),
    ]


def test_question_answer_and_correction_are_columns_beside_their_template_and_model(lake):
    """Aligner (1), (2), (5), (6)"""
    commit(
        lake,
        instructions=[instruction("i1", "why?")],
        responses=[response("b1", "i1", "so"), response("u1", "i1", "fine", kind="upstream", upstream="small")],
        corrections=[
            correction("c1", "i1", "b1", "because", template_id="t1"),
            correction("c2", "i1", "u1", "fine", is_copy=True),
            correction("c3", "i1", "b1", "a squad's", aligner="second", target_id="c1", minute=9),
        ],
    )
    found = lake.rows(
        "SELECT question, answer, correction, is_copy, template_id, upstream FROM qac ORDER BY answer DESC"
    )
    assert [tuple(row.values()) for row in found] == [
        ("why?", "so", "because", False, "t1", None),
        ("why?", "fine", "fine", True, "t", "small"),
    ]


def test_corrections_are_preferred_to_answers_and_copies_are_left_out(lake):
    """Aligner (7)"""
    ask = on("preferences")
    commit(
        lake,
        instructions=[instruction("i1", ask)],
        responses=[response(f"b{n}", "i1", f"so {n}") for n in range(3)],
        corrections=[
            correction("c0", "i1", "b0", "because"),
            correction("c1", "i1", "b1", "so 1", is_copy=True),
            correction("c2", "i1", "b2", "so 2 "),
        ],
    )
    (row,) = lake.rows("SELECT * FROM corrected")
    assert row["prompt"] == [{"role": "user", "content": ask}]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("because", "so 0")


def test_compared_has_the_mean_of_both_orders_and_whether_they_agree(lake):
    """Constitutional AI (9)"""
    commit(
        lake,
        instructions=[instruction("i1")],
        responses=[response(id, "i1") for id in ("a1", "b1", "a2", "b2", "a3", "b3")],
        comparisons=[
            comparison("x1", "i1", "a1", "b1", 0.9),
            comparison("x2", "i1", "a1", "b1", 0.7, first="b"),
            comparison("x3", "i1", "a2", "b2", 0.9),
            comparison("x4", "i1", "a2", "b2", 0.3, first="b"),
            comparison("x5", "i1", "a3", "b3", 0.2, first="b"),
        ],
    )
    found = lake.rows(
        "SELECT a_id, p_a_first, p_a_second, round(p_a, 6) AS p_a, consistent FROM compared ORDER BY a_id"
    )
    assert [tuple(row.values()) for row in found] == [
        ("a1", 0.9, 0.7, 0.8, True),
        ("a2", 0.9, 0.3, 0.6, False),
        ("a3", None, 0.2, 0.2, None),
    ]


def test_of_a_pair_the_newest_principle_counts_and_orders_of_two_are_not_mixed(lake):
    commit(
        lake,
        instructions=[instruction("i1")],
        responses=[response("a", "i1"), response("b", "i1")],
        comparisons=[comparison(f"x-{first}", "i1", "a", "b", 0.9, first=first) for first in ("a", "b")],
    )
    commit(lake, comparisons=[comparison("x3", "i1", "a", "b", 0.2, principle_id="law", principle_hash="k")])
    (row,) = lake.rows("SELECT principle_id, p_a, p_a_first, p_a_second FROM compared")
    assert tuple(row.values()) == ("law", 0.2, 0.2, None)
    # The newest by the commits' order, whatever the clock says.
    commit(lake, comparisons=[comparison("x4", "i1", "a", "b", 0.3, principle_id="old", minute=-9)])
    assert lake.rows("SELECT principle_id, p_a FROM compared") == [{"principle_id": "old", "p_a": 0.3}]


def test_a_comparison_after_a_thought_is_another_than_one_without(lake):
    """And an order that cannot tell which is better does not agree with one that can."""
    commit(
        lake,
        instructions=[instruction("i1")],
        responses=[response(id, "i1") for id in "abcd"],
        comparisons=[
            comparison("x1", "i1", "a", "b", 0.9),
            comparison("x2", "i1", "a", "b", 0.7, first="b", minute=2),
            comparison("x3", "i1", "a", "b", 0.1, thought_id="t1", minute=1),
            comparison("x4", "i1", "c", "d", 0.9),
            comparison("x5", "i1", "c", "d", 0.5, first="b"),
        ],
    )
    found = lake.rows("SELECT a_id, round(p_a, 6) AS p_a, consistent FROM compared ORDER BY a_id")
    assert [tuple(row.values()) for row in found] == [("a", 0.8, True), ("c", 0.7, False)]


def test_soft_preferences_set_the_better_answer_over_the_other_with_its_probability(lake):
    """Constitutional AI (7)"""
    ask = on("preferences")
    commit(
        lake,
        instructions=[instruction("i1", ask)],
        responses=[response(id, "i1", id if id != "same" else "a") for id in ("a", "b", "even", "same", "v2")],
        revisions=[revision("v", "i1", "a", "revised")],
        comparisons=[
            comparison("x1", "i1", "a", "b", 0.25),
            comparison("x2", "i1", "a", "v", 0.4),
            comparison("x3", "i1", "a", "even", 0.5),
            comparison("x4", "i1", "a", "same", 0.9),
            comparison("x5", "i1", "v2", "a", 0.9),
        ],
    )
    rows = lake.rows("SELECT * FROM soft_preferences ORDER BY id")
    found = [(row["chosen"][0]["content"], row["rejected"][0]["content"], row["p"]) for row in rows]
    assert found == [("b", "a", 0.75), ("revised", "a", 0.6), ("v2", "a", 0.9)]
    assert [(row["chosen_id"], row["rejected_id"]) for row in rows] == [("b", "a"), ("v", "a"), ("v2", "a")]


def test_inspectors_are_listed_with_the_lowest_mean_first(lake):
    def inspection(id, target, inspector, score, minute=0):
        return record(id, ["r"], instruction_id="i1", response_id="r", target_id=target, inspector=inspector,
                      score=score, minute=minute)  # fmt: skip

    commit(
        lake,
        instructions=[instruction("i1")],
        responses=[response("r", "i1")],
        inspections=[
            inspection("n1", "r", "ethical", 0.9),
            inspection("n2", "r", "factual", 0.2),
            inspection("n3", "c", "factual", 0.7, minute=1),
        ],
    )
    # The last of a chain by the commits' order; at one half it has ended well.
    commit(lake, inspections=[inspection("n4", "d", "factual", 0.5, minute=-1)])
    found = lake.rows("SELECT * FROM inspectors")
    assert [tuple(row.values()) for row in found] == [
        ("factual", 1, 0.2, 0.5, 1, 1),
        ("ethical", 1, 0.9, 0.9, 0, 0),
    ]

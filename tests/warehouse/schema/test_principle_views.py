"""What the views say of principles: whether a judge agrees with them, and which few do most of it."""

from __future__ import annotations

from typing import Any

from lake_rows import commit, comparison, instruction, response, revision

CHANGED = {"kind": range(6), "law": range(4, 8), "safe": (0, 1), "odd": (8,), "late": (9,)}


def fill(lake: Any) -> None:
    """Ten instructions, a round for each principle that changed the answer; the last one is judged the worse answer."""
    revisions = [
        revision(f"{name}-{n}", f"i{n}", f"b{n}", f"{name} {n}", principle_id=name, round=round)
        for round, (name, places) in enumerate(CHANGED.items(), 1)
        for n in places
    ]
    unchanged = revision("same", "i9", "b9", "answer b9", principle_id="same", changed=False)
    commit(
        lake,
        instructions=[instruction(f"i{n}") for n in range(10)],
        responses=[response(f"b{n}", f"i{n}") for n in range(10)],
        revisions=[*revisions, unchanged],
        comparisons=[
            *(comparison(f"c9{first}", "i9", "b9", "late-9", 0.8, first=first) for first in ("a", "b")),
            comparison("c8a", "i8", "b8", "odd-8", 0.1, principle_id="law"),
            comparison("c8b", "i8", "b8", "odd-8", 0.6, principle_id="law", first="b"),
            comparison("c0", "i0", "b0", "safe-0", 0.3),
            comparison("c5", "i5", "b5", "law-5", 0.9),
            comparison("c3", "i3", "b3", "kind-3", 0.5),
        ],
    )


def test_a_judge_agrees_with_a_principle_where_it_prefers_what_the_principle_made(lake: Any) -> None:
    fill(lake)
    rows = {row["principle_id"]: row for row in lake.rows("SELECT * FROM principle_agreement")}
    kind, law, odd, late = (rows[name] for name in ("kind", "law", "odd", "late"))
    assert (kind["changed"], kind["judged"], kind["agreement"]) == (6, 2, 0.5), "an even verdict is none"
    assert (kind["judged_alone"], kind["agreement_alone"]) == (0, None), "others had changed both of them"
    assert (law["judged"], law["agreement"]) == (1, 0.0)
    assert (odd["agreement_alone"], late["agreement_alone"]) == (1.0, 0.0)
    assert (law["compared"], law["consistent"]) == (1, 0.0), "two orders, two opinions"
    assert "same" not in rows


def test_the_few_that_do_most_stand_first_and_what_the_judge_undid_does_not_count(lake: Any) -> None:
    fill(lake)
    rows = lake.rows("SELECT * FROM principle_selection")
    # i9 and i5 are left out: the judge preferred their first answers.
    assert [(row["place"], row["principle_id"], row["adds"], round(row["share"], 3)) for row in rows] == [
        *((1, "kind", 5, 0.625), (2, "law", 2, 0.875), (3, "odd", 1, 1.0)),
    ]
    assert all(row["is_kept"] for row in rows)


def test_those_after_nine_tenths_are_not_kept_and_without_changes_there_are_none(lake: Any) -> None:
    assert lake.rows("SELECT * FROM principle_selection") == []
    assert lake.rows("SELECT * FROM principle_agreement") == []
    made = [(f"i{n}", "kind" if n < 19 else "rare") for n in range(20)]
    commit(
        lake,
        instructions=[instruction(about) for about, _ in made],
        revisions=[revision(f"v-{about}", about, f"b-{about}", "x", principle_id=name) for about, name in made],
    )
    kind, rare = lake.rows("SELECT principle_id, share, is_kept FROM principle_selection")
    assert (kind["principle_id"], kind["share"], kind["is_kept"]) == ("kind", 0.95, True)
    assert (rare["principle_id"], rare["share"], rare["is_kept"]) == ("rare", 1.0, False)

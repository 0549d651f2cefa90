"""What a judge said of revisions, in the view of preferences and in the card."""

from lake_rows import commit, comparison, instruction, on, response, revision

from warehouse.export.export import export
from warehouse.query.snapshots import release_of


def test_a_revision_that_the_judge_found_worse_is_no_preference_and_the_card_says_how_many(lake, tmp_path):
    asks = {"better": on("preferences"), "worse": on("preferences", 30), "unjudged": on("preferences", 60)}
    commit(
        lake,
        instructions=[instruction(name, text) for name, text in asks.items()],
        responses=[response(f"b-{name}", name) for name in asks],
        revisions=[revision(f"v-{name}", name, f"b-{name}", f"mended {name}") for name in asks],
        comparisons=[
            comparison("x1", "better", "b-better", "v-better", 0.2),
            comparison("x2", "worse", "b-worse", "v-worse", 0.9),
            comparison("x3", "worse", "b-worse", "v-worse", 0.4, first="b"),
        ],
    )
    assert {row["id"] for row in lake.rows("SELECT id FROM preferences")} == {"v-better", "v-unjudged"}
    export(lake, ["preferences"], tmp_path / "made", release=release_of(lake, str(lake.snapshot())), licences={})
    card = (tmp_path / "made/README.md").read_text()
    assert "A judge compared 2 revisions with the first answer and found 1 better (50%)" in card
    (row,) = lake.rows("SELECT * FROM funnel WHERE step = 'preferences.judge'")
    found = {name: row[name] for name in ("rows_in", "attempts", "accepted", "rejected", "top_reason")}
    reason = "the judge preferred the first answer"
    assert found == {"rows_in": 2, "attempts": 0, "accepted": 1, "rejected": 1, "top_reason": reason}

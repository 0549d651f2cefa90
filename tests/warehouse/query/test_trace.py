"""A row's way from the request it began with to the models it trained."""

import json

import pytest
from lake_rows import attempt, commit, correction, critique, instruction, on, record, response, revision

from warehouse import LakeUsageError
from warehouse.export.publish import tag
from warehouse.query.trace import NODES, trace
from warehouse.query.trained_on import models

ASK = on("preferences")


def of(row, *parents):
    return row | {"parents": list(parents)}


@pytest.fixture
def walked(lake):
    """One instruction, written beside an exemplar, walked to its end; another answer that came to nothing."""
    words = [
        {"hash": "p1", "id": "respond/answer", "source": "the words of the prompt"},
        {"hash": "h", "id": "principle:kind", "source": "Is it kind?"},
    ]
    lake.ledger.write("prompts", words, run_id="r", message="words")
    inputs = json.dumps({"request_id": "asked", "topic": "owls", "exemplars": ["a seed", "question i0"]})
    wrote = attempt("k-i1", step="self_instruct.generate", inputs=inputs, parents=["asked"])
    lake.ledger.append(
        {
            "instructions": [
                record("i0", attempt_id=None, topic="owls", text="question i0", origin="seed", state="accepted"),
                instruction("i1", ASK, topic="owls", parents=["asked", "i0"]),
            ]
        },
        [wrote],
        run_id="run-0",
        step="self_instruct.generate",
        fingerprint="f",
    )
    commit(
        lake,
        responses=[response("b1", "i1", "first", minute=1)],
        critiques=[critique("q1", "i1", "b1", minute=2)],
        revisions=[
            of(revision("v1", "i1", "b1", "better", minute=3), "i1", "b1", "q1"),
            of(revision("v2", "i1", "b1", "best", round=2, target_id="v1", minute=4), "i1", "b1", "v1"),
        ],
        corrections=[of(correction("c1", "i1", "b1", "corrected", minute=5), "i1", "b1")],
        attempts=[attempt("lost", state="rejected", reason="empty reply", parents=["i1"], raw_text="")],
    )
    return lake


def edges(found, relation):
    return [(node["id"], node["under"]) for node in found["nodes"] if node["relation"] == relation]


def test_the_ancestry_goes_back_to_the_request_and_its_exemplars(walked):
    found = trace(walked, "v1")
    assert [id for id, _ in edges(found, "ancestor")][-2:] == ["b1", "q1"]
    assert dict(edges(found, "ancestor"))["q1"] == "b1"
    assert {id for id, _ in edges(found, "ancestor")} == {"i0", "asked", "i1", "b1", "q1"}
    assert edges(found, "itself") == [("v1", "q1")]
    by_id = {node["id"]: node for node in found["nodes"]}
    asked = by_id["asked"]
    assert (asked["record_table"], asked["topic"], asked["exemplars"]) == (
        "requests",
        "owls",
        ["a seed", "question i0"],
    )
    itself = by_id["v1"]
    facts = {"step": "respond.answer", "prompt_id": "respond/answer", "prompt": "the words of the prompt", "seed": 7}
    facts |= {"model": "model-a", "run_id": "run-1", "principle": "Is it kind?", "text": "better", "round": 1}
    assert {name: itself[name] for name in facts} == facts


def test_each_descendant_hangs_on_the_nearest_it_was_made_from(walked):
    found = trace(walked, "i1")
    assert dict(edges(found, "descendant")) == {
        "b1": "i1",
        "q1": "b1",
        "v1": "q1",
        "v2": "v1",
        "c1": "b1",
        "lost-try0": "i1",
    }
    lost = next(node for node in found["nodes"] if node["id"] == "lost-try0")
    assert (lost["record_table"], lost["state"], lost["reason"]) == ("attempts", "rejected", "empty reply")


def test_an_attempt_leads_to_what_it_wrote_and_from_what_it_was_asked_about(walked):
    found = trace(walked, "k-i1-try0")
    assert [id for id, _ in edges(found, "ancestor")] == ["asked"]
    assert dict(edges(found, "descendant"))["i1"] == "k-i1-try0"
    assert {id for id, _ in edges(trace(walked, "lost-try0"), "ancestor")} == {"asked", "i0", "i1"}


def test_the_beginning_of_an_id_is_enough_where_no_other_begins_so(walked):
    assert trace(walked, "lost-t")["id"] == "lost-try0"
    with pytest.raises(
        LakeUsageError, match="no record or attempt whose id is 'k-v'; give 6 characters of it at least"
    ):
        trace(walked, "k-v")
    commit(walked, attempts=[attempt("lost", id="lost-try1", work_key="other")])
    with pytest.raises(LakeUsageError, match=r"begins several ids: lost-try0 \(attempts\), lost-try1 \(attempts\)"):
        trace(walked, "lost-t")
    with pytest.raises(LakeUsageError, match='no record or attempt whose id begins with "it\'s here"'):
        trace(walked, "it's here")


def train(lake, id, recipe, base, tag, view=None):
    row = {"id": id, "path": f"/models/{id}", "base_id": base, "recipe": recipe, "tag": tag, "view": view}
    lake.ledger.write("models", [row], run_id="r", message=id)


def test_the_uses_are_the_tags_that_held_it_and_the_models_trained_on_them(walked):
    early = walked.snapshot()
    tag(walked, "early", early, run_id="r")
    train(walked, "m-dpo", "dpo", "base", "early")  # from before its view was recorded
    train(walked, "m-sft", "sft", "base", "early", view="sft")
    train(walked, "m-top", "sft", "m-dpo", "late", view="sft")
    train(walked, "m-toptop", "sft", "m-top", "late", view="sft")
    # A newer revision of the same answer takes v2's place.
    commit(walked, revisions=[of(revision("v3", "i1", "b1", "perfect", round=3, target_id="v2"), "i1", "b1", "v2")])
    tag(walked, "late", walked.snapshot(), run_id="r")

    def uses(id):
        return [
            (use["tag"], use["view"], use["ids"], [(m["id"], [u["id"] for u in m["upon"]]) for m in use["models"]])
            for use in trace(walked, id)["uses"]
        ]

    trained = [("m-dpo", ["m-top", "m-toptop"])]
    assert uses("v2") == [("early", "preferences", ["v2"], trained), ("late", "preferences", ["v3"], [])]
    assert uses("v3") == [("late", "preferences", ["v3"], [])]
    assert [(name, view, ids) for name, view, ids, _ in uses("c1")] == [
        ("early", "qac", ["c1"]),
        ("late", "qac", ["c1"]),
    ]
    assert {(use[0], use[1]) for use in uses("i0")} >= {("early", "preferences"), ("late", "qac")}


def test_a_model_that_learned_from_some_parts_has_read_no_row_of_the_others(walked):
    tag(walked, "mixed", walked.snapshot(), run_id="r")
    for part in ("self_instruct", "other"):
        config = json.dumps({"mix": {"by": "origin", "only": [part]}})
        row = {"id": f"m-{part}", "path": f"/models/{part}", "base_id": "base", "recipe": "dpo", "tag": "mixed"}
        walked.ledger.write("models", [row | {"view": "preferences", "config": config}], run_id="r", message=part)
    (use,) = [use for use in trace(walked, "v2")["uses"] if use["view"] == "preferences"]
    assert [model["id"] for model in use["models"]] == ["m-self_instruct"]
    assert [len(walked.rows(row["rows"])) for row in models(walked)] == [1, 0]


def test_a_row_that_the_same_words_superseded_is_in_no_later_tag(walked):
    first = walked.snapshot()
    tag(walked, "first", first, run_id="r")
    commit(
        walked,
        instructions=[instruction("twin", ASK)],
        responses=[response("b9", "twin", "other")],
        revisions=[revision("v9", "twin", "b9", "newer")],
    )
    tag(walked, "second", walked.snapshot(), run_id="r")
    held = [(use["tag"], use["ids"]) for use in trace(walked, "v2")["uses"] if use["view"] == "preferences"]
    assert held == [("first", ["v2"])]


def test_a_models_rows_are_those_of_its_query_at_its_tag(walked):
    tag(walked, "v1", walked.snapshot(), run_id="r")
    train(walked, "m", "dpo", "base", "v1")
    (model,) = models(walked)
    assert (model["view"], model["snapshot_id"]) == (
        "preferences",
        walked.rows("SELECT snapshot_id FROM tags")[0]["snapshot_id"],
    )
    assert [row["id"] for row in walked.rows(model["rows"])] == ["v2"]


def test_a_long_trace_is_cut_and_says_so(walked):
    commit(walked, responses=[response(f"r{n:03}", "i1", "x" * 5000) for n in range(NODES + 10)])
    cut = trace(walked, "i1")
    assert (len(edges(cut, "descendant")), cut["cut"]) == (NODES, ["descendant"])
    whole = trace(walked, "i1", full=True)
    assert (len(edges(whole, "descendant")), whole["cut"]) == (NODES + 16, [])
    lengths = [max(len(node["text"] or "") for node in found["nodes"]) for found in (cut, whole)]
    assert lengths == [2001, 5000]


def test_topics_and_instances_can_be_traced(lake):
    asked = {"attempt_id": None, "state": "accepted"}
    commit(
        lake,
        topics=[record("t1", question_type="law", text="Wills", **asked)],
        instructions=[instruction("i1", "Who inherits?", origin="red_team", question_type="law", attempt_id=None)],
        classifications=[record("c1", ["i1"], instruction_id="i1", classification=True, attempt_id=None)],
        instances=[
            record("n1", ["i1"], instruction_id="i1", place=1, form="output_first", input="a", output="b", **asked)
        ],
    )
    assert [node["text"] for node in trace(lake, "t1")["nodes"]] == ["Wills"]
    nodes = {node["id"]: node for node in trace(lake, "i1")["nodes"]}
    assert set(nodes) == {"i1", "c1", "n1"}
    assert (nodes["n1"]["text"], nodes["n1"]["form"], nodes["i1"]["question_type"]) == ("b", "output_first", "law")

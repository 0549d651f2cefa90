"""What the views say of hand-made rows."""

from datetime import timedelta

import pytest
from lake_rows import (
    START,
    attempt,
    commit,
    correction,
    critique,
    half,
    instruction,
    on,
    record,
    response,
    revision,
)

from warehouse.query import status
from warehouse.schema.lake_schema import default


def texts(rows):
    return [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows]


def test_sft_has_principled_answers_without_their_thought_and_final_revisions(lake):
    ask = on("sft")
    commit(
        lake,
        instructions=[instruction("i1", ask, topic="owls")],
        responses=[
            response("p1", "i1", "old", kind="principled", thought="(1) ethical", minute=1),
            response("p2", "i1", "new", kind="principled", thought="(1) ethical", minute=2),
            response("b1", "i1", "first"),
        ],
        revisions=[
            revision("v1", "i1", "b1", "better", minute=3),
            revision("v2", "i1", "b1", "best", round=2, target_id="v1", minute=4),
        ],
    )
    rows = lake.rows("SELECT * FROM sft ORDER BY source")
    assert texts(rows) == [(ask, "new"), (ask, "best")]
    assert [m["role"] for m in rows[0]["messages"]] == ["user", "assistant"]
    assert [(r["source"], r["id"], r["topic"], r["attempt_id"]) for r in rows] == [
        ("principled", "p2", "owls", "k-p2-try0"),
        ("revision", "v2", "owls", "k-v2-try0"),
    ]
    assert "thought" not in rows[0]


def test_preferences_set_the_final_revision_over_the_first_answer_where_they_differ(lake):
    ask, same = on("preferences"), on("preferences", 50)
    commit(
        lake,
        instructions=[instruction("i1", ask), instruction("twin", ask), instruction("i2", same)],
        responses=[response("b1", "i1", "first"), response("b9", "twin", "other"), response("b2", "i2", "good")],
        revisions=[
            revision("v1", "i1", "b1", "better", minute=3),
            revision("v9", "twin", "b9", "newer", minute=4),
            revision("v2", "i2", "b2", "worse", minute=1),
            revision("v3", "i2", "b2", "good", round=2, changed=True, minute=2),
        ],
    )
    (row,) = lake.rows("SELECT * FROM preferences")
    assert row["prompt"] == [{"role": "user", "content": ask}]
    assert row["chosen"] == [{"role": "assistant", "content": "newer"}]
    assert row["rejected"] == [{"role": "assistant", "content": "other"}]
    assert (row["id"], row["response_id"], row["instruction_id"]) == ("v9", "b9", "twin")


def test_sft_and_preferences_share_no_prompt_and_lose_none(lake):
    names = [f"i{n}" for n in range(40)]
    commit(
        lake,
        instructions=[instruction(name) for name in names],
        responses=[response(f"b-{name}", name) for name in names]
        + [response(f"p-{name}", name, kind="principled") for name in names],
        revisions=[revision(f"v-{name}", name, f"b-{name}", "better") for name in names],
    )
    sft = {ask for ask, _ in texts(lake.rows("SELECT * FROM sft"))}
    preferences = {row["prompt"][0]["content"] for row in lake.rows("SELECT * FROM preferences")}
    assert sft.isdisjoint(preferences)
    assert sft | preferences == {f"question {name}" for name in names}
    assert sft == {text for text in sft | preferences if half(text) == "sft"}
    assert len(sft) > 8 < len(preferences)


def test_engrave_has_principled_answers_only(lake):
    commit(
        lake,
        instructions=[instruction("i1", on("sft")), instruction("i2", on("preferences"))],
        responses=[response("b1", "i1", "so"), response("b2", "i2", "so")]
        + [response(f"p{n}", f"i{n}", "good", kind="principled") for n in (1, 2)],
        revisions=[revision("v1", "i1", "b1", "better")],
    )
    assert {row["id"] for row in lake.rows("SELECT id FROM sft")} == {"p1", "v1"}
    (row,) = lake.rows("SELECT * FROM engrave")
    assert row["id"] == "p1"
    assert [turn["content"] for turn in row["messages"]] == [on("sft"), "good"]


def test_qac_keeps_copies_and_the_newest_correction(lake):
    commit(
        lake,
        instructions=[instruction("i1", "why?")],
        responses=[response("b1", "i1", "so"), response("b2", "i1", "fine")],
        corrections=[
            correction("c1", "i1", "b1", "because", minute=1),
            correction("c2", "i1", "b1", "because of it", minute=2),
            correction("c3", "i1", "b2", "fine", is_copy=True),
        ],
    )
    found = lake.rows("SELECT question, answer, correction, is_copy FROM qac ORDER BY answer")
    assert [tuple(row.values()) for row in found] == [
        ("why?", "fine", "fine", True),
        ("why?", "so", "because of it", False),
    ]


@pytest.fixture
def mixed(lake):
    """One run with a retry, two rejects and a failure, and candidates that the gate turned down."""
    calls = [
        attempt("a", step="x.ask"),
        attempt("b", step="x.ask", state="unparsed", reason="no list", final=False),
        attempt("b", step="x.ask", try_number=1),
        attempt("c", step="x.ask", state="rejected", reason="empty reply", raw_text=" ", parents=["i1"]),
        attempt("d", step="x.ask", state="rejected", reason="empty reply"),
        attempt("e", step="x.ask", state="failed", reason="400", raw_text=None)
        | dict.fromkeys(("tokens_in", "tokens_out", "latency_s")),
    ]
    candidates = [
        instruction("i1"),
        instruction("i2", "short", key="k-gate", state="rejected", reason="too short", parents=["s1"]),
        instruction("i3", "shorter", key="k-gate", state="rejected", reason="too short"),
        instruction("s1", attempt_id=None, origin="seed"),
    ]
    commit(lake, attempts=calls, instructions=candidates)
    return lake


def test_funnel_sums_a_steps_calls_and_the_gate(mixed):
    steps = {row["step"]: row for row in mixed.rows("SELECT * FROM funnel")}
    ask = steps["x.ask"]
    expected = {"rows_in": 5, "attempts": 6, "accepted": 2, "rejected": 2, "unparsed": 1, "failed": 1}
    expected |= {"top_reason": "empty reply", "top_reason_count": 2, "tokens_in": 50, "tokens_out": 25, "seconds": 2.5}
    assert {name: ask[name] for name in expected} == expected
    assert ask["run_id"] == "run-1"
    assert {step for step in steps if step.endswith("gate")} == {"self_instruct.gate"}, "a seed was judged by nobody"
    gate = steps["self_instruct.gate"]
    assert (gate["rows_in"], gate["attempts"], gate["accepted"], gate["rejected"]) == (3, 0, 1, 2)
    assert (gate["top_reason"], gate["top_reason_count"]) == ("too short", 2)
    total = mixed.rows("SELECT sum(attempts) AS a, sum(tokens_out) AS t FROM funnel")[0]
    assert total == mixed.rows("SELECT count(*) AS a, sum(tokens_out) AS t FROM attempts")[0]


def test_funnel_tells_each_runs_rows_and_reasons_apart(mixed):
    before = {row["step"]: row for row in mixed.rows("SELECT * FROM funnel")}
    fault = {"step": "x.ask", "state": "rejected"}
    calls = [
        attempt("f", reason="prompt of 900 tokens is too long", **fault),
        attempt("g", reason="prompt of 17 tokens is too long", **fault),
        attempt("h", reason="empty reply", **fault),
        attempt("i", step="x.ask", tokens_in=1, tokens_out=2, latency_s=3.0),
        attempt("j", step="y.ask", state="failed", reason="error 400"),
        attempt("k", step="y.ask", state="failed", reason="error 400"),
    ]
    commit(mixed, "run-2", attempts=calls)
    found = mixed.rows("SELECT * FROM funnel")
    assert {row["step"]: row for row in found if row["run_id"] == "run-1"} == before
    other, same = sorted((row for row in found if row["run_id"] == "run-2"), key=lambda row: row["step"])
    assert (same["top_reason"], same["top_reason_count"]) == ("error 400", 2), "one reason keeps its number"
    expected = {"rows_in": 4, "attempts": 4, "accepted": 1, "rejected": 3, "top_reason_count": 2}
    expected |= {"top_reason": "prompt of … tokens is too long", "tokens_in": 31, "tokens_out": 17, "seconds": 4.5}
    assert {name: other[name] for name in expected} == expected


def test_usage_sums_what_was_sent_and_leaves_out_what_was_read_again(lake):
    def call(key, second, latency, **fields):
        return attempt(key, created_at=START + timedelta(seconds=second), latency_s=latency, **fields)

    commit(
        lake,
        attempts=[
            call("a", 2, 2.0, tokens_out=10, tokens_cached=5),
            call("b", 4, 4.0, tokens_out=30),
            call("c", 4, 1.0, tokens_out=20, tokens_cached=10),
            call("d", 9, 0.0, tokens_in=0, tokens_out=0, replayed_from="a-try0"),
        ],
    )
    row, total = lake.rows("SELECT * FROM usage")
    expected = {"requests": 3, "tokens_in": 30, "tokens_out": 60, "tokens_cached": 15, "cache_rate": 0.75}
    expected |= {"latency_p50_s": 2.0, "wall_s": 4.0, "tokens_out_per_s": 15.0, "in_flight": 7 / 4}
    assert {name: row[name] for name in expected} == expected
    assert (row["step"], total["step"]) == ("respond.answer", "total")
    assert total | {"step": row["step"]} == row


def test_usage_of_a_run_is_that_of_its_steps_together(lake):
    for run, first in (("run-1", 10), ("run-2", 20)):
        calls = [
            attempt(f"{run}-{n}", step=step, latency_s=2.0, created_at=START + timedelta(seconds=first + n))
            for n, step in enumerate(("a.one", "b.two", "b.two"))
        ]
        commit(lake, run, attempts=calls)
    found = lake.rows("SELECT run_id, step, requests, tokens_out, wall_s, in_flight FROM usage")
    assert [(row["run_id"], row["step"], row["requests"]) for row in found] == [
        (run, step, count) for run in ("run-1", "run-2") for step, count in (("a.one", 1), ("b.two", 2), ("total", 3))
    ]
    # Sent at 8 s, 9 s and 10 s, answered two seconds later: six seconds of requests in four.
    assert [row["in_flight"] for row in found if row["step"] == "total"] == [1.5, 1.5]
    assert status.usage(lake, "run-2") == [row for row in status.usage(lake) if row["run_id"] == "run-2"]
    assert [row["run_id"] for row in status.status(lake)["usage"]] == ["run-2"] * 3


def test_rejects_name_every_row_that_was_not_accepted(mixed):
    rows = {row["id"]: row for row in mixed.rows("SELECT * FROM rejects")}
    assert sorted(rows) == ["b-try0", "c-try0", "d-try0", "e-try0", "i2", "i3"]
    call, candidate = rows["c-try0"], rows["i2"]
    assert (call["state"], call["reason"], call["text"], call["parents"]) == ("rejected", "empty reply", " ", ["i1"])
    assert (candidate["step"], candidate["reason"], candidate["text"]) == ("self_instruct.gate", "too short", "short")
    assert (candidate["attempt_id"], candidate["model"], candidate["seed"]) == ("k-gate-try0", "model-a", 7)
    assert {id: row["final"] for id, row in rows.items() if not row["final"]} == {"b-try0": False}


def test_principles_say_what_each_brought_about(lake):
    words = [
        {"hash": "h1", "id": "principle:kind", "source": "Is it kind?"},
        {"hash": "h2", "id": "principle:kind", "source": "Is it gentle?"},
        {"hash": "h", "id": "principle:kind:revision", "source": "Make it kind."},
        {"hash": "z", "id": "principle:kind:revision", "source": "Make it gentle."},
    ]
    lake.ledger.write("prompts", words, run_id="r", message="words")
    commit(
        lake,
        instructions=[instruction("i1")],
        responses=[response("b1", "i1")],
        critiques=[critique(f"q{n}", "i1", "b1", round=n, principle_hash="h1") for n in (1, 2, 3)],
        revisions=[
            revision(f"v{n}", "i1", "b1", "better", round=n, changed=changed)
            for n, changed in ((1, True), (2, False), (3, True), (4, True))
        ],
    )
    commit(
        lake,
        critiques=[
            critique("q4", "i1", "b1", principle_hash="h2"),
            critique("q5", "i1", "b1", principle_id="law", principle_hash="unknown"),
        ],
        revisions=[revision("w1", "i1", "b1", "better", round=3, changed=False, principle_hash="g")],
    )
    commit(lake, revisions=[revision("w2", "i1", "b1", "better", round=4, changed=True, principle_hash="z")])
    kind, law = lake.rows("SELECT * FROM principles")
    expected = {"principle_id": "kind", "drawn": 4, "revised": 6, "changed": 4, "share_changed": 4 / 6, "wordings": 3}
    assert {name: kind[name] for name in expected} == expected
    assert kind["median_round"] == 3.5
    assert (kind["critique_request"], kind["revision_request"]) == ("Is it gentle?", "Make it gentle.")
    assert (law["drawn"], law["revised"], law["changed"], law["share_changed"]) == (1, 0, 0, None)


def test_lineage_joins_each_record_and_parent_with_what_wrote_it(lake):
    commit(
        lake,
        instructions=[instruction("s1", attempt_id=None, origin="seed")],
        responses=[response("r1", "s1")],
        critiques=[critique("c1", "s1", "r1")],
    )
    found = lake.rows(
        "SELECT record_table, record_id, parent_id, step, model, prompt_hash, seed FROM lineage ORDER BY ALL"
    )
    wrote = ("respond.answer", "model-a", "p1", 7)
    assert [tuple(row.values()) for row in found] == [
        ("critiques", "c1", "r1", *wrote),
        ("critiques", "c1", "s1", *wrote),
        ("instructions", "s1", None, None, None, None, None),
        ("responses", "r1", "s1", *wrote),
    ]


def test_lineage_knows_every_record_table(lake):
    blank = {"string": "x", "int32": 1, "double": 0.5, "bool": True, "list<item: string>": []}
    rows = {
        table: {
            field.name: blank[str(field.type)] for field in schema if str(field.type) in blank and not field.nullable
        }
        | record(f"one of {table}", [f"parent of {table}"])
        for table, schema in default().records.items()
    }
    commit(lake, **{table: [row] for table, row in rows.items()})
    found = lake.rows("SELECT record_table, record_id, parent_id, attempt_id FROM lineage")
    assert sorted(tuple(row.values()) for row in found) == sorted(
        (table, f"one of {table}", f"parent of {table}", row["attempt_id"]) for table, row in rows.items()
    )


def test_each_view_is_explained_and_empty_in_an_empty_lake(unwritten):
    for name in default().views:
        assert len(default().view_comment(name)) > 30
        assert unwritten.sql(f"SELECT * FROM {name}").num_rows == 0

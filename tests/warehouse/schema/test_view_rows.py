"""Which rows a view takes: the newest, one of each, and what its columns say at their borders."""

from datetime import timedelta

from lake_rows import START, attempt, commit, correction, instance, instruction, on, record, response, revision


def test_qac_has_each_question_of_the_same_answer_and_each_answer_to_the_same_question(lake):
    commit(
        lake,
        instructions=[instruction("i1", "why?"), instruction("i2", "how?"), instruction("twin", "why?")],
        responses=[
            response("b1", "i1", "so"),
            response("b2", "i2", "so"),
            response("b3", "i1", "thus"),
            response("b4", "twin", "so"),
        ],
        corrections=[
            correction("c1", "i1", "b1", "because"),
            correction("c2", "i2", "b2", "like this"),
            correction("c3", "i1", "b3", "therefore"),
            correction("c4", "twin", "b4", "the newest", minute=1),
        ],
    )
    found = lake.rows("SELECT question, answer, correction FROM qac ORDER BY ALL")
    assert [tuple(row.values()) for row in found] == [
        ("how?", "so", "like this"),
        ("why?", "so", "the newest"),
        ("why?", "thus", "therefore"),
    ]


def test_of_two_commits_the_later_counts_wherever_the_clock_stood(lake):
    """An hour that comes twice, or a clock that was set right: the second commit's rows have the earlier times."""
    taught, chosen = on("sft"), on("preferences")
    for round, minute in ((1, 60), (2, 0)):
        instructions = [instruction("i1", taught), instruction("i2", chosen)] if round == 1 else []
        commit(
            lake,
            instructions=instructions,
            responses=[
                response(f"p{round}", "i1", f"kind {round}", kind="principled", minute=minute),
                response(f"w{round}", "i1", f"long {round}", kind="verbose", complete=True, minute=minute),
                response(f"a{round}", "i1", f"first {round}", minute=minute),
                response(f"b{round}", "i2", f"first {round}", minute=minute),
            ],
            revisions=[
                revision(f"u{round}", "i1", f"a{round}", f"better {round}", minute=minute),
                revision(f"v{round}", "i2", f"b{round}", f"better {round}", minute=minute),
            ],
            corrections=[correction(f"c{round}", "i2", "b1", f"right {round}", minute=minute)],
            instances=[instance(f"n{round}", "i2", minute=minute)],
        )
    assert {row["source"]: row["id"] for row in lake.rows("SELECT source, id FROM sft")} == {
        "principled": "p2",
        "revision": "u2",
    }
    for view, id in {"preferences": "v2", "verbose_cloning": "w2", "qac": "c2", "instructed": "n2"}.items():
        assert [row["id"] for row in lake.rows(f"SELECT id FROM {view}")] == [id], view
    assert {row["id"] for row in lake.rows("SELECT id FROM base_sft")} == {"a2", "b2"}


def test_usage_has_percentiles_a_model_where_there_is_one_and_calls_without_a_latency(lake):
    late = START + timedelta(seconds=200)
    calls = [attempt(f"k{n}", step="a.one", latency_s=float(n), created_at=late) for n in range(101)]
    other = attempt("b", step="b.two", model="model-b", latency_s=None, created_at=START)
    commit(lake, attempts=[*calls, other])
    found = {row["step"]: row for row in lake.rows("SELECT * FROM usage")}
    one, two, total = (found[step] for step in ("a.one", "b.two", "total"))
    assert [one[f"latency_p{q}_s"] for q in (50, 90, 99)] == [50.0, 90.0, 99.0]
    assert (one["model"], two["model"], total["model"]) == ("model-a", "model-b", None)
    assert two["started_at"] == total["started_at"] == START, "it was sent when it was answered, as far as is known"


def test_a_rejected_instance_is_reported_with_its_input_where_it_has_one(lake):
    verdict = {"state": "rejected", "reason": "conflict"}
    topics = [record("t1", key="loose", question_type="law", text="Law", **verdict)]
    lake.ledger.append({"topics": topics}, [attempt("loose", final=False)], run_id="run-1", step="s", fingerprint="f")
    commit(
        lake,
        instances=[instance("n1", "i1", "3 + 4", **verdict), instance("n2", "i1", **verdict)],
    )
    found = {row["id"]: row for row in lake.rows("SELECT * FROM rejects")}
    assert {id: row["text"] for id, row in found.items()} == {"n1": "3 + 4\noutput n1", "n2": "output n2", "t1": "Law"}
    assert all(row["final"] for row in found.values()), "a candidate is judged for good, whatever comes of the call"


def test_only_accepted_instances_are_learnt_and_each_input_of_an_instruction(lake):
    commit(
        lake,
        instructions=[instruction("i1", "Add."), instruction("twin", "Add.")],
        instances=[
            instance("n1", "i1", "3 + 4"),
            instance("n2", "i1", "1 + 1", form="output_first"),
            instance("n3", "i1", "2 + 2", state="rejected", reason="conflict"),
            instance("n4", "twin", "3 + 4", minute=1),
        ],
    )
    found = lake.rows("SELECT instruction, input, output, classification FROM instructed ORDER BY input")
    assert [tuple(row.values()) for row in found] == [
        ("Add.", "1 + 1", "output n2", True),
        ("Add.", "3 + 4", "output n4", False),
    ]


def test_each_answer_to_a_prompt_has_its_own_newest_revision(lake):
    ask = on("preferences")
    commit(
        lake,
        instructions=[instruction("i1", ask)],
        responses=[response("b1", "i1", "first"), response("b2", "i1", "other")],
        revisions=[
            revision("v1", "i1", "b1", "better", minute=1),
            revision("v2", "i1", "b2", "other", minute=2, changed=False),
        ],
    )
    assert [row["id"] for row in lake.rows("SELECT id FROM revised")] == ["v1"]
    assert [row["id"] for row in lake.rows("SELECT id FROM preferences")] == ["v1"]

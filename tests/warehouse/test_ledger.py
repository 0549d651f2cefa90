"""A row is committed once, with its attempts, or not at all."""

import json
from contextlib import contextmanager
from datetime import timedelta

import duckdb
import pytest
from lake_rows import START, attempt, commit, correction, instruction, response

from warehouse import Lake, LakeFailure, LakeUsageError
from warehouse.ledger import Batch


def snapshots(lake):
    return [row["n"] for row in lake.rows("SELECT snapshot_id AS n FROM ducklake_snapshots('lake')")]


def counts(lake, *tables):
    return [lake.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in tables]


def test_records_attempts_and_ledger_row_come_in_one_snapshot_with_its_message(lake):
    before = len(snapshots(lake))
    rows = [instruction(f"i{n}") for n in range(3)]
    assert lake.ledger.append(
        {"instructions": rows}, [attempt(row["work_key"]) for row in rows], run_id="run-1", step="a.b", fingerprint="fp"
    ) == 3  # fmt: skip
    assert len(snapshots(lake)) == before + 1
    newest = lake.rows("SELECT * FROM ducklake_snapshots('lake') ORDER BY snapshot_id DESC LIMIT 1")[0]
    assert (newest["author"], newest["commit_message"]) == ("alignery", "a.b: 3 attempts")
    assert json.loads(newest["commit_extra_info"]) == {"run": "run-1", "step": "a.b", "fingerprint": "fp"}
    (entry,) = lake.rows("SELECT * FROM commits")
    assert (entry["attempts"], entry["records"], entry["run_id"]) == (3, 3, "run-1")
    assert lake.rows("SELECT run_id FROM attempts UNION SELECT run_id FROM instructions") == [{"run_id": "run-1"}]


def test_what_is_there_is_not_committed_again(lake):
    assert commit(lake, instructions=[instruction("i1")]) == 1
    before = snapshots(lake)
    assert commit(lake, instructions=[instruction("i1")]) == 0
    assert snapshots(lake) == before
    assert commit(lake, instructions=[instruction("i1"), instruction("i2")]) == 1
    assert counts(lake, "instructions", "attempts") == [2, 2]


def test_what_attempts_finish_is_remembered_with_them_and_never_where_one_was_dropped(lake):
    done = {"finished": [{"instruction_id": "i", "walk_key": "w", "requests": 2}]}
    commit(lake, instructions=[instruction("there")])
    mixed = Batch("a.b", "f", {}, [attempt("k-there", id="late"), attempt("k-new")])
    assert lake.ledger.append_batches([mixed], run_id="run-2", beside=done) == 1
    assert counts(lake, "finished") == [0], "another run has finished a part of it"
    before = len(snapshots(lake))
    whole = Batch("a.b", "f", {}, [attempt("k-1"), attempt("k-2")])
    assert lake.ledger.append_batches([whole], run_id="run-2", beside=done) == 2
    assert len(snapshots(lake)) == before + 1
    assert lake.rows("SELECT instruction_id, walk_key, requests, run_id FROM finished") == [
        {"instruction_id": "i", "walk_key": "w", "requests": 2, "run_id": "run-2"}
    ]


def test_only_what_came_in_since_a_snapshot_is_looked_at_where_the_caller_knows_the_rest(lake):
    before = lake.snapshot()
    commit(lake, instructions=[instruction("there")])
    late = Batch("a.b", "f", {}, [attempt("k-there", id="late")])
    assert lake.ledger.append_batches([late], run_id="run-2", since=before) == 0, "it came in between"
    assert lake.ledger.append_batches([late], run_id="run-2", since=lake.snapshot()) == 1, "nothing else was read"


def test_the_second_of_two_runs_over_the_same_work_is_dropped_with_its_records(lake):
    commit(lake, instructions=[instruction("mine", key="k")])
    late = [attempt("k", id="late-0", state="unparsed", final=False), attempt("k", id="late-1", try_number=1)]
    other = instruction("theirs", key="k", attempt_id="late-1")
    assert lake.ledger.append({"instructions": [other]}, late, run_id="run-2", step="s", fingerprint="f") == 0
    assert [row["id"] for row in lake.rows("SELECT id FROM instructions")] == ["mine"]
    assert counts(lake, "attempts") == [1]


def test_one_batch_finishes_a_work_key_once(lake):
    twice = [attempt("k", id="a"), attempt("k", id="b")]
    rows = [instruction("first", key="k", attempt_id="a"), instruction("second", key="k", attempt_id="b")]
    assert lake.ledger.append({"instructions": rows}, twice, run_id="r", step="s", fingerprint="f") == 1
    assert [row["id"] for row in lake.rows("SELECT id FROM instructions")] == ["first"]


def test_work_that_a_dead_engine_left_is_pending_and_lands_when_asked_again(lake):
    down = attempt("k", id="down", state="failed", reason="engine down", final=False)
    assert commit(lake, attempts=[down]) == 1
    assert lake.ledger.unfinished(["k"]) == {"k"}
    assert lake.ledger.append(
        {"instructions": [instruction("i", key="k", attempt_id="up")]},
        [attempt("k", id="up")],
        run_id="run-2",
        step="s",
        fingerprint="f",
    ) == 1  # fmt: skip
    assert lake.ledger.unfinished(["k"]) == set()
    assert counts(lake, "attempts", "instructions") == [2, 1]


def test_an_answer_under_the_id_of_a_call_that_is_not_final_is_refused_and_not_lost_in_silence(lake):
    commit(lake, attempts=[attempt("k", state="failed", final=False)])
    with pytest.raises(LakeUsageError, match="give each call its own id"):
        commit(lake, attempts=[attempt("k")])


def test_pending_is_what_has_no_final_attempt(lake):
    calls = [attempt("done"), attempt("bad", state="rejected"), attempt("later", state="failed", final=False)]
    commit(lake, attempts=calls)
    assert lake.ledger.unfinished(["done", "bad", "later", "new", "new"]) == {"later", "new"}
    assert lake.ledger.unfinished([]) == set()


def test_records_of_work_keys_come_in_order_and_whole(lake):
    rows = [response("r2", "i1", key="k1"), response("r1", "i1", key="k1"), response("r0", "i2", key="k2", rules=["a"])]
    commit(lake, responses=rows)
    found = lake.ledger.records("responses", ["k2", "k1", "nothing"])
    assert [row["id"] for row in found] == ["r1", "r2", "r0"]
    assert found[2]["rules"] == ["a"]
    assert found[0]["thought"] is None
    assert found[0]["created_at"] == rows[0]["created_at"]
    assert found[0]["parents"] == ["i1"]
    with pytest.raises(LakeUsageError, match=r"attempts.*instructions, .*responses"):
        lake.ledger.records("attempts", ["k1"])


def test_seeds_need_no_attempt_and_land_once(lake):
    seed = instruction("s1", attempt_id=None, origin="seed")
    assert commit(lake, instructions=[seed, seed]) == 0
    before = snapshots(lake)
    assert commit(lake, instructions=[seed]) == 0
    assert counts(lake, "instructions", "commits") == [1, 1]
    assert snapshots(lake) == before


def test_two_seeds_are_two_commits_each_with_an_id_of_its_own(lake):
    """Its id shows whether a commit whose reply was lost succeeded."""
    for name in ("s1", "s2"):
        commit(lake, instructions=[instruction(name, attempt_id=None, origin="seed")])
    assert lake.rows("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM commits") == [{"n": 2, "ids": 2}]


def test_two_works_under_the_id_of_one_call_are_one_call(lake):
    """An id says which call it was: of two under the same, the second was never made."""
    assert commit(lake, attempts=[attempt("k1", id="one"), attempt("k2", id="one", final=False)]) == 1
    assert lake.rows("SELECT work_key FROM attempts") == [{"work_key": "k1"}]


def test_a_commit_of_records_alone_says_how_many(lake):
    commit(lake, instructions=[instruction(name, attempt_id=None, origin="seed") for name in ("s1", "s2")])
    newest = lake.rows("SELECT * FROM ducklake_snapshots('lake') ORDER BY snapshot_id DESC LIMIT 1")[0]
    assert newest["commit_message"] == "test.step: 2 records"


def test_what_a_row_says_of_its_time_stays(lake):
    row = {"id": "r", "state": "started", "flow": "refresh", "created_at": START}
    lake.ledger.write("runs", [row], run_id="other", message="a run")
    assert lake.rows("SELECT created_at FROM runs") == [{"created_at": START}]


def test_of_a_call_that_is_not_final_and_comes_twice_one_lands(lake):
    down = attempt("k", id="down", state="failed", final=False)
    assert commit(lake, attempts=[down, down]) == 1
    assert commit(lake, attempts=[down, attempt("k", id="up")]) == 1
    assert [row["id"] for row in lake.rows("SELECT id FROM attempts ORDER BY id")] == ["down", "up"]


def test_a_reply_that_was_read_again_is_that_of_the_call_that_was_answered(lake):
    """However often: a third reading must name the first call and not the second."""
    call = {"request_key": "q", "raw_text": "so", "finish_reason": "stop"}
    silent = {"request_key": "r", "finish_reason": None}
    refused = [attempt("k0", id="refused", raw_text=None, **silent), attempt("k9", id="torn", raw_text="so", **silent)]
    commit(lake, attempts=[attempt("k1", id="sent", **call), *refused])
    for number in (2, 3):
        again = {"replayed_from": "sent", "created_at": START - timedelta(days=number)}
        commit(lake, attempts=[attempt(f"k{number}", id=f"a-read-{number}", **call, **again)])
    found = lake.ledger.cached_replies(["q", "r", "nothing"])
    assert {key: row["id"] for key, row in found.items()} == {("q", 0): "sent"}
    assert found["q", 0]["raw_text"] == "so"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colour": "red"}, r"instructions: got the column\(s\) \['colour'\], expected some of"),
        ({"text": 5}, r"instructions\.text: got 5 \(int\), expected VARCHAR"),
        ({"text": None}, r"instructions\.text: got null, expected VARCHAR"),
        ({"parents": "abc"}, r"instructions\.parents: got 'abc' \(str\), expected VARCHAR\[\]"),
        ({"parents": [1]}, r"instructions\.parents: .*expected VARCHAR\[\]"),
        ({"similarity": "high"}, r"instructions\.similarity: got 'high'"),
        ({"attempt_id": "elsewhere"}, "names the attempt elsewhere, which is not in its batch"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_table_and_column(unwritten, fields, message):
    row = instruction("i1") | fields
    with pytest.raises(LakeUsageError, match=message):
        unwritten.ledger.append({"instructions": [row]}, [attempt("k-i1")], run_id="r", step="s", fingerprint="f")
    assert counts(unwritten, "instructions", "attempts", "commits") == [0, 0, 0]


@pytest.mark.parametrize("fields", [{"seed": 1.5}, {"try_number": True}, {"try_number": 2**40}, {"final": 1}])
def test_no_number_is_cut_to_fit(unwritten, fields):
    with pytest.raises(LakeUsageError, match=rf"attempts\.{next(iter(fields))}: "):
        commit(unwritten, attempts=[attempt("k") | fields])


def test_only_record_tables_are_appended_to(unwritten):
    with pytest.raises(LakeUsageError, match="'runs' is no record table"):
        unwritten.ledger.append({"runs": [{"id": "r"}]}, [], run_id="r", step="s", fingerprint="f")


def test_write_keeps_a_log_of_runs_and_each_prompt_once(lake):
    for state in ("started", "finished"):
        lake.ledger.write(
            "runs", [{"id": "r", "state": state, "flow": "refresh"}], run_id="r", message=f"run r {state}"
        )
    assert [row["state"] for row in lake.rows("SELECT state FROM runs ORDER BY created_at")] == ["started", "finished"]
    words = [{"hash": "h1", "id": "p", "source": "x"}, {"hash": "h1", "id": "p", "source": "x"}]
    lake.ledger.write("prompts", words, run_id="r", message="prompts")
    before = snapshots(lake)
    lake.ledger.write("prompts", words, run_id="r", message="prompts")
    assert snapshots(lake) == before
    lake.ledger.write("prompts", [*words, {"hash": "h2", "id": "p", "source": "y"}], run_id="r", message="prompts")
    assert [row["hash"] for row in lake.rows("SELECT hash FROM prompts ORDER BY hash")] == ["h1", "h2"]
    with pytest.raises(LakeUsageError, match="'attempts' is not written row by row"):
        lake.ledger.write("attempts", [attempt("k")], run_id="r", message="no")


def test_rows_of_several_tables_are_one_commit_or_none(lake):
    words, run = [{"hash": "h", "id": "p", "source": "x"}], [{"id": "r", "state": "started", "flow": "refresh"}]
    before = snapshots(lake)
    for _ in range(2):
        lake.ledger.write_tables({"prompts": words, "runs": run}, run_id="r", message="refresh: started")
    assert len(snapshots(lake)) == len(before) + 2
    rows = lake.rows(
        "SELECT commit_extra_info AS info FROM ducklake_snapshots('lake') ORDER BY snapshot_id DESC LIMIT 2"
    )
    assert [json.loads(row["info"])["table"] for row in rows] == ["runs", "prompts, runs"], (
        "what was there is not named"
    )
    with pytest.raises(LakeUsageError, match=r"prompts\.source: got null"):
        lake.ledger.write_tables({"runs": run, "prompts": [{"hash": "h3", "id": "p"}]}, run_id="r", message="no")
    counts = "SELECT (SELECT count(*) FROM prompts) AS prompts, (SELECT count(*) FROM runs) AS runs"
    assert lake.rows(counts) == [{"prompts": 1, "runs": 2}]


class Lossy:
    """A cursor whose COMMIT returns an error: after it succeeded, or instead of succeeding."""

    def __init__(self, cursor, lands):
        self.cursor, self.lands = cursor, lands

    def __getattr__(self, name):
        return getattr(self.cursor, name)

    def execute(self, query, *params):
        if query != "COMMIT":
            return self.cursor.execute(query, *params)
        self.cursor.execute("COMMIT" if self.lands else "ROLLBACK")
        raise duckdb.IOException("the answer was lost")


@pytest.mark.parametrize("lands", [True, False])
def test_an_error_at_commit_is_settled_by_the_ledger(lake, monkeypatch, lands):
    plain = Lake.cursor
    run = [{"id": "r", "state": "started", "flow": "f"}]
    # The same was written before: that one must not be taken for the one whose answer is lost.
    lake.ledger.write("runs", run, run_id="r", message="run")
    commit(lake, instructions=[instruction("s0", attempt_id=None, origin="seed")])

    @contextmanager
    def lossy(self):
        with plain(self) as cursor:
            yield Lossy(cursor, lands)

    monkeypatch.setattr(Lake, "cursor", lossy)
    if lands:
        assert commit(lake, instructions=[instruction("i1")]) == 1
        lake.ledger.write("runs", run, run_id="r", message="run")
    else:
        lost = r"nothing was committed: .*the answer was lost"
        with pytest.raises(LakeFailure, match=lost):
            commit(lake, instructions=[instruction("i1")])
        with pytest.raises(LakeFailure, match=lost):
            commit(lake, instructions=[instruction("s1", attempt_id=None, origin="seed")])
        with pytest.raises(LakeFailure, match=lost):
            lake.ledger.write("runs", run, run_id="r", message="run")
    monkeypatch.undo()
    assert counts(lake, "instructions", "runs") == ([2, 2] if lands else [1, 1])
    assert commit(lake, instructions=[instruction("i1")]) == (0 if lands else 1)


def test_several_steps_land_in_one_snapshot_with_a_ledger_row_each(lake):
    before = lake.snapshot()
    first = Batch("respond.answer", "f", {"responses": [response("r1", "i1", key="k1")]}, [attempt("k1")])
    second = Batch(
        "aligner.correct",
        "g",
        {"corrections": [correction("c1", "i1", "r1", "better", key="k2")]},
        [attempt("k2", step="aligner.correct", fingerprint="g")],
    )
    assert lake.ledger.append_batches([first, second], run_id="run-1") == 2
    assert lake.snapshot() == before + 1
    assert lake.rows("SELECT step, fingerprint, attempts, records FROM commits ORDER BY step") == [
        {"step": "aligner.correct", "fingerprint": "g", "attempts": 1, "records": 1},
        {"step": "respond.answer", "fingerprint": "f", "attempts": 1, "records": 1},
    ]
    newest = lake.rows("SELECT * FROM ducklake_snapshots('lake') ORDER BY snapshot_id DESC LIMIT 1")[0]
    assert newest["commit_message"] == "aligner.correct, respond.answer: 2 attempts"
    assert json.loads(newest["commit_extra_info"]) == {"run": "run-1", "step": "aligner.correct, respond.answer"}
    files = lake.rows("SELECT count(*) AS n FROM ducklake_list_files('lake', 'attempts')")
    assert files == [{"n": 1}], "the calls of all steps are one file"


def test_of_several_steps_only_what_is_new_lands(lake):
    there = Batch("respond.answer", "f", {"responses": [response("r1", "i1", key="k1")]}, [attempt("k1")])
    new = Batch("respond.answer", "g", {"responses": [response("r2", "i1", key="k2")]}, [attempt("k2")])
    lake.ledger.append_batches([there], run_id="run-1")
    assert lake.ledger.append_batches([there, new], run_id="run-2") == 1
    assert lake.ledger.append_batches([there, new], run_id="run-3") == 0
    assert [row["id"] for row in lake.rows("SELECT id FROM responses ORDER BY id")] == ["r1", "r2"]
    assert lake.rows("SELECT count(*) AS n FROM commits") == [{"n": 2}]
    assert lake.ledger.cache_summary() == ({"f", "g"}, {("p1", "model-a")})

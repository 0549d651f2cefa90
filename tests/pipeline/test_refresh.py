"""The line on a real lake, without Prefect: what is sent, what is saved, what is remembered."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from works import ACCEPT, PRINCIPLES, Works, speak, write_principles

from alignery.config.preset import SHIPPED, load
from alignery.pipeline.executor import ChunkWork
from alignery.pipeline.refresh import RefreshPipeline, held_out_of
from prompts import Message
from tasks.budget import Budget
from tasks.engines import EngineDown, RequestRefused, Sampling, ScriptedEngine
from tasks.evaluate.held_out import HeldOutError
from tasks.methods.constitutional.method import draw
from tasks.methods.rate.method import Config as Rate

ROUNDS = 2
CHAIN = 3 + 2 * ROUNDS  # requests an instruction: answer, correction, principled answer, and the rounds


def test_every_request_is_a_row_and_every_row_is_there_once(works: Works) -> None:
    asyncio.run(works.walk())
    attempts = works.rows("SELECT count(*) n, count(DISTINCT id) d, count(DISTINCT work_key) k FROM attempts")[0]
    assert attempts["n"] == attempts["d"] == attempts["k"] == len(works.engine.calls)
    assert works.asked("self_instruct/generate") == ACCEPT / 3, "no round is asked that is not needed"
    assert works.asked("respond/answer") == ACCEPT
    assert works.asked("constitutional/revision") == ACCEPT * ROUNDS
    for table, expected in {"responses": 2 * ACCEPT, "critiques": 2 * ACCEPT, "revisions": 2 * ACCEPT,
                            "corrections": ACCEPT}.items():  # fmt: skip
        assert works.rows(f"SELECT count(*) n, count(DISTINCT id) d FROM {table}") == [{"n": expected, "d": expected}]


def test_the_same_again_sends_nothing_and_commits_nothing(works: Works) -> None:
    asyncio.run(works.walk())
    before = works.snapshot()
    line = asyncio.run(works.walk())
    assert works.engine.calls == []
    assert works.snapshot() == before
    assert line.executor.tally.saved == works.rows("SELECT count(*) n FROM attempts")[0]["n"]


def owners(works: Works, line: RefreshPipeline) -> tuple[str, set[str], set[str]]:
    """A principle, and the instructions that draw it in the first round and in the second; some draw it in neither."""
    texts, principles = [row["text"] for row in line.accepted[:ACCEPT]], line.library.principles()
    owner = Counter(draw(principles, text, 1).id for text in texts).most_common(1)[0][0]
    first, second = ({text for text in texts if draw(principles, text, round).id == owner} for round in (1, 2))
    assert 0 < len(first | second) < len(texts), "the draw must leave something untouched for a test to say anything"
    return owner, first, second


def test_an_edited_principle_resends_only_what_it_touches(works: Works) -> None:
    edited, first, second = owners(works, asyncio.run(works.walk()))
    changed = [p | {"critique": "another word"} if p["id"] == edited else p for p in PRINCIPLES]
    write_principles(works.words, changed)
    asyncio.run(works.walk())

    # A row that drew it in round 1 is revised again, and so is what follows; in round 2, only that round.
    assert works.asked("constitutional/critique") == len(first) + len(first | second)
    assert works.asked("constitutional/revision") == len(first) + len(first | second)
    assert len(works.engine.calls) == 2 * (len(first) + len(first | second))


def test_an_edited_revision_request_asks_for_no_critique_that_is_there(works: Works) -> None:
    edited, first, second = owners(works, asyncio.run(works.walk()))
    changed = [p | {"revision": "another word"} if p["id"] == edited else p for p in PRINCIPLES]
    write_principles(works.words, changed)
    asyncio.run(works.walk())
    assert works.asked("constitutional/critique") == len(first)  # of the second round, where the text is a new one
    assert works.asked("constitutional/revision") == len(first) + len(first | second)


def test_an_added_step_is_all_that_is_sent(works: Works) -> None:
    whole = works.preset
    works.preset = works.preset.model_copy(update={"line": whole.line.model_copy(update={"aligner": None})})
    asyncio.run(works.walk())
    works.preset = whole
    asyncio.run(works.walk())
    assert works.asked("aligner/correct") == len(works.engine.calls) == ACCEPT


def test_one_changed_prompt_sends_only_its_own_step_and_what_follows(works: Works) -> None:
    asyncio.run(works.walk())
    path = works.words / "aligner/correct.yaml"
    path.write_text(path.read_text().replace("question:", "the question:"))
    asyncio.run(works.walk())
    assert works.asked("aligner/correct") == len(works.engine.calls) == ACCEPT


def test_a_changed_reading_of_replies_asks_for_none_of_them_again(works: Works) -> None:
    asyncio.run(works.walk())
    line = works.preset.line
    stricter = line.self_align.model_copy(update={"leak_words": 9, "reject_apologies": False})
    works.preset = works.preset.model_copy(update={"line": line.model_copy(update={"self_align": stricter})})
    again = asyncio.run(works.walk())
    assert works.engine.calls == []
    assert again.executor.tally.sent == 0
    read = works.rows("SELECT r.state, r.raw_text = a.raw_text AS same, r.tokens_out AS out FROM attempts r"
                      " JOIN attempts a ON a.id = r.replayed_from")  # fmt: skip
    assert read == [{"state": "accepted", "same": True, "out": 0}] * ACCEPT


def test_a_raised_target_sends_only_what_is_new(works: Works) -> None:
    asyncio.run(works.walk())
    asyncio.run(works.walk(accept=ACCEPT + 4))
    assert len(works.engine.calls) - works.asked("self_instruct/generate") == 4 * CHAIN


def test_a_spent_budget_ends_it_cleanly_and_the_next_run_goes_on(works: Works) -> None:
    whole = asyncio.run(works.walk())
    everything = len(works.engine.calls)
    shutil.rmtree(works.home)
    sent = 0
    for _ in range(2):
        line = asyncio.run(works.walk(budget=Budget(max_tokens=700), places=2))
        assert line.executor.spent is not None
        assert "of 700 (line.max_tokens)" in line.executor.spent
        spent = works.rows("SELECT sum(tokens_in + tokens_out)::INT AS n FROM attempts"
                           " WHERE run_id = (SELECT max_by(id, rowid) FROM runs)")[0]["n"]  # fmt: skip
        longest = works.rows("SELECT max(tokens_in + tokens_out) AS n FROM attempts")[0]["n"]
        assert 700 <= spent < 700 + 2 * longest, "only what was on its way may go over"
        sent += len(works.engine.calls)
    finished = asyncio.run(works.walk())
    assert finished.executor.spent is None
    assert sent + len(works.engine.calls) == everything
    assert [row["text"] for row in finished.accepted] == [row["text"] for row in whole.accepted]


def test_spent_minutes_end_it_before_anything_is_sent(works: Works) -> None:
    budget = Budget(max_minutes=1, clock=iter([0.0, *[60.0] * 1000]).__next__)
    line = asyncio.run(works.walk(budget=budget))
    assert line.executor.spent == "1.0 minutes of 1 (line.max_minutes)"
    assert works.engine.calls == []


def test_targets_count_accepted_rows_exactly(works: Works) -> None:
    asyncio.run(works.walk(accept=7))
    assert works.asked("respond/answer") == 7


def test_it_stops_short_when_candidates_run_out(works: Works) -> None:
    def repeat(prompt: str | list[Message], sampling: Sampling) -> str:
        text = speak(prompt, sampling)
        return "1. Always the very same words here" if text.startswith("1.") else text

    works.engine = ScriptedEngine(repeat)
    line = asyncio.run(works.walk())
    assert len(line.accepted) == 1
    assert works.asked("respond/answer") == 1
    reasons = works.rows("SELECT DISTINCT reason FROM instructions WHERE state = 'rejected'")
    assert [row["reason"] for row in reasons] == ["near-duplicate: ROUGE-L"]


def test_a_model_that_writes_nothing_is_not_asked_for_ever(works: Works) -> None:
    works.engine = ScriptedEngine(lambda prompt, sampling: " ", down_after=90)
    line = asyncio.run(works.walk())
    assert (len(line.accepted), works.asked("respond/answer")) == (0, 0)
    assert 40 < len(works.engine.calls) <= 60, "each request counts as a candidate of the sixty"


def test_an_unparsed_reply_gets_other_seeds_and_each_try_is_a_row(works: Works) -> None:
    def mumble(prompt: str | list[Message], sampling: Sampling) -> str:
        text = speak(prompt, sampling)
        return "no marker here" if "Answer:" in text else text

    works.engine = ScriptedEngine(mumble)
    works.preset = works.preset.model_copy(update={"line": works.preset.line.model_copy(update={"reject_limit": 1.0})})
    asyncio.run(works.walk())
    tries = works.rows(
        "SELECT count(*) n, count(DISTINCT seed) seeds, bool_and(state = 'unparsed') unparsed, "
        "count(*) FILTER (final) finals FROM attempts WHERE step = 'self_align.answer' GROUP BY work_key"
    )
    assert tries == [{"n": 3, "seeds": 3, "unparsed": True, "finals": 1}] * ACCEPT
    asyncio.run(works.walk())
    assert works.engine.calls == [], "what was given up is not asked again"


def test_a_refused_request_fails_its_own_row_only(works: Works) -> None:
    def refuse_one(prompt: str | list[Message], sampling: Sampling) -> str | Exception:
        refused = prompt[0]["content"].startswith("respond/answer") and sampling.seed % 3 == 0  # type: ignore[index, operator]
        return RequestRefused("400: prompt too long") if refused else speak(prompt, sampling)

    works.engine = ScriptedEngine(refuse_one)
    asyncio.run(works.walk())
    failed = works.rows("SELECT count(*) n FROM attempts WHERE state = 'failed' AND reason = '400: prompt too long'")
    assert 0 < failed[0]["n"] < ACCEPT
    assert works.asked("aligner/correct") == ACCEPT - failed[0]["n"]
    assert works.asked("self_align/answer") == ACCEPT


def test_a_dead_engine_fails_the_run_and_the_next_one_finishes_it(works: Works) -> None:
    works.engine = ScriptedEngine(speak, down_after=30)
    with pytest.raises(EngineDown):
        asyncio.run(works.walk(chunk=4))
    answered = works.rows("SELECT count(*) n FROM attempts WHERE final")[0]["n"]
    assert answered == 30, "what was finished is committed"

    works.engine = ScriptedEngine(speak)
    asyncio.run(works.walk())
    everything = works.rows("SELECT count(*) FILTER (final) n, count(DISTINCT work_key) k FROM attempts")[0]
    assert everything["n"] == everything["k"]
    assert len(works.engine.calls) == everything["n"] - 30


def test_steps_overlap_one_long_answer_holds_up_nobody(works: Works) -> None:
    """While one answer of the first chunk hangs, every other chunk walks to its end."""
    done = asyncio.Event()

    class Slow(ScriptedEngine):
        async def generate(self, prompt, sampling):  # type: ignore[no-untyped-def]
            hangs = prompt[0]["content"].startswith("respond/answer") and not self.hung
            if hangs:
                self.hung = True
                await asyncio.wait_for(done.wait(), timeout=20)
            completion = await super().generate(prompt, sampling)
            asked = Counter(call.prompt[0]["content"].split()[0] for call in self.calls)
            if asked["constitutional/revision"] == (ACCEPT - 4) * ROUNDS:
                done.set()
            return completion

        hung = False

    works.engine = Slow(speak)
    asyncio.run(works.walk(chunk=4))
    assert done.is_set()
    assert works.rows("SELECT count(*) n FROM revisions")[0]["n"] == ACCEPT * ROUNDS


@pytest.mark.flow
def test_an_engine_that_comes_back_rejects_nothing_and_only_the_rest_is_asked_again(works: Works) -> None:
    async def retried(name: str, work: ChunkWork) -> None:
        for _ in range(10):
            try:
                return await work()
            except EngineDown:
                works.engine._down_after = len(works.engine.calls) + 100  # it is back, for a while
        raise AssertionError("retried ten times")

    works.engine = ScriptedEngine(speak, down_after=60)
    asyncio.run(works.walk(chunk=128, accept=128, max_candidates=600, requests_per_round=50, runner=retried))
    counts = works.rows("SELECT count(*) FILTER (final) AS done, count(DISTINCT work_key) AS work FROM attempts")[0]
    assert counts["done"] == counts["work"]
    assert works.rows("SELECT count(*) AS n FROM attempts WHERE NOT final")[0]["n"] > 0, "the engine did go down"
    assert works.rows("SELECT count(*) AS n FROM revisions") == [{"n": 128 * ROUNDS}]


def test_what_an_instruction_was_asked_with_stands_in_its_attempt(works: Works) -> None:
    asyncio.run(works.walk())
    inputs = works.rows("SELECT inputs FROM attempts WHERE step = 'self_instruct.generate'")
    asked = [json.loads(str(row["inputs"])) for row in inputs]
    assert {one["topic"] for one in asked} == {"tea", "rain"}
    assert all(one["exemplars"] for one in asked)
    ids = {str(row["id"]) for row in works.rows("SELECT id FROM prompts")}
    assert {"rule:kind", "principle:p0", "respond/answer"} <= ids


def test_an_accepted_instruction_that_becomes_an_evaluation_prompt_walks_no_further(works: Works) -> None:
    first = asyncio.run(works.walk())
    works.held_out = [str(first.accepted[0]["text"])]
    again = asyncio.run(works.walk())
    assert first.accepted[0]["id"] not in {row["id"] for row in again.accepted}


def rating(works: Works) -> Works:
    line = works.preset.line.model_copy(update={"rate": Rate()})
    return replace(works, preset=works.preset.model_copy(update={"line": line}))


def test_principled_answers_and_last_revisions_are_rated_and_what_has_no_score_is_reported(works: Works) -> None:
    asyncio.run(rating(works).walk())
    assert works.asked("rate/accuracy") == 2 * ACCEPT
    rated = works.rows("SELECT target_id FROM ratings")
    unread = works.rows(
        "SELECT parents FROM rejects WHERE step LIKE 'rate.%' AND reason = 'no score on the first line'"
    )
    assert len(rated) + len(unread) == 2 * ACCEPT
    assert len(unread) > 1 < len(rated)
    targets = {str(row["target_id"]) for row in rated} | {row["parents"][-1] for row in unread}  # type: ignore[index]
    last = (
        f"SELECT id FROM revisions WHERE round = {ROUNDS} UNION ALL SELECT id FROM responses WHERE kind = 'principled'"
    )
    assert targets == {row["id"] for row in works.rows(last)}
    asyncio.run(rating(works).walk())
    assert works.engine.calls == []


def test_ratings_are_added_to_a_lake_that_has_the_rest(works: Works) -> None:
    asyncio.run(works.walk())
    asyncio.run(rating(works).walk())
    assert len(works.engine.calls) == works.asked("rate/accuracy") == 2 * ACCEPT


def test_a_preset_names_evaluation_sets_and_a_wrong_one_is_reported_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SET", "./set.jsonl")
    (tmp_path / "set.jsonl").write_text('{"question": "Do not write this."}\n')
    made = yaml.safe_load((SHIPPED / "nano.yaml").read_text()) | {"evaluate": None}
    made["models"]["generator"] = {"engine": "scripted", "replies": ["unused"]}
    for field, fault in (("question", None), ("prompt", r"set.jsonl: line 1: prompt: got the fields \['question'\]")):
        made["line"]["decontaminate"] = [{"path": "${SET}", "field": field}]
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(made))
        preset = load(str(tmp_path / "mine.yaml"))
        assert preset.recorded()["line"]["decontaminate"][0]["path"] == "${SET}"
        with pytest.raises(HeldOutError, match=fault) if fault else nullcontext():
            preset.check()
            assert held_out_of(preset) == ["Do not write this."]

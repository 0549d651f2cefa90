"""What is finished is remembered: it is not looked up again, and what is remembered is never wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from works import ACCEPT, Works, make, speak

from alignery.pipeline import finished
from alignery.pipeline.cache import CacheHit, ResultCache
from alignery.pipeline.finished import FinishedWork
from prompts import Message
from tasks.budget import Budget
from tasks.engines import Sampling, ScriptedEngine
from tasks.step import Request
from warehouse.ledger import Ledger

CHAIN = 7  # requests an instruction


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of the requests that are looked up, one by one."""
    found: list[str] = []
    real = ResultCache.find

    async def find(lookup: ResultCache, ask: Request) -> CacheHit:
        found.append(ask.step.name)
        return await real(lookup, ask)

    monkeypatch.setattr(ResultCache, "find", find)
    return found


def remembered(works: Works) -> tuple[int, int]:
    """Instructions and rounds."""
    (row,) = works.rows("SELECT (SELECT count(*) FROM finished)::INT AS i, (SELECT count(*) FROM rounds)::INT AS r")
    return row["i"], row["r"]  # type: ignore[return-value]


def test_what_is_finished_is_looked_up_by_nobody(works: Works, looked_up: list[str]) -> None:
    def refuse(prompt: str | list[Message], sampling: Sampling) -> str:
        text = speak(prompt, sampling)
        return "no marker here" if "Answer:" in text and sampling.seed and sampling.seed % 2 else text

    works.engine = ScriptedEngine(refuse)
    first = asyncio.run(works.walk())
    assert remembered(works)[0] == ACCEPT, "those whose answers were rejected are finished, too"
    looked_up.clear()
    again = asyncio.run(works.walk())
    assert looked_up == []
    assert again.reached == ACCEPT
    assert again.executor.tally.saved == works.rows("SELECT count(DISTINCT work_key) n FROM attempts")[0]["n"]
    assert again.accepted == first.accepted


def test_a_lake_of_before_is_walked_once_and_then_remembers(
    works: Works, looked_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(FinishedWork, "finish", lambda *args: None)
        before.setattr(FinishedWork, "finish_round", lambda *args: None)
        asyncio.run(works.walk())
    assert remembered(works) == (0, 0)
    asyncio.run(works.walk())
    assert works.engine.calls == []
    assert remembered(works)[0] == ACCEPT
    looked_up.clear()
    before_it = works.snapshot()
    asyncio.run(works.walk())
    assert (looked_up, works.snapshot()) == ([], before_it)


def test_a_raised_target_comes_to_what_a_straight_run_comes_to(works: Works, tmp_path: Path, empty: Path) -> None:
    straight = make(tmp_path / "straight", empty)
    whole = asyncio.run(straight.walk(accept=2 * ACCEPT))
    asyncio.run(works.walk())
    raised = asyncio.run(works.walk(accept=2 * ACCEPT))
    assert raised.accepted == whole.accepted
    assert works.asked("respond/answer") == ACCEPT


def test_of_an_instruction_that_the_run_made_the_lake_is_asked_nothing(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(works.walk())
    keys: list[str] = []
    real = Ledger.unfinished
    monkeypatch.setattr(Ledger, "unfinished", lambda ledger, some: keys.extend(some) or real(ledger, some))
    asyncio.run(works.walk(accept=2 * ACCEPT))
    assert 0 < len(keys) == works.asked("self_instruct/generate")
    assert len(works.engine.calls) == len(keys) + CHAIN * ACCEPT


def test_a_lowered_target_walks_no_more_than_it_says(works: Works, looked_up: list[str]) -> None:
    asyncio.run(works.walk())
    edit(works.words / "aligner/correct.yaml", "question:", "the question:")
    asyncio.run(works.walk(accept=5))
    assert works.asked("aligner/correct") == len(works.engine.calls) == 5


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_an_edit_walks_everything_once_and_is_then_remembered_as_well(works: Works, looked_up: list[str]) -> None:
    asyncio.run(works.walk())
    edit(works.words / "aligner/correct.yaml", "question:", "the question:")
    looked_up.clear()
    asyncio.run(works.walk())
    assert looked_up.count("respond.answer") == works.asked("aligner/correct") == len(works.engine.calls) == ACCEPT
    assert remembered(works)[0] == 2 * ACCEPT
    edit(works.words / "aligner/correct.yaml", "the question:", "question:")
    looked_up.clear()
    asyncio.run(works.walk())
    assert looked_up == [], "it was finished under the earlier prompts"


def test_what_a_budget_cut_off_is_not_finished(works: Works) -> None:
    line = works.preset.line.model_copy(update={"rows_in_flight": 2})
    works.preset = works.preset.model_copy(update={"line": line})
    asyncio.run(works.walk(chunk=1, budget=Budget(max_tokens=1200), places=2))
    cut, _ = remembered(works)
    assert 0 < cut < ACCEPT
    done = works.rows("SELECT count(*)::INT n FROM (SELECT f.instruction_id FROM finished f JOIN attempts a"
                      " ON list_contains(a.parents, f.instruction_id) GROUP BY ALL"
                      f" HAVING count(*) < {CHAIN})")  # fmt: skip
    assert done == [{"n": 0}], "nothing is missing of what is finished"
    asyncio.run(works.walk())
    assert remembered(works)[0] == ACCEPT
    assert works.rows("SELECT count(*)::INT n FROM corrections") == [{"n": ACCEPT}]


def of_code(monkeypatch: pytest.MonkeyPatch, works: Works) -> None:
    monkeypatch.setattr(finished, "_code", lambda: "another version")


def of_words(monkeypatch: pytest.MonkeyPatch, works: Works) -> None:
    edit(works.words / "self_align/rules.yaml", "be kind", "be brief")


def of_evaluation(monkeypatch: pytest.MonkeyPatch, works: Works) -> None:
    works.held_out = ["a prompt of the test"]


def of_settings(monkeypatch: pytest.MonkeyPatch, works: Works) -> None:
    line = works.preset.line
    changed = line.self_align.model_copy(update={"leak_words": 9})
    works.preset = works.preset.model_copy(update={"line": line.model_copy(update={"self_align": changed})})


def of_model(monkeypatch: pytest.MonkeyPatch, works: Works) -> None:
    works.engine = ScriptedEngine(speak, identity="another model")


@pytest.mark.parametrize("change", [of_code, of_words, of_evaluation, of_settings, of_model])
def test_whatever_decides_what_is_asked_is_in_both_keys(
    works: Works, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch, Works], None]
) -> None:
    def keys() -> tuple[str, str]:
        walked = asyncio.run(works.walk(budget=Budget(max_tokens=0)))
        assert walked.writing.instructions
        return walked.finished.walk_key, walked.writing.instructions.key

    before = keys()
    assert keys() == before
    change(monkeypatch, works)
    assert all(now != then for now, then in zip(keys(), before, strict=True))

"""A step that rejects too much stops the run: with its reasons, and with all that was answered kept."""

from __future__ import annotations

import asyncio

import pytest
from works import Works, speak

from alignery.pipeline.executor import RejectLimitExceeded
from prompts import Message
from tasks.engines import RequestRefused, Sampling, ScriptedEngine


def test_a_step_that_rejects_too_much_stops_with_its_reasons(works: Works) -> None:
    def keep_silent(prompt: str | list[Message], sampling: Sampling) -> str:
        text = speak(prompt, sampling)
        return "" if text.startswith("answer") else text

    works.engine = ScriptedEngine(keep_silent)
    with pytest.raises(RejectLimitExceeded, match=r"respond.answer: 1\d\d of 1\d\d .* empty reply"):
        asyncio.run(works.walk(chunk=64, accept=128, max_candidates=600, requests_per_round=50))


def test_reasons_that_differ_in_their_numbers_alone_are_reported_as_one(works: Works) -> None:
    def refuse(prompt: str | list[Message], sampling: Sampling) -> str | Exception:
        text, seed = speak(prompt, sampling), sampling.seed or 0
        if not text.startswith("answer"):
            return text
        return RequestRefused(f"prompt too long: {seed} tokens exceed 512" if seed % 4 else "HTTP 400: no")

    works.engine = ScriptedEngine(refuse)
    message = r"\d\d × prompt too long: … tokens exceed …; \d\d × HTTP 400: no\. Samples"
    with pytest.raises(RejectLimitExceeded, match=message):
        asyncio.run(works.walk(chunk=64, accept=128, max_candidates=600, requests_per_round=50))


def test_what_is_answered_is_kept_when_another_step_stops_the_run(works: Works) -> None:
    """The base answers are all empty and stop the stage; meanwhile the principled ones are in mid-flight."""
    received = asyncio.Event()

    class HalfWay(ScriptedEngine):
        principled = heard = 0

        async def generate(self, prompt, sampling):  # type: ignore[no-untyped-def]
            if prompt[0]["content"].startswith("respond/answer"):
                await received.wait()
            if not prompt[0]["content"].startswith("self_align/answer"):
                return await super().generate(prompt, sampling)
            self.principled += 1
            if self.principled > 100:
                await asyncio.Event().wait()  # for ever: only a cancellation ends it
            completion = await super().generate(prompt, sampling)
            self.heard += 1
            if self.heard == 100:
                received.set()
            return completion

    works.engine = HalfWay(lambda prompt, sampling: "" if (t := speak(prompt, sampling)).startswith("answer") else t)
    with pytest.raises(RejectLimitExceeded, match=r"respond\.answer: 100 of 100 rows .* empty reply"):
        asyncio.run(works.walk(chunk=128, accept=128, max_candidates=600, requests_per_round=50))
    kept = works.rows("SELECT count(*) AS n FROM attempts WHERE step = 'self_align.answer' AND state = 'accepted'")
    assert kept == [{"n": 100}]
    assert works.rows("SELECT state, message FROM runs ORDER BY created_at")[-1]["state"] == "failed"

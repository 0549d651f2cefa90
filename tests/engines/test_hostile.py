"""Hostile replies: each costs one row, with a reason that can be read, and never the run, the engine or a column."""

from __future__ import annotations

import asyncio

import pytest
from faulty import spec
from hostile import HOSTILE, Reply, serving

from tasks.engines import Completion, RequestRefused, Sampling, open_engine

LIMITS = {"timeout_s": 0.5, "probe_timeout_s": 20.0, "retries": 1, "max_answer_bytes": 8 << 20, "give_up_after_s": 30.0}
MOST_WORDS = 500  # of a reason: our sentence and an excerpt of theirs


def of(reply: Reply, prompt: str = "hello") -> Completion | BaseException:
    async def main() -> Completion | BaseException:
        limits = LIMITS | {"timeout_s": 5.0 if reply.gives == "completion" else 0.5}
        async with serving(reply) as url, open_engine(spec(url, **limits)) as engine:
            return (await asyncio.gather(engine.generate(prompt, Sampling()), return_exceptions=True))[0]

    return asyncio.run(main())


def test_there_are_many_and_each_has_its_own_name():
    assert len({reply.name for reply in HOSTILE}) == len(HOSTILE) >= 60


@pytest.mark.parametrize("reply", HOSTILE, ids=lambda reply: reply.name)
def test_a_hostile_reply_is_a_sound_completion_or_one_row_refused(reply):
    found = of(reply)
    if reply.gives == "refusal":
        assert isinstance(found, RequestRefused)
        assert len(str(found)) <= MOST_WORDS
        assert str(found).isprintable()
        return
    assert isinstance(found, Completion), found
    assert (found.text, found.finish_reason) == (reply.text, "stop")
    for count in (found.tokens_in, found.tokens_out, found.tokens_cached or 0):
        assert type(count) is int
        assert 0 <= count < 2**31

"""Hostile replies: each costs one row, with a reason that can be read, and never the run, the engine or a column."""

from __future__ import annotations

import asyncio
import json

import pytest
from faulty import spec
from hostile import HOSTILE, Reply, completion, http, serving

from tasks.engines import Completion, RequestRefused, Sampling, open_engine
from tasks.engines.openai.option_probs import log_of, top_of

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


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-some-length-1234")  # so that answers are looked through for it


ENDLESS = {"silence", "a slow drip", "100 Continue without end"}  # each takes as long as the engine waits


@pytest.mark.parametrize(
    "reply",
    [pytest.param(reply, id=reply.name, marks=pytest.mark.flow if reply.name in ENDLESS else ()) for reply in HOSTILE],
)
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


LOGS = [None, True, "-1", "NaN", [], {}, float("nan"), float("inf"), 5.0, 1e300, 10**400]


@pytest.mark.parametrize("log", LOGS, ids=lambda log: repr(log)[:9])
@pytest.mark.parametrize("prompt", ["raw", [{"role": "user", "content": "hi"}]], ids=["text", "chat"])
def test_log_probabilities_that_are_none_are_not_counted_and_replies_are_drawn(log, prompt):
    entries = [{"token": "yes", "logprob": log}, {"token": "no", "logprob": -1.0}]
    found = (
        {"top_logprobs": [{"yes": log, "no": -1.0}]} if prompt == "raw" else {"content": [{"top_logprobs": entries}]}
    )
    choice = completion("yes")["choices"][0] | {"logprobs": found}
    reply = Reply("logprobs", http(json.dumps({"choices": [choice]}).encode()))

    async def main():
        async with serving(reply) as url, open_engine(spec(url, **LIMITS, choose_draws=2)) as engine:
            return await engine.choose(prompt, ["yes", "no"])

    found = asyncio.run(main())
    assert (list(found), found.draws) == ([1.0, 0.0], 2)


def test_a_token_that_is_no_text_is_not_counted_and_no_probability_at_all_counts_as_the_least():
    entries = {"content": [{"top_logprobs": [{"token": 7, "logprob": -1.0}]}]}
    with pytest.raises(TypeError):
        top_of({"choices": [{"logprobs": entries}]})
    assert log_of(float("-inf")) == log_of(-9999) == -9999.0
    assert log_of(-2) == -2.0

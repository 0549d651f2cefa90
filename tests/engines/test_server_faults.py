"""Whose fault it is: rows fail alone, with a reason; a dead server fails none; nothing answered is sent twice."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time

import pytest
from faulty import CHAT, FAULTS, QUESTION, Act, Faulty, ask, error, ok, spec

from tasks.engines import Completion, EngineDown, RequestRefused, Sampling, open_engine


def asked(script, *prompts, **changes):
    """What came of the prompts, and the server that was asked."""

    async def main():
        async with Faulty(script) as server:
            return await ask(server.url, *prompts, **changes), server

    return asyncio.run(main())


def test_3_percent_bad_requests_and_5_percent_429s_cost_nobody_else_anything():
    rows = [f"row {number}" for number in range(1000)]
    bad, put_off = set(rows[7::33]), set(rows[3::20])

    def script(words, number):
        if words in bad:
            return error(400, f"this model cannot read {words}")
        if words in put_off and number == 0:
            return error(429, "slow down", **({"Retry_After": "0.05"} if int(words.split()[1]) % 40 == 3 else {}))
        return ok(f"re {words}", after_s=0.002)

    found, server = asked(script, *rows)
    assert len(bad) == 31
    for words, reply in zip(rows, found, strict=True):
        if words in bad:
            assert isinstance(reply, RequestRefused)
            assert str(reply) == f"the server refuses the request with HTTP 400: this model cannot read {words}"
        else:
            assert reply.text == f"re {words}"
    assert +server.answered == {words: 1 for words in rows if words not in bad}
    assert server.asked == {words: 2 if words in put_off - bad else 1 for words in rows}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_bad_request_is_refused_with_the_servers_words_bounded_and_not_repeated(status):
    words = "context too long " * 100
    script = lambda prompt, number: error(status, words) if prompt == "long" else ok()  # noqa: E731
    (good, bad), server = asked(script, "short", "long")
    assert good.text == "fine"
    assert isinstance(bad, RequestRefused)
    assert f"HTTP {status}: context too long context" in str(bad)
    assert len(str(bad)) < 400
    assert server.asked["long"] == 1


def test_half_a_character_in_a_reply_or_a_refusal_stands_as_the_mark_for_what_is_lost():
    """A lone surrogate is good JSON, and no file or table takes it: it would end the run. A pair is a character."""
    replies = {"half": ok("a\ud83d b"), "whole": ok("a\ud83d\ude00 b"), "refused": error(400, "no \ude00")}
    replies["bytes"] = Act(body=json.dumps(ok("a\ud83d b").body, ensure_ascii=False).encode(errors="surrogatepass"))
    (half, whole, refused, raw), _ = asked(lambda words, number: replies[words], *replies)
    assert (half.text, whole.text, raw.text) == ("a\ufffd b", "a😀 b", "a\ufffd b")
    assert str(refused).endswith("HTTP 400: no \ufffd")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_mended_by_another_try(fault):
    script = lambda words, number: ok() if number or words.startswith(QUESTION) else FAULTS[fault]  # noqa: E731
    found, server = asked(script, *map(str, range(20)), CHAT)
    assert {reply.text for reply in found} == {"fine"}
    assert set(server.rows.values()) == {2}
    assert {server.answered[words] for words in server.rows} <= {1, 2}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("company", [0, 30])
def test_a_poisoned_row_is_refused_alone_or_in_company(fault, company):
    """A run whose last unanswered row always breaks the server must end, and with that row's reason."""
    script = lambda words, number: FAULTS[fault] if words == "poison" else ok(after_s=0.01)  # noqa: E731
    *good, bad = asked(script, *map(str, range(company)), "poison", retries=2, in_flight=4)[0]
    assert all(isinstance(reply, Completion) for reply in good)
    assert isinstance(bad, RequestRefused)
    assert re.search(r"this request failed 3 times, last: \w", str(bad))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_answers_nobody_so_refuses_nobody(fault):
    found, server = asked(lambda words, number: FAULTS[fault], *"abcdef", give_up_after_s=0.5, retries=1)
    assert [type(reply) for reply in found] == [EngineDown] * 6
    assert all(reply.recoverable for reply in found)
    assert f"{server.url} (" in str(found[0])
    assert "answered nothing for 0.5 s (give_up_after_s)" in str(found[0])


def test_a_model_that_dies_under_a_front_that_lives_fails_no_row():
    """Rows in flight were sent before others were answered; only what was answered after their failure counts."""

    async def main():
        def script(words, number):
            if words == "early":
                return ok()
            return Act(500, {"error": "the engine is dead"}, after_s=0.05)

        async with Faulty(script) as server, open_engine(spec(server.url, give_up_after_s=0.5, retries=2)) as engine:
            late = [asyncio.create_task(engine.generate(f"late {n}", Sampling())) for n in range(20)]
            await engine.generate("early", Sampling())
            return await asyncio.gather(*late, return_exceptions=True)

    assert {type(fault) for fault in asyncio.run(main())} == {EngineDown}


@pytest.mark.parametrize("end", ["stall", "drip"])
def test_an_endless_answer_is_cut_off_at_the_stated_limit_tried_once_more_and_refused(end):
    script = lambda words, number: Act(body=b"{", end=end) if words == "endless" else ok()  # noqa: E731
    (good, bad), server = asked(script, "x", "endless", timeout_s=0.2)
    assert good.text == "fine"
    assert isinstance(bad, RequestRefused)
    assert "no whole answer within 0.2 s (see timeout_s)" in str(bad)
    assert server.asked["endless"] == 2


def test_silence_has_a_limit_of_its_own_and_an_answer_a_size():
    script = lambda words, number: Act(end="stall") if words == "mute" else ok("long " * 99)  # noqa: E731
    (mute, long), server = asked(script, "mute", "long", read_timeout_s=0.1, max_answer_bytes=400)
    assert "nothing came for 0.1 s (read_timeout_s)" in str(mute)
    assert str(long) == "the answer is longer than 400 bytes (max_answer_bytes)"
    assert server.asked["long"] == 1


def test_429_waits_as_long_as_the_server_says():
    answers = [error(429, Retry_After="0.3"), ok("now")]
    (reply,), server = asked(lambda words, number: answers[number], CHAT)
    assert reply.text == "now"
    assert server.seen[1][3] - server.seen[0][3] >= 0.3
    assert reply.latency_s < 0.3  # of the try that was answered


def test_a_server_that_asks_for_more_than_our_patience_is_down_and_is_left_alone():
    quota = error(429, "quota exceeded", Retry_After="3600")
    (fault,), server = asked(lambda words, number: quota, "x", give_up_after_s=0.3)
    assert isinstance(fault, EngineDown)
    assert fault.recoverable
    assert "HTTP 429: quota exceeded" in str(fault)
    assert server.asked.total() == 1


def test_429_without_end_is_the_servers_and_for_one_row_alone_the_rows():
    found, _ = asked(lambda words, number: error(429, "busy"), *"abc", give_up_after_s=0.4)
    assert [type(reply) for reply in found] == [EngineDown] * 3

    async def main():
        script = lambda words, number: error(429, "too large for the limit") if words == "huge" else ok()  # noqa: E731
        async with Faulty(script) as server, open_engine(spec(server.url)) as engine:
            huge = asyncio.create_task(engine.generate("huge", Sampling()))
            while not huge.done():
                await engine.generate("x", Sampling())
                await asyncio.sleep(0.01)
            return (await asyncio.gather(huge, return_exceptions=True))[0], server

    fault, server = asyncio.run(main())
    assert isinstance(fault, RequestRefused)
    assert "put this off 20 times, last: HTTP 429: too large" in str(fault)
    assert server.asked["huge"] == 20


def test_a_server_that_is_full_for_long_loses_no_row():
    """Put off more often than a request of its own fault may be; but nobody else was answered meanwhile."""
    full = lambda words, number: error(429, "busy") if number < 25 else ok("now")  # noqa: E731
    (reply,), server = asked(full, "x", longest_pause_s=0.01)
    assert reply.text == "now"
    assert server.asked["x"] == 26


def test_a_server_that_changes_protocol_after_each_request_ends_with_the_row():
    """The probe found a broken connection, and the next one a server that lives: the request was asked for ever."""
    script = lambda words, number: Act(101) if words == "x" else ok()  # noqa: E731
    (fault,), server = asked(script, "x", retries=2)
    assert isinstance(fault, RequestRefused)
    assert server.asked["x"] <= 4


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_a_wrong_address_model_or_key_ends_the_run_at_once_and_refuses_nobody(status):
    began = time.monotonic()
    found, _ = asked(lambda words, number: error(status, "no"), *"abcd", api_key_env="SOME_KEY", give_up_after_s=600)
    assert [type(fault) for fault in found] == [EngineDown] * 4
    assert not found[0].recoverable
    assert f"HTTP {status}: no" in str(found[0])
    assert "check base_url, model and the key in the environment variable SOME_KEY" in str(found[0])
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("status", [403, 404])
def test_one_row_that_is_refused_so_is_refused_alone(status):
    script = lambda words, number: error(status, "flagged") if words == "bad" else ok()  # noqa: E731
    *good, bad = asked(script, *"abcd", "bad")[0]
    assert {reply.text for reply in good} == {"fine"}
    assert isinstance(bad, RequestRefused)
    assert f"HTTP {status}: flagged" in str(bad)
    alone, server = asked(script, "bad")
    assert isinstance(alone[0], RequestRefused)
    assert server.asked["bad"] == 1


def test_nobody_there_is_engine_down_after_the_stated_time():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        began = time.monotonic()
        found = asyncio.run(ask(f"http://127.0.0.1:{free.getsockname()[1]}/v1", *"abc", give_up_after_s=0.4))
    assert [type(fault) for fault in found] == [EngineDown] * 3
    assert "answered nothing for 0.4 s" in str(found[0])
    assert 0.4 <= time.monotonic() - began < 30


def test_a_connection_that_is_never_taken_has_a_limit():
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for one in (first, second):  # the queue is full
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        (fault,) = asyncio.run(ask(url, "x", connect_timeout_s=0.1, give_up_after_s=0.3))
    assert isinstance(fault, EngineDown)
    assert "ConnectionTimeoutError" in str(fault)


def test_a_server_that_is_out_and_back_after_each_doubtful_answer_ends_with_the_row():
    """Its probe fails at first and is answered when it is asked again: nothing else ended that."""
    probes = []

    def script(words, number):
        if words == "x":
            return error(404, "no")
        probes.append(words)
        return error(500, "boom") if len(probes) % 2 else ok()

    (fault,), server = asked(script, "x", retries=2)
    assert isinstance(fault, RequestRefused)
    assert server.asked["x"] <= 4

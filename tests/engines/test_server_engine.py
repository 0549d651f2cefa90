"""The server engine against a real HTTP server: what is sent, what is read, and the ways to choose."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from faulty import CHAT, Act, Faulty, ask, error, ok, spec

from tasks.engines import EngineDown, RequestRefused, Sampling, open_engine
from tasks.engines.openai.http import retry_after


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # must not be used for this host
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def asked(script, *prompts, **changes):
    """What came of the prompts, and the server that was asked."""

    async def main():
        async with Faulty(script) as server:
            return await ask(server.url, *prompts, **changes), server

    return asyncio.run(main())


def test_messages_and_texts_go_to_their_own_paths_with_what_was_set():
    sampling = Sampling(0.7, top_k=5, max_tokens=9, stop=("END",), seed=3)
    script = lambda words, number: ok(" said", "length")  # noqa: E731
    (chat, text), server = asked(script, CHAT, "raw", sampling=sampling, options={"user": "me"})
    assert chat.text == text.text == "said"
    assert (chat.finish_reason, chat.tokens_in, chat.tokens_out) == ("length", 5, 2)
    sent = {path: body for path, body, _, _ in server.seen}
    common = {
        "model": "m",
        "max_tokens": 9,
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": 5,
        "stop": ["END"],
        "seed": 3,
        "user": "me",
    }
    assert sent == {
        "/v1/chat/completions": common | {"messages": CHAT},
        "/v1/completions": common | {"prompt": "raw"},
    }


def test_the_form_of_a_reply_is_asked_as_vllm_names_it():
    for sampling, sent in (
        (Sampling(choices=("Yes", "No")), {"choice": ["Yes", "No"]}),
        (Sampling(pattern="[0-9]+: .*"), {"regex": "[0-9]+: .*"}),
    ):
        _, server = asked(lambda words, number: ok("Yes"), "x", sampling=sampling)
        assert server.seen[0][1]["structured_outputs"] == sent


def test_latency_is_time_on_the_wire_and_not_in_the_queue_before_it():
    async def main():
        async with (
            Faulty(lambda words, number: ok(words)) as server,
            open_engine(spec(server.url, in_flight=2)) as engine,
        ):
            begun = time.perf_counter()
            replies = await asyncio.gather(*(engine.generate(f"{n}", Sampling()) for n in range(60)))
            return replies, time.perf_counter() - begun

    replies, seconds = asyncio.run(main())
    assert sum(reply.latency_s for reply in replies) <= 2 * seconds


def test_the_key_is_sent_but_stands_in_no_identity_and_in_no_error(monkeypatch):
    monkeypatch.setenv("MY_KEY", "s3cret-of-some-length")

    async def main():
        async with Faulty(lambda words, number: error(400, f"no good with s3cret-of-some-length: {words}")) as server:
            async with open_engine(spec(server.url, api_key_env="MY_KEY")) as engine:
                message = await asyncio.gather(engine.generate("x", Sampling()), return_exceptions=True)
            await ask(server.url, "x")
            return engine.identity, server, str(message[0])

    identity, server, message = asyncio.run(main())
    assert identity == f"openai:{server.url}:m"
    assert server.seen[0][2]["Authorization"] == "Bearer s3cret-of-some-length"
    assert "Authorization" not in server.seen[1][2]
    assert "no good with ***: x" in message


def test_a_proxy_from_the_environment_is_used_for_other_hosts(monkeypatch):
    async def main():
        async with Faulty() as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            return await ask("http://model.example/v1", "x"), proxy

    (reply,), proxy = asyncio.run(main())
    assert reply.text == "fine"
    assert {path for path, *_ in proxy.seen} == {
        f"http://model.example/v1/{path}" for path in ("models", "completions")
    }


def test_cached_tokens_are_read_where_the_server_tells_them():
    usage = {"prompt_tokens": 9, "completion_tokens": 1}
    usage = {
        "some": usage | {"prompt_tokens_details": {"cached_tokens": 8}},
        "none": usage | {"prompt_tokens_details": {"cached_tokens": 0}},
        "null": usage | {"prompt_tokens_details": None},
        "silent": usage,
    }
    replies, _ = asked(lambda words, number: ok(usage=usage[words]), *usage)
    assert [reply.tokens_cached for reply in replies] == [8, 0, None, None]
    assert {(reply.tokens_in, reply.tokens_out) for reply in replies} == {(9, 1)}


def test_a_reply_without_usage_or_text_is_still_a_reply():
    replies, _ = asked(lambda words, number: Act(body={"choices": [{"text": None, "finish_reason": "stop"}]}), "x")
    assert (replies[0].text, replies[0].tokens_in, replies[0].tokens_cached) == ("", 0, None)


def test_a_stop_string_that_the_server_left_in_is_cut_off():
    replies, _ = asked(lambda words, number: ok("one END two", "length"), "x", sampling=Sampling(stop=("END",)))
    assert (replies[0].text, replies[0].finish_reason) == ("one ", "stop")


def test_a_reply_ended_by_a_filter_is_refused_and_not_asked_again():
    (fault,), server = asked(lambda words, number: ok("x", "content_filter"), CHAT)
    assert isinstance(fault, RequestRefused)
    assert "content_filter" in str(fault)
    assert server.asked.total() == 1


def test_no_more_than_in_flight_at_once_and_one_connection_for_each():
    replies, server = asked(lambda words, number: ok(after_s=0.005), *["x"] * 60, in_flight=4)
    assert len(replies) == 60
    assert server.most == 4


def test_a_cancelled_request_gives_its_place_back():
    async def main():
        script = lambda words, number: ok(after_s=60 if words == "endless" else 0)  # noqa: E731
        async with Faulty(script) as server, open_engine(spec(server.url, in_flight=1)) as engine:
            endless, queued = (asyncio.create_task(engine.generate("endless", Sampling())) for _ in range(2))
            while not server.now:
                await asyncio.sleep(0.001)
            queued.cancel()
            endless.cancel()
            return await engine.generate("next", Sampling())

    assert asyncio.run(main()).text == "fine"


def test_closing_fails_what_is_under_way_what_waits_and_what_comes_after():
    async def main():
        async with Faulty(lambda words, number: ok(after_s=60)) as server:
            async with open_engine(spec(server.url, in_flight=1)) as engine:
                pending = [asyncio.create_task(engine.generate("x", Sampling())) for _ in range(3)]
                while not server.now:
                    await asyncio.sleep(0.001)
            return await asyncio.gather(*pending, engine.generate("late", Sampling()), return_exceptions=True)

    faults = asyncio.run(main())
    assert [type(fault) for fault in faults] == [EngineDown] * 4
    assert "closed" in str(faults[0])


def test_retry_after_may_be_seconds_or_a_date():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after("7") == 7
    assert retry_after(" 0.5 ") == 0.5
    assert 57 < (retry_after(soon) or 0) <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert [retry_after(header) for header in (None, "soon", "inf", "-3", "")] == [None] * 5


TOP = {" A": math.log(0.3), "A": math.log(0.1), " B": math.log(0.2), " C": math.log(0.3), "n": math.log(0.1)}


def without_models(reply):
    """A server that has no list of models, and so is no vLLM; `reply` answers the rest."""
    return lambda words, number: error(404, "no such path") if words == "/v1/models" else reply(words, number)


def choose(script, prompt, options, **changes):
    async def main():
        async with Faulty(script, owner=None) as server, open_engine(spec(server.url, **changes)) as engine:
            return await engine.choose(prompt, options), await engine.choose(prompt, options), server

    return asyncio.run(main())


@pytest.mark.parametrize("prompt", [CHAT, "raw"])
def test_choose_reads_the_likeliest_tokens_of_both_apis(prompt):
    entries = [{"token": token, "logprob": logprob} for token, logprob in TOP.items()]
    logprobs = {"content": [{"token": " C", "top_logprobs": entries}]} if prompt is CHAT else {"top_logprobs": [TOP]}
    script = without_models(lambda words, number: ok(" C", "length", logprobs=logprobs))
    found, again, server = choose(script, prompt, [" A", " B"])
    assert found == again == pytest.approx([2 / 3, 1 / 3])
    assert found.draws == 0
    assert choose(script, prompt, ["A", "D"])[0] == [1, 0]  # D is less likely than the last that is there
    assert server.rows["hi" if prompt is CHAT else "raw"] == 2


def test_choose_draws_where_no_log_probabilities_tell_and_says_so():
    def reply(words, number):
        body = server_body[0]
        return (
            error(400, "logprobs are not supported") if "logprobs" in body else ok(f" {'yes' if number % 4 else 'no'}.")
        )

    async def main():
        def script(words, number):
            server_body[:] = [server.seen[-1][1]]
            return without_models(reply)(words, number)

        async with Faulty(script, owner=None) as server, open_engine(spec(server.url, choose_draws=8)) as engine:
            return [await engine.choose("raw", ["yes", "no", "never"]) for _ in range(2)], server

    server_body: list[dict] = []
    (first, second), server = asyncio.run(main())
    assert first.draws == second.draws == 8
    assert sum(first) == pytest.approx(1)
    assert first[2] == 0
    assert 0 < first[1] < first[0]
    assert sum("logprobs" in (body or {}) for _, body, _, _ in server.seen) == 1  # it is not asked for them again


def test_an_option_of_several_tokens_is_drawn_for_and_one_that_nobody_says_is_refused():
    script = without_models(lambda words, number: ok(" never", "length", logprobs={"top_logprobs": [TOP]}))
    found, _, _ = choose(script, "raw", [" A", "never"])  # "n" may be the beginning of "never"
    assert (list(found), found.draws) == ([0, 1], 16)
    with pytest.raises(RequestRefused, match=r"none of 16 replies begins with one of \['nobody'"):
        choose(script, "raw", ["nobody", "nix"])

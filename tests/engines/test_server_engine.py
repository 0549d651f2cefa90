"""The server engine against a real HTTP server on this host: patience, refusals, and giving up."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tasks.engines import EngineDown, RequestRefused, Sampling, open_engine
from tasks.engines import server as module

CHAT = [{"role": "user", "content": "hi"}]
Answer = tuple[int, dict[str, Any], dict[str, str]]


class Server:
    """Answers with what `reply` says of each body; remembers bodies, headers, paths and how many came at once."""

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, Any]], Answer] = lambda body: ok("fine")
        self.seen: list[tuple[str, dict[str, Any], dict[str, str], float]] = []
        self.now = self.most = 0
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    outer.seen.append((self.path, body, dict(self.headers.items()), time.monotonic()))
                    outer.now += 1
                    outer.most = max(outer.most, outer.now)
                status, answer, headers = outer.reply(body)
                with lock:
                    outer.now -= 1
                content = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


def ok(text: str, reason: str = "stop", **more: Any) -> Answer:
    choice = {"text": text, "message": {"content": text}, "finish_reason": reason, **more}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}, {}


def error(status: int, message: str = "no", **headers: str) -> Answer:
    return status, {"error": {"message": message}}, headers


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # must not be used for this host
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def ask(url: str, *prompts: Any, sampling: Sampling = Sampling(max_tokens=9), **changes: Any) -> list[Any]:
    """Every prompt at once; what came of each, exceptions included."""

    async def main():
        spec = {"engine": "openai", "base_url": url, "model": "m", "give_up_after_s": 5.0} | changes
        async with open_engine(spec) as engine:
            return await asyncio.gather(*(engine.generate(p, sampling) for p in prompts), return_exceptions=True)

    return asyncio.run(main())


def choose(url: str, prompt: Any, options: list[str]) -> list[float]:
    async def main():
        async with open_engine({"engine": "openai", "base_url": url, "model": "m"}) as engine:
            return await engine.choose(prompt, options)

    return asyncio.run(main())


def test_messages_and_texts_go_to_their_own_paths_with_what_was_set(server):
    server.reply = lambda body: ok(" said", "length")
    sampling = Sampling(0.7, top_k=5, max_tokens=9, stop=("END",), seed=3)
    chat, text = ask(server.url, CHAT, "raw", sampling=sampling, options={"user": "me"})
    assert chat.text == text.text == "said"
    assert (chat.finish_reason, chat.tokens_in, chat.tokens_out) == ("length", 5, 2)
    sent = {path: body for path, body, _, _ in server.seen}
    common = {"model": "m", "max_tokens": 9, "temperature": 0.7, "top_k": 5, "stop": ["END"], "seed": 3, "user": "me"}
    assert sent == {
        "/v1/chat/completions": common | {"messages": CHAT},
        "/v1/completions": common | {"prompt": "raw"},
    }


def test_the_key_is_sent_but_is_no_part_of_the_identity(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "s3cret")

    async def main():
        spec = {"engine": "openai", "base_url": server.url, "model": "m", "api_key_env": "MY_KEY"}
        async with open_engine(spec) as engine:
            await engine.generate("x", Sampling())
            return engine.identity

    assert asyncio.run(main()) == f"openai:{server.url}:m"
    assert server.seen[0][2]["Authorization"] == "Bearer s3cret"
    ask(server.url, "x")
    assert "Authorization" not in server.seen[1][2]


def test_429_waits_as_long_as_the_server_says(server):
    answers = iter([error(429, **{"Retry-After": "0.3"}), ok("now")])
    server.reply = lambda body: next(answers)
    (reply,) = ask(server.url, CHAT)
    assert reply.text == "now"
    assert server.seen[1][3] - server.seen[0][3] >= 0.3
    assert reply.latency_s >= 0.3


def test_500_is_tried_again(server):
    answers = iter([error(500), error(503), ok("third time")])
    server.reply = lambda body: next(answers)
    assert ask(server.url, "x")[0].text == "third time"
    assert len(server.seen) == 3


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_bad_request_is_refused_with_the_servers_words_and_not_repeated(server, status):
    server.reply = lambda body: error(status, "context too long") if body.get("prompt") == "long" else ok("fine")
    good, bad = ask(server.url, "short", "long")
    assert good.text == "fine"
    assert isinstance(bad, RequestRefused)
    assert f"HTTP {status}: context too long" in str(bad)
    assert len(server.seen) == 2


def test_a_wrong_key_stops_the_run_naming_the_variable(server):
    server.reply = lambda body: error(401, "bad key")
    (fault,) = ask(server.url, "x", api_key_env="SOME_KEY")
    assert isinstance(fault, EngineDown)
    assert "SOME_KEY" in str(fault)


def test_a_refused_connection_is_engine_down_after_the_stated_time(server):
    free = Server()
    free.http.server_close()
    began = time.monotonic()
    (fault,) = ask(free.url, "x", give_up_after_s=0.4)
    assert isinstance(fault, EngineDown)
    assert "answered nothing for 0.4 s" in str(fault)
    assert 0.4 <= time.monotonic() - began < 4


def test_one_poisoned_request_among_good_ones_is_refused_not_fatal(server):
    def reply(body):
        time.sleep(0.05)
        return error(500, "boom") if body["prompt"] == "poison" else ok("fine")

    server.reply = reply
    found = ask(server.url, *["good"] * 20, "poison", give_up_after_s=0.3, in_flight=2)
    assert {reply.text for reply in found[:-1]} == {"fine"}

    async def main():
        spec = {"engine": "openai", "base_url": server.url, "model": "m", "give_up_after_s": 0.3}
        async with open_engine(spec) as engine:
            poisoned = asyncio.ensure_future(engine.generate("poison", Sampling()))
            while not poisoned.done():
                await engine.generate("good", Sampling())
            return await asyncio.gather(poisoned, return_exceptions=True)

    (fault,) = asyncio.run(main())
    assert isinstance(fault, RequestRefused)
    assert "boom" in str(fault)


def test_no_more_than_in_flight_at_once(server):
    def reply(body):
        time.sleep(0.02)
        return ok("fine")

    server.reply = reply
    assert len(ask(server.url, *["x"] * 30, in_flight=4)) == 30
    assert 1 < server.most <= 4


@pytest.mark.parametrize("answer", [(200, {"oops": 1}, {}), ok("x", "content_filter"), (200, ["a list"], {})])
def test_a_reply_that_is_no_completion_is_refused(server, answer):
    server.reply = lambda body: answer
    (fault,) = ask(server.url, CHAT)
    assert isinstance(fault, RequestRefused)


def test_choose_reads_log_probabilities_of_both_apis(server):
    top = {" A": math.log(0.3), "A": math.log(0.1), " B": math.log(0.2), " C": math.log(0.4)}
    entries = [{"token": token, "logprob": logprob} for token, logprob in top.items()]

    def reply(body):
        if "prompt" in body:
            return ok(" C", "length", logprobs={"top_logprobs": [top]})
        return ok(" C", "length", logprobs={"content": [{"token": " C", "top_logprobs": entries}]})

    server.reply = reply
    for prompt in (CHAT, "raw"):
        assert choose(server.url, prompt, [" A", " B"]) == pytest.approx([2 / 3, 1 / 3])
    with pytest.raises(RequestRefused, match=r"no log-probabilities for \[' D'\]"):
        choose(server.url, CHAT, [" A", " D"])
    server.reply = lambda body: ok(" C")
    with pytest.raises(RequestRefused, match="no log-probabilities"):
        choose(server.url, CHAT, [" A", " B"])


def test_retry_after_may_be_a_date():
    import httpx

    def pause(told):
        return module._pause(httpx.Response(429, headers={"retry-after": told}), 0)

    assert pause("7") == 7
    assert pause("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert 0.25 <= pause("soon") <= 0.5

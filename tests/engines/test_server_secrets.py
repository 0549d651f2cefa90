"""A server that says the key again, wherever it can, gives it away nowhere: not in a reply, an error or a log."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import traceback
from urllib.parse import quote

import pytest
from faulty import spec
from hostile import Reply, chat, completion, http, serving

from tasks.engines import Completion, Sampling, SpecError, open_engine, parse_spec

KEY = 'gw-7Yq1/z+"Zx-of-a-gateway'
FORMS = (KEY, quote(KEY), quote(KEY, safe=""), json.dumps(KEY)[1:-1], html.escape(KEY))
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY).encode()
LOGS = {"content": [{"token": KEY, "logprob": -0.1, "top_logprobs": [{"token": KEY, "logprob": -0.1}]}]}


def _page(status: str, *headers: str) -> bytes:
    return http(f"<html>the key {KEY} {' '.join(FORMS)}</html>".encode(), status, *headers)


ECHOES = {
    "content": chat(f"Your key is {KEY}."),
    "content, escaped": http(json.dumps(completion("@")).encode().replace(b"@", ESCAPED)),
    "parts": chat([{"type": "text", "text": KEY}]),
    "finish_reason": chat(finish=KEY),
    "finish_reason, no text": chat("", finish=KEY),
    "model and id": chat(model=KEY, id=KEY, system_fingerprint=KEY),
    "usage": chat(usage={KEY: KEY, "prompt_tokens": KEY}),
    "wrong shape": http(json.dumps({KEY: {KEY: [KEY]}}).encode()),
    "error with status 200": http(json.dumps({"error": {"message": f"key Bearer {KEY}", "type": KEY}}).encode()),
    "400": http(json.dumps({"error": {"message": f"no key {KEY}"}}).encode(), "400 Bad Request"),
    "400, escaped": http(b'{"error": "' + ESCAPED + b'"}', "400 Bad Request"),
    "400, escaped and cut": http(b'{"error": "' + ESCAPED, "400 Bad Request"),
    "400 as a page": _page("400 Bad Request"),
    "401": _page("401 Unauthorized", f"WWW-Authenticate: Bearer {KEY}"),
    "429": _page("429 Too Many", f"Retry-After: {KEY}", f"x-request-id: {KEY}"),
    "500": _page("500 Oops", f"Retry-After: {KEY}"),
    "redirect": _page("302 Found", f"Location: http://127.0.0.1:9/{quote(KEY)}"),
    "reason phrase": _page(f"500 {KEY}"),
    "no JSON": http(f"oh {KEY}".encode()),
    "no header": http(b"{}", "200 OK", KEY),
    "no status line": f"{KEY}\r\n\r\n".encode(),
    "wrong length": http(b"{}", length=KEY),
    "an encoding": http(b"{}", "200 OK", f"Content-Encoding: {KEY}"),
    "a chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + KEY.encode() + b"\r\n",
    "logprobs": http(json.dumps({"choices": [completion()["choices"][0] | {"logprobs": LOGS}]}).encode()),
}


def printed(found: object) -> str:
    """All that a traceback would print of it, causes and contexts included, whether they are shown or not."""
    text, error = repr(found), found
    while isinstance(error, BaseException):
        text += "".join(traceback.format_exception(error)) + repr(vars(error))
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.parametrize("name", ECHOES)
def test_a_key_that_a_server_says_again_stands_nowhere(name, monkeypatch, caplog, capfd):
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    limits = {"api_key_env": "MY_KEY", "retries": 1, "timeout_s": 5.0, "choose_draws": 2, "give_up_after_s": 1.0}

    async def main():
        async with serving(Reply(name, ECHOES[name])) as url, open_engine(spec(url, **limits)) as engine:
            asks = [engine.generate("x", Sampling()), engine.choose("x", ["Your", "My"])]
            return await asyncio.gather(*asks, return_exceptions=True)

    found = asyncio.run(main())
    everything = "".join([*map(printed, found), caplog.text, *capfd.readouterr()])
    assert not [form for form in (*FORMS, ESCAPED.decode(), "7Yq1") if form in everything]
    if name == "content":
        assert isinstance(found[0], Completion)
        assert found[0].text == "Your key is ***."


def test_a_password_in_a_base_url_is_refused_and_not_said_again():
    password = "-".join(["open", "sesame"])  # a traceback shows this file's lines too
    with pytest.raises(SpecError, match="without user, password") as caught:
        parse_spec({"engine": "openai", "base_url": f"http://me:{password}@one/v1", "model": "m"}, "presets/x.yaml")
    assert password not in printed(caught.value)


def test_a_key_that_no_header_can_hold_is_named_by_its_variable_alone(monkeypatch):
    async def main():
        async with open_engine(spec("http://127.0.0.1:9/v1", api_key_env="MY_KEY")):
            raise AssertionError("opened")

    for key in ("a-long-key\r\nX-More: 1", "sch\u00f6ner-schl\u00fcssel"):
        monkeypatch.setenv("MY_KEY", key)
        with pytest.raises(SpecError, match="environment variable MY_KEY") as caught:
            asyncio.run(main())
        assert key.split()[0] not in str(caught.value)

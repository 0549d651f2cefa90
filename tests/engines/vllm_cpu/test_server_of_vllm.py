"""The server engine against a real vLLM server that serves nano: alike the engine in process, and exact choices."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tasks.engines import RequestRefused, Sampling, open_engine

pytestmark = pytest.mark.engine

NANO = Path(__file__).parents[3] / "nano/checkpoint"
CHAT = [{"role": "user", "content": "Tell me of the rain."}]
PATTERN = r"[0-9]{1,2}: [^\n]{5,20}"
OPTIONS = [[" A", " B"], ["A", "nobody at all", "never"]]


@pytest.fixture(scope="module")
def url(with_defaults, tmp_path_factory):
    """A server whose model's generation_config.json says to draw otherwise: vLLM fills with it what is not sent."""
    model = with_defaults(NANO, tmp_path_factory.mktemp("model") / "nano")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--model", str(model), "--served-model-name", "nano", "--host", "127.0.0.1", "--port", str(port)]
    arguments += [
        "--enforce-eager",
        "--no-enable-chunked-prefill",
        "--dtype",
        "float32",
        "--enable-prompt-tokens-details",
    ]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    log = tmp_path_factory.mktemp("vllm") / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments],
            env=os.environ | quiet,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    until = time.monotonic() + 300
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            break
        except urllib.error.URLError:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < until, log.read_text()[-2000:]
            time.sleep(0.5)
    yield f"http://127.0.0.1:{port}/v1"
    server.terminate()
    server.wait(60)


def ask(url, work):
    async def main():
        async with open_engine({"engine": "openai", "base_url": url, "model": "nano"}) as engine:
            return await work(engine)

    return asyncio.run(main())


def in_process(work):
    async def main():
        async with open_engine({"engine": "transformers", "model": str(NANO), "threads": 1}) as engine:
            return await work(engine)

    return asyncio.run(main())


def test_greedy_replies_are_the_embedded_engines(url):
    async def work(engine):
        prompts = [f"Human: Say something of {thing}.\nAssistant:" for thing in ("tea", "rain", "a red cup")]
        return await asyncio.gather(*(engine.generate(prompt, Sampling(max_tokens=24)) for prompt in [*prompts, CHAT]))

    for ours, theirs in zip(ask(url, work), in_process(work), strict=True):
        assert (ours.text, ours.tokens_in, ours.finish_reason) == (theirs.text, theirs.tokens_in, theirs.finish_reason)


def test_a_seed_draws_the_same_alone_and_among_others_and_the_prompt_is_cached(url):
    prompt = "Human: " + "Say something of tea and rain. " * 20 + "\nAssistant:"

    async def work(engine):
        alone = await engine.generate(prompt, Sampling(0.9, max_tokens=16, seed=5))
        crowd = [engine.generate(prompt, Sampling(0.9, max_tokens=16, seed=seed)) for seed in range(40)]
        return alone, await asyncio.gather(*crowd)

    alone, crowd = ask(url, work)
    assert crowd[5].text == alone.text
    assert len({reply.text for reply in crowd}) > 20
    assert crowd[5].tokens_cached > 0.5 * crowd[5].tokens_in > 0


def test_replies_are_held_to_a_choice_and_to_a_pattern(url):
    async def work(engine):
        forms = [{"choices": ("Yes", "No")}, {"pattern": PATTERN}]
        asked = [Sampling(1.0, max_tokens=48, seed=seed, **form) for form in forms for seed in range(16)]
        replies = await asyncio.gather(*(engine.generate(CHAT, sampling) for sampling in asked))
        return [reply.text for reply in replies[:16]], [reply.text for reply in replies[16:]]

    chosen, numbered = ask(url, work)
    assert set(chosen) == {"Yes", "No"}
    assert [text for text in numbered if not re.fullmatch(PATTERN, text)] == []


@pytest.mark.parametrize("prompt", ["Which is it?", CHAT])
@pytest.mark.parametrize("options", OPTIONS)
def test_choices_are_exact_for_one_token_and_for_several(url, prompt, options):
    async def work(engine):
        return await engine.choose(prompt, options)

    found = ask(url, work)
    assert found.draws == 0
    assert found == pytest.approx(in_process(work), rel=1e-3)


def test_a_prompt_too_long_is_refused_alone_in_vllms_words(url):
    async def work(engine):
        asks = [engine.generate(text, Sampling(max_tokens=4)) for text in ("short", "far too long " * 2000)]
        return await asyncio.gather(*asks, return_exceptions=True)

    short, long = ask(url, work)
    assert short.tokens_out > 0
    assert isinstance(long, RequestRefused)
    assert "HTTP 400" in str(long)
    assert "1024" in str(long)


def test_a_model_that_the_server_does_not_have_ends_the_run_with_its_words(url):
    async def main():
        async with open_engine({"engine": "openai", "base_url": url, "model": "another"}) as engine:
            return await asyncio.gather(engine.generate("x", Sampling()), return_exceptions=True)

    (fault,) = asyncio.run(main())
    assert "HTTP 404" in str(fault)
    assert "check base_url, model" in str(fault)

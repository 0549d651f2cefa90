"""The real vLLM in this process, against transformers in float32. Half a minute of start-up, once for the file."""

from __future__ import annotations

import asyncio

import pytest

from tasks.engines import EngineDown, RequestRefused, Sampling, open_engine, parse_spec
from tasks.engines.vllm import _arguments

pytestmark = pytest.mark.engine
PROMPTS = ["hello there", "a", "some more words to read", [{"role": "user", "content": "hi"}]]
OPTIONS = (["A", "B"], ["yes", "no", "never"])


@pytest.fixture(scope="module")
def answers(tiny):
    """What both engines said to the same requests, by engine and request."""

    async def ask(engine):
        greedy = await asyncio.gather(*(engine.generate(prompt, Sampling(max_tokens=24)) for prompt in PROMPTS))
        stop = greedy[0].text[8:10]
        seeded = [Sampling(0.9, top_p=0.9, top_k=40, max_tokens=24, seed=seed) for seed in [*range(40), 0]]
        return {
            "greedy": greedy,
            "stop": (stop, await engine.generate(PROMPTS[0], Sampling(max_tokens=24, stop=(stop,)))),
            "seeded": await asyncio.gather(*(engine.generate("x" * 30, sampling) for sampling in seeded)),
            "choices": [await engine.choose("which:", options) for options in OPTIONS],
            "refused": await asyncio.gather(
                engine.generate("x" * 250, Sampling(max_tokens=20)),
                engine.generate("x", Sampling(presence_penalty=9.0, max_tokens=2)),
                return_exceptions=True,
            ),
        }

    async def main():
        found = {}
        for name, more in (("transformers", {"threads": 1}), ("vllm", {"dtype": "float32"})):
            async with open_engine({"engine": name, "model": str(tiny), **more}) as engine:
                found[name] = await ask(engine)
        closed = await asyncio.gather(engine.generate("x", Sampling(max_tokens=2)), return_exceptions=True)
        return found | {"closed": closed}

    return asyncio.run(main())


def test_greedy_texts_and_counts_are_the_same(answers):
    for ours, theirs in zip(answers["transformers"]["greedy"], answers["vllm"]["greedy"], strict=True):
        assert (ours.text, ours.tokens_in, ours.tokens_out, ours.finish_reason) == (
            theirs.text,
            theirs.tokens_in,
            theirs.tokens_out,
            theirs.finish_reason,
        )


def test_stop_strings_cut_alike(answers):
    (_, ours), (stop, theirs) = answers["transformers"]["stop"], answers["vllm"]["stop"]
    assert (ours.text, ours.finish_reason) == (theirs.text, theirs.finish_reason)
    assert theirs.finish_reason == "stop"
    assert stop not in theirs.text


def test_seeded_sampling_leaves_the_engine_alive_and_repeats(answers):
    texts = [reply.text for reply in answers["vllm"]["seeded"]]
    assert texts[0] == texts[-1]
    assert len(set(texts)) == 40


def test_choices_agree_for_one_token_and_for_several(answers):
    for ours, theirs in zip(answers["transformers"]["choices"], answers["vllm"]["choices"], strict=True):
        assert theirs == pytest.approx(ours, rel=1e-3)
        assert sum(theirs) == pytest.approx(1)


def test_requests_that_cannot_be_answered_are_refused(answers):
    long, odd = answers["vllm"]["refused"]
    assert isinstance(long, RequestRefused)
    assert "exceed the context of 256" in str(long)
    assert isinstance(odd, RequestRefused)
    assert "presence_penalty" in str(odd)


def test_what_the_spec_says_reaches_vllm_and_its_options_have_the_last_word(tiny, tmp_path):
    from vllm.engine.arg_utils import AsyncEngineArgs

    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 12}')
    (tmp_path / "adapter_model.safetensors").touch()
    given = {
        "tensor_parallel_size": 2,
        "data_parallel_size": 4,
        "gpu_memory_utilization": 0.5,
        "max_model_len": 128,
        "dtype": "float32",
    }
    more = {"kv_cache_dtype": "fp8", "cpu_offload_gb": 1.5, "enable_prefix_caching": False}
    spec = parse_spec({"engine": "vllm", "model": str(tiny), "lora": str(tmp_path), **given, "options": more})
    asked = _arguments(spec)
    assert asked.items() >= (given | more | {"model": str(tiny), "enable_lora": True, "max_lora_rank": 16}).items()
    made = AsyncEngineArgs(**asked)  # so that each is a name that vLLM knows
    assert (made.tensor_parallel_size, made.data_parallel_size, made.max_lora_rank) == (2, 4, 16)
    bare = _arguments(parse_spec({"engine": "vllm", "model": str(tiny)}))
    assert not {"enable_lora", "max_model_len", "gpu_memory_utilization", "revision"} & bare.keys()


def test_a_closed_engine_is_down(answers):
    assert isinstance(answers["closed"][0], EngineDown)

"""The real vLLM in this process serving nano: what a reply depends on, its form, its cache, an adapter, and two deaths.

Each engine takes half a minute to start, so one answers everything that is asked of its kind.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engines import EngineDown, RequestRefused, Sampling, SpecError, open_engine

pytestmark = pytest.mark.engine

NANO = str(Path(__file__).parents[3] / "nano/checkpoint")
VLLM = {"engine": "vllm", "model": NANO, "dtype": "float32"}
TEA = [f"Human: Say something of {n} cups of tea.\nAssistant:" for n in range(64)]
SEEDED = [(prompt, Sampling(0.9, max_tokens=24, seed=seed)) for seed, prompt in enumerate(TEA)]
THINGS = ("tea", "rain", "a cup")
GREEDY = [(f"Human: Say something of {thing}.\nAssistant:", Sampling(max_tokens=24)) for thing in THINGS]
RULES = "Human: " + "Say something of tea and rain. " * 20
CHOICES = ("Yes", "No")
PATTERN = r"[0-9]{1,2}: [^\n]{5,20}"
LINE_BREAK = 201  # nano's only token with one


async def ask(engine, asked):
    return await asyncio.gather(*(engine.generate(*one) for one in asked), return_exceptions=True)


async def texts(engine, asked):
    return [reply.text for reply in await ask(engine, asked)]


def held_to(**form):
    return [(prompt, Sampling(1.0, max_tokens=48, seed=seed, **form)) for seed, prompt in enumerate(TEA)]


def kill_core():
    (core,) = (child for child in multiprocessing.active_children() if child.name.startswith("EngineCore"))
    os.kill(core.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def wide():
    """An engine as it comes: seeded replies in several orders, two prompts that begin alike, and replies in a form."""

    async def main():
        async with open_engine(VLLM) as engine:
            return {
                "alone": [(await engine.generate(*one)).text for one in SEEDED],
                "together": await texts(engine, SEEDED),
                "reversed": (await texts(engine, SEEDED[::-1]))[::-1],
                "alike": [await engine.generate(f"{RULES}{end}\nAssistant:", Sampling(max_tokens=4)) for end in "AB"],
                "choices": await ask(engine, held_to(choices=CHOICES)),
                "pattern": await ask(engine, held_to(pattern=PATTERN)),
                "odd": await ask(engine, [(TEA[0], Sampling(pattern=r"(?<!a)b"))]),
                "after": await texts(engine, SEEDED[:1]),
            }

    return asyncio.run(main())


@pytest.fixture(scope="module")
def narrow():
    """An engine that batches four, so has six places, and whose process is killed twice with requests in flight."""

    async def killed(engine):
        asked = asyncio.ensure_future(ask(engine, SEEDED))
        await asyncio.sleep(0.2)
        kill_core()
        await asyncio.sleep(0.2)
        late = asyncio.ensure_future(ask(engine, GREEDY))
        return await asked, await late

    async def main():
        async with open_engine(VLLM | {"options": {"max_num_seqs": 4}}) as engine:
            begun = time.perf_counter()
            replies = await ask(engine, SEEDED)
            busy = sum(reply.latency_s for reply in replies) / (time.perf_counter() - begun)
            whole = [reply.text for reply in replies], await texts(engine, GREEDY)
            return {"whole": whole, "busy": busy, "first": await killed(engine), "second": await killed(engine)}

    return asyncio.run(main())


def test_a_seed_draws_the_same_alone_together_in_reverse_and_in_batches_of_four(wide, narrow):
    assert wide["alone"] == wide["together"] == wide["reversed"] == narrow["whole"][0]
    assert len(set(wide["alone"])) > 40


def test_of_a_models_generation_config_only_what_ends_a_reply_counts(wide, with_defaults, tmp_path):
    """What is recorded is what was drawn."""
    ends = [2, LINE_BREAK]

    async def main():
        model = with_defaults(Path(NANO), tmp_path / "nano", eos_token_id=ends)
        async with open_engine(VLLM | {"model": str(model)}) as engine:
            cut = [(prompt, replace(sampling, stop=("never said",))) for prompt, sampling in SEEDED]
            return await ask(engine, SEEDED), await texts(engine, cut)

    replies, cut = asyncio.run(main())
    first_lines = [text.partition("\n")[0] for text in wide["alone"]]
    assert [reply.text for reply in replies] == cut == first_lines
    ended = {reply.finish_reason for reply, text in zip(replies, wide["alone"], strict=True) if "\n" in text}
    assert ended == {"stop"}


def test_latencies_over_time_are_the_requests_in_flight(narrow):
    assert 4 < narrow["busy"] <= 6


def test_a_prompt_that_begins_as_one_before_is_read_from_the_cache(wide):
    first, second = wide["alike"]
    assert first.tokens_cached < 16  # no more than the start that any two prompts share
    assert second.tokens_cached > 0.8 * second.tokens_in


def test_replies_are_held_to_a_choice_and_to_a_pattern(wide):
    assert {reply.text for reply in wide["choices"]} == set(CHOICES)
    assert {reply.finish_reason for reply in wide["choices"]} == {"stop"}
    assert [reply.text for reply in wide["pattern"] if not re.fullmatch(PATTERN, reply.text)] == []


def test_a_form_that_vllm_cannot_keep_fails_its_request_alone(wide):
    assert isinstance(wide["odd"][0], RequestRefused)
    assert wide["after"] == wide["alone"][:1]


def test_an_engine_that_dies_is_started_anew_and_answers_all_as_if_nothing_had_been(narrow):
    asked, late = narrow["first"]
    assert ([reply.text for reply in asked], [reply.text for reply in late]) == narrow["whole"]


def test_a_second_death_ends_with_what_happened_and_what_to_do(narrow):
    down = [reply for replies in narrow["second"] for reply in replies if isinstance(reply, EngineDown)]
    assert len(down) > len(GREEDY)
    assert all(isinstance(reply, EngineDown) for reply in narrow["second"][1])
    assert "died again" in str(down[0])
    assert "run again" in str(down[0])
    assert not down[0].recoverable


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A LoRA adapter of nano with weights that change what it says; rank 4 but for one module of 12."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("adapter")
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    modules = ["q_proj", "v_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=8, target_modules=modules, rank_pattern={"down_proj": 12})
    adapted = get_peft_model(model, config)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    adapted.save_pretrained(folder)
    return str(folder)


def test_an_adapter_says_what_peft_says(adapter):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    async def main(spec):
        async with open_engine(spec) as engine:
            return await texts(engine, GREEDY)

    tokenizer = AutoTokenizer.from_pretrained(NANO)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(NANO), adapter)

    def generated(prompt):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        written = model.generate(input_ids=ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
        return tokenizer.decode(written, skip_special_tokens=True).removeprefix(" ")

    expected = [generated(prompt) for prompt, _ in GREEDY]
    embedded = {"engine": "transformers", "model": NANO, "threads": 1}
    assert asyncio.run(main(embedded)) != expected
    assert asyncio.run(main(embedded | {"lora": adapter})) == expected
    assert asyncio.run(main(VLLM | {"lora": adapter})) == expected


def test_an_adapter_of_another_model_is_named_at_the_start(adapter, tiny):
    async def main():
        async with open_engine(VLLM | {"model": str(tiny), "lora": adapter}):
            raise AssertionError("opened")

    with pytest.raises(SpecError, match=r"engine\.lora: vLLM cannot use"):
        asyncio.run(main())

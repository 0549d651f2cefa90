"""The transformers engine with a real (tiny, random) Llama: batching must not be seen in any reply."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engines import EngineDown, RequestRefused, Sampling, SpecError, Verbatim, open_engine

WARM = Sampling(temperature=0.8, max_tokens=24, seed=7)
PROMPTS = ["".join(random.Random(n).choices("abc def", k=5 + n % 40)) for n in range(63)]


def spec(model: Path, **changes: Any) -> dict[str, Any]:
    return {"engine": "transformers", "model": str(model), "batch_size": 32, "threads": 1, "device": "cpu"} | changes


@pytest.fixture(scope="module")
def reference(tiny):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny), AutoModelForCausalLM.from_pretrained(tiny).eval()


def plain_ids(reference, prompt, max_tokens):
    tokenizer, model = reference
    ids = tokenizer(prompt, return_tensors="pt")
    written = model.generate(**ids, max_new_tokens=max_tokens, do_sample=False, pad_token_id=0)
    return written[0, ids.input_ids.shape[1] :].tolist()


def plain_greedy(reference, prompt, max_tokens):
    text = reference[0].decode(plain_ids(reference, prompt, max_tokens), skip_special_tokens=True)
    return text.removeprefix(" ")


def log_probability(reference, prompt, option):
    """By hand: the sum of the option's tokens' log-probabilities after the prompt."""
    import torch

    tokenizer, model = reference
    head, tail = tokenizer(prompt).input_ids, tokenizer(option, add_special_tokens=False).input_ids
    with torch.no_grad():
        logs = model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
    return sum(logs[len(head) + place - 1, token].item() for place, token in enumerate(tail))


@pytest.mark.flow
def test_seeded_reply_does_not_depend_on_its_batch(tiny):
    async def main():
        async with open_engine(spec(tiny)) as engine:
            alone = await engine.generate("the same words", WARM)
            others = [
                engine.generate(text, replace(WARM, seed=n, top_p=0.9, max_tokens=4 + n % 30))
                for n, text in enumerate(PROMPTS)
            ]
            crowd = await asyncio.gather(*others[:40], engine.generate("the same words", WARM), *others[40:])
            return alone, crowd[40]

    alone, among = asyncio.run(main())
    assert alone.text == among.text
    assert alone.tokens_out == among.tokens_out == 24


def test_seeds_draw_apart_and_a_seed_draws_the_same_again(tiny):
    async def main():
        async with open_engine(spec(tiny)) as engine:
            asked = [replace(WARM, seed=seed) for seed in (1, 2, 3, 1)]
            return [reply.text for reply in await asyncio.gather(*(engine.generate("hello", s) for s in asked))]

    one, two, three, again = asyncio.run(main())
    assert len({one, two, three}) == 3
    assert again == one


def test_greedy_replies_equal_plain_generate_while_rows_join_and_leave(tiny, reference):
    lengths = [3 + 5 * (n % 9) for n in range(len(PROMPTS))]

    async def main():
        async with open_engine(spec(tiny, batch_size=8)) as engine:
            asks = (
                engine.generate(text, Sampling(max_tokens=length))
                for text, length in zip(PROMPTS, lengths, strict=True)
            )
            return await asyncio.gather(*asks)

    replies = asyncio.run(main())
    for prompt, length, reply in zip(PROMPTS, lengths, replies, strict=True):
        assert reply.text == plain_greedy(reference, prompt, length)
        assert reply.tokens_in == len(prompt) + 1  # one token a letter, and BOS
        assert reply.latency_s > 0


def test_latency_is_time_in_the_batch_and_not_in_the_queue_before_it(tiny):
    async def main():
        async with open_engine(spec(tiny, batch_size=2)) as engine:
            begun = time.perf_counter()
            replies = await asyncio.gather(*(engine.generate(text, Sampling(max_tokens=12)) for text in PROMPTS[:16]))
            return replies, time.perf_counter() - begun

    replies, seconds = asyncio.run(main())
    assert sum(reply.latency_s for reply in replies) <= 2 * seconds


def test_messages_go_through_the_chat_template_with_one_bos(tiny):
    async def main():
        async with open_engine(spec(tiny)) as engine:
            chat = await engine.generate([{"role": "user", "content": "hi"}], Sampling(max_tokens=12))
            text = await engine.generate("user: hi\nassistant:", Sampling(max_tokens=12))
            return chat, text

    chat, text = asyncio.run(main())
    assert chat.text == text.text
    assert chat.tokens_in == text.tokens_in == len("user: hi\nassistant:") + 1


def test_a_folder_is_opened_without_a_look_at_the_network(tiny, monkeypatch):
    import socket

    looked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: looked.append(args))

    async def main():
        async with open_engine(spec(tiny)) as engine:
            await engine.generate("x", Sampling(max_tokens=1))

    asyncio.run(main())
    assert looked == []


def test_stop_string_ends_the_reply_and_is_cut_off(tiny, reference):
    whole = plain_greedy(reference, "once", 40)
    stop = whole[10:12]

    async def main():
        async with open_engine(spec(tiny)) as engine:
            return await engine.generate("once", Sampling(max_tokens=40, stop=("not there", stop)))

    reply = asyncio.run(main())
    assert reply.text == whole[: whole.index(stop)]
    assert reply.finish_reason == "stop"
    assert reply.tokens_out < 40


def test_end_of_text_stops_and_max_tokens_is_length(tiny, tmp_path, reference):
    """The same weights with another end-of-text token: one that the greedy reply is known to write."""
    import json
    import shutil

    ids = plain_ids(reference, "end", 20)
    folder = shutil.copytree(tiny, tmp_path / "model")
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": [2, ids[6]]}))

    async def main():
        async with open_engine(spec(folder)) as engine:
            return await asyncio.gather(*(engine.generate("end", Sampling(max_tokens=n)) for n in (20, 3)))

    ended, cut = asyncio.run(main())
    first = ids.index(ids[6])
    assert (ended.finish_reason, ended.tokens_out) == ("stop", first + 1)
    assert ended.text == reference[0].decode(ids[:first]).removeprefix(" ")
    assert (cut.finish_reason, cut.tokens_out) == ("length", 3)


def test_presence_penalty_forbids_a_second_use(tiny):
    async def main():
        async with open_engine(spec(tiny)) as engine:
            free = await engine.generate("aaaa", Sampling(max_tokens=60))
            shy = await engine.generate("aaaa", Sampling(max_tokens=60, presence_penalty=1e4))
            return free.text, shy.text

    free, shy = asyncio.run(main())
    assert len(set(free)) < len(free)
    assert shy != free
    assert len(set(shy)) == len(shy)


def test_choose_is_the_softmax_of_summed_log_probabilities_whatever_the_spelling(tiny, reference):
    import math

    spelled = {"yes": ["yes", "Yes"], "no": ["no", "No"], "never ever": ["never ever", "Never ever"]}

    cases = [
        ("pick one:", [" A", " B", "C"]),
        ("a much longer prompt than the first:", ["yes", "no", "never ever", "A"]),
    ]

    async def main():
        async with open_engine(spec(tiny)) as engine:
            asks = [engine.choose(prompt, kind(options)) for kind in (list, Verbatim) for prompt, options in cases]
            return await asyncio.gather(*asks)

    chosen = asyncio.run(main())
    for (prompt, options), exact in zip(cases, chosen[2:], strict=True):
        logs = [log_probability(reference, prompt, option) for option in options]
        assert exact.logs == pytest.approx(logs, rel=1e-4)
        assert exact.mass == pytest.approx(sum(map(math.exp, logs)), rel=1e-4)
    assert chosen[1].logs is None, "several spellings have no one log-probability"
    for (prompt, options), found in zip(cases, chosen[:2], strict=True):
        weights = [
            sum(math.exp(log_probability(reference, prompt, text)) for text in spelled.get(option, [option]))
            for option in options
        ]
        assert found == pytest.approx([weight / sum(weights) for weight in weights], rel=1e-4)
        assert found.mass == pytest.approx(sum(weights), rel=1e-4)
        assert sum(found) == pytest.approx(1)


def test_a_prompt_too_long_is_refused_while_others_are_answered(tiny):
    async def main():
        async with open_engine(spec(tiny)) as engine:
            asks = [engine.generate(text, Sampling(max_tokens=8)) for text in ("short", "x" * 255, "brief")]
            return await asyncio.gather(*asks, engine.choose("x", [""]), return_exceptions=True)

    short, long, brief, empty = asyncio.run(main())
    assert short.tokens_out == brief.tokens_out == 8
    assert isinstance(long, RequestRefused)
    assert "256 tokens and max_tokens 8 exceed the context of 256" in str(long)
    assert isinstance(empty, RequestRefused)


def test_256_in_flight_are_all_answered(tiny):
    async def main():
        async with open_engine(spec(tiny, batch_size=64)) as engine:
            asks = (engine.generate(PROMPTS[n % 63], Sampling(1.0, max_tokens=2 + n % 11, seed=n)) for n in range(256))
            choices = (engine.choose(PROMPTS[n % 63], ["a", "b"]) for n in range(16))
            return await asyncio.gather(*asks), await asyncio.gather(*choices)

    replies, choices = asyncio.run(main())
    assert all(reply.tokens_out == 2 + n % 11 for n, reply in enumerate(replies) if reply.finish_reason == "length")
    assert sum(reply.finish_reason == "length" for reply in replies) > 200
    assert len(choices) == 16


def test_closing_fails_what_is_pending_and_what_comes_after(tiny, monkeypatch):
    from tasks.engines.transformers.batch import Decoder

    monkeypatch.setattr(Decoder, "step", lambda decoder: time.sleep(0.01))  # a model that never gets on

    async def main():
        async with open_engine(spec(tiny, batch_size=2)) as engine:
            asks = [engine.generate("long", Sampling(max_tokens=200)) for _ in range(4)]  # two run, two wait
            pending = [asyncio.ensure_future(ask) for ask in asks]
            await asyncio.sleep(0.05)
        pending.append(asyncio.ensure_future(engine.generate("late", Sampling())))
        return await asyncio.gather(*pending, return_exceptions=True)

    faults = asyncio.run(main())
    assert [type(fault) for fault in faults] == [EngineDown] * 5
    assert "closed" in str(faults[0])


def test_a_cancelled_request_leaves_the_batch(tiny):
    async def main():
        async with open_engine(spec(tiny, batch_size=1)) as engine:
            endless = asyncio.ensure_future(engine.generate("go", Sampling(1.0, max_tokens=240, seed=1)))
            await asyncio.sleep(0.05)
            endless.cancel()
            return await engine.generate("next", Sampling(max_tokens=2))

    assert asyncio.run(main()).tokens_out == 2


def test_a_failure_of_the_model_reaches_everyone_with_its_cause(tiny, monkeypatch):
    from tasks.engines.transformers.batch import Decoder

    def broken(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(Decoder, "step", broken)

    async def main():
        async with open_engine(spec(tiny)) as engine:
            asks = [engine.generate("a", Sampling(max_tokens=9)) for _ in range(3)]
            return await asyncio.gather(*asks, return_exceptions=True)

    for fault in asyncio.run(main()):
        assert isinstance(fault, EngineDown)
        assert "MemoryError: no room" in str(fault)


def test_what_a_models_generation_config_says_of_sampling_changes_no_reply(tiny, with_defaults, tmp_path):
    """What is recorded is what was drawn: only the sampling that was asked for counts."""
    filled = with_defaults(tiny, tmp_path / "filled")

    async def reply(folder):
        async with open_engine({"engine": "transformers", "model": str(folder), "threads": 1}) as engine:
            return (await engine.generate("hello", Sampling(1.0, max_tokens=40, seed=3))).text

    assert asyncio.run(reply(tiny)) == asyncio.run(reply(filled))


def test_a_model_with_code_of_its_own_is_refused_and_the_code_is_not_run(tiny, tmp_path):
    folder, ran = shutil.copytree(tiny, tmp_path / "model"), tmp_path / "ran"
    (folder / "odd.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    own = {"AutoConfig": "odd.Config", "AutoModelForCausalLM": "odd.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "odd", "auto_map": own}))

    async def main():
        async with open_engine({"engine": "transformers", "model": str(folder)}):
            raise AssertionError("opened")

    with pytest.raises(SpecError, match=r"code of its own, which is never run; give a model"):
        asyncio.run(main())
    assert not ran.exists()

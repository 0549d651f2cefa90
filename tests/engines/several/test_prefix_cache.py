"""The prefix cache of the transformers engine, and its grouped-query attention: replies stay those of `generate`."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from tasks.engines import Sampling, open_engine
from tasks.engines.transformers.prefix_cache import MAX_PREFIXES, MIN_TOKENS, Prefix, PrefixCache

LETTERS = "abc def"


def text(seed: int, length: int) -> str:
    return "".join(random.Random(seed).choices(LETTERS, k=length))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tokens of each prefix that comes into the cache."""
    lengths: list[int] = []
    put = PrefixCache.put

    def counted(cache: PrefixCache, prefix: Prefix) -> None:
        lengths.append(len(prefix.ids))
        put(cache, prefix)

    monkeypatch.setattr(PrefixCache, "put", counted)
    return lengths


def replies(model: Path, waves: list[list[str]], **changes: Any) -> list[str]:
    async def main() -> list[str]:
        spec = {"engine": "transformers", "model": str(model), "batch_size": 8, "threads": 1, "device": "cpu"} | changes
        async with open_engine(spec) as engine:
            texts = []
            for wave in waves:
                asks = (engine.generate(one, Sampling(max_tokens=6 + len(one) % 9)) for one in wave)
                texts += [reply.text for reply in await asyncio.gather(*asks)]
            return texts

    return asyncio.run(main())


def plain(model: Path, prompts: list[str]) -> list[str]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model).eval()
    texts = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")
        written = network.generate(**ids, max_new_tokens=6 + len(prompt) % 9, do_sample=False, pad_token_id=0)
        texts.append(tokenizer.decode(written[0, ids.input_ids.shape[1] :], skip_special_tokens=True).removeprefix(" "))
    return texts


def test_replies_are_those_of_plain_generate_and_a_prefix_is_computed_once(wide: Path, computed: list[int]) -> None:
    one, other = text(1, 300), text(2, 280)
    first = [one + text(n, 5 + 7 * n) for n in range(12)]
    second = [*(other + text(n, 3 * n) for n in range(1, 9)), *(text(n, 20 + n) for n in range(6)), text(9, 400)]
    third = [one + text(90, 40), other, one]  # each alone, with a prefix that is cached by now
    waves = [first, second, third]
    assert replies(wide, waves) == plain(wide, [prompt for wave in waves for prompt in wave])
    assert len(computed) == 2, "one for each prefix"
    assert 300 <= computed[0] < 310


def test_prompts_that_come_one_by_one_share_a_prefix_from_the_second_on(wide: Path, computed: list[int]) -> None:
    one = text(3, 300)
    waves = [[one + text(n, 30)] for n in range(5)]
    assert replies(wide, waves) == plain(wide, [prompt for (prompt,) in waves])
    assert computed == [330], "all of the second but its last token; the others use the part that they share"


def test_a_longer_prefix_replaces_a_shorter_one(wide: Path, computed: list[int]) -> None:
    short = text(4, 260)
    longer = short + text(5, MIN_TOKENS + 40)
    waves = [[short + text(n, 30) for n in range(3)], [longer + text(n, 20) for n in range(3)]]
    assert replies(wide, waves) == plain(wide, [prompt for wave in waves for prompt in wave])
    assert len(computed) == 2
    assert computed[1] - computed[0] >= MIN_TOKENS


def test_the_cache_is_bounded_and_short_prompts_share_nothing() -> None:
    cache = PrefixCache()
    assert cache.group([[1] * MIN_TOKENS] * 3) == ([], [0, 1, 2])
    for n in range(MAX_PREFIXES + 1):
        cache.put(Prefix([n] * 300, []))
    cached = [cache.find([[n] * 310])[1] is not None for n in range(MAX_PREFIXES + 1)]
    assert cached == [False] + [True] * MAX_PREFIXES
    cache.find([[1] * 310])
    cache.put(Prefix([99] * 300, []))
    assert cache.find([[1] * 310])[1] is not None, "it was used more recently than the others"


def test_grouped_query_attention_without_copies_gives_the_same_replies(
    wide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.engines.transformers import attention

    shapes: set[tuple[int, ...]] = set()
    plain_attention = attention.scaled_dot_product_attention

    def seen(query: Any, key: Any, value: Any, **rest: Any) -> Any:
        shapes.add((query.shape[1], query.shape[2], key.shape[1]))
        return plain_attention(query, key, value, **rest)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", seen)
    prompts = [text(n, 20 + 9 * n) for n in range(12)]
    assert replies(wide, [prompts]) == plain(wide, prompts)
    assert shapes == {(1, 2, 1)}, "two query heads as two queries of one key-value head"

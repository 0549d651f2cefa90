"""A large pool, and one that is divided among processes, decide as a comparison with every text does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignery.errors import UsageError
from tasks.filters import pools, rouge
from tasks.filters.contamination import Contamination
from tasks.filters.pools import DividedPool, GateDied, LatePool
from tasks.filters.rouge import Nearest, RougePool
from tasks.methods.self_instruct.method import Config, gate

WORDS = ["tea", "ink", "write", "of", "the", "a", "river", "Ωmega", "短", "诗", "雨", "कि", "के", "🐱", "🌊", "..."]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join), min_size=1, max_size=40)
UNSPACED = st.lists(st.lists(st.sampled_from("短诗雨水海咸秋天"), max_size=30).map("".join), min_size=1, max_size=40)


def same(one: Nearest, other: Nearest, above: float) -> bool:
    """Whether both decide alike, and say the same of what is nearer than the limit."""
    if other.similarity <= above:
        return one.similarity <= above
    return (one.similarity, one.text) == (other.similarity, other.text)


@settings(max_examples=150, deadline=None)
@given(
    pool=st.one_of(TEXTS, UNSPACED),
    asked=st.one_of(TEXTS, UNSPACED),
    above=st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.95, 1.0]),
    chunk=st.integers(1, 12),
    newest=st.sampled_from([0, 1, 3]),
    tokens=st.sampled_from([1, 4, 16]),
)
def test_chunks_decide_as_a_comparison_with_every_text(
    pool: list[str], asked: list[str], above: float, chunk: int, newest: int, tokens: int
) -> None:
    plain = RougePool(pool).compare(asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rouge, "_CHUNK", chunk)
        patch.setattr(rouge, "_NEWEST", newest)
        patch.setattr(rouge, "_TOKENS", tokens)
        chunked = RougePool()
        for place, text in enumerate(pool):
            chunked.add(text)
            if place % 4 == 3:
                chunked.compare(asked[:1], above)  # which puts the newest texts into a chunk
        found = chunked.compare(asked + pool, above)
        covered = chunked.covered(asked)
    plain += RougePool(pool).compare(pool)
    assert all(same(one, other, above) for one, other in zip(found, plain, strict=True))
    assert all(near.size == len(pool) for near in found)
    assert covered == pytest.approx(RougePool(pool).covered(asked))


def test_of_what_is_new_to_a_large_pool_only_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "_CHUNK", 2)
    pool = RougePool(["write a poem of the sea", "list the rivers of the world"])
    texts = ["Write a poem of the seas", "Name one thing that nobody knows"]
    near, new = gate([{"text": text} for text in texts], pool, Config(), Contamination([]))
    assert (near["state"], near["nearest"]) == ("rejected", "write a poem of the sea")
    assert near["similarity"] > 0.7
    assert (new["state"], new["similarity"], new["nearest"], new["mean_similarity"]) == ("accepted", None, None, None)


@pytest.fixture(scope="module")
def divided() -> Iterator[DividedPool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "_BLOCK", 3)
        pool = DividedPool(2)
        yield pool
        pool.close()


def test_processes_decide_as_one_does(divided: DividedPool) -> None:
    texts = [f"say {n % 9} of the {'tea' if n % 2 else '短诗雨水'} in {n % 7} words" for n in range(40)]
    plain = RougePool()
    for text in texts:
        plain.add(text)
        divided.add(text)
    asked = [*texts[5:9], "nothing alike at all", "say 3 of tea in 3 words", ""]
    for one, other in zip(divided.compare(asked, 0.5), plain.compare(asked), strict=True):
        assert same(one, other, 0.5)
        assert (one.size, one.mean) == (40, pytest.approx(other.mean))
    divided.add("a late one, after a comparison")
    assert divided.compare(["a late one, after a comparison"])[0].similarity == 1.0


def test_a_process_that_is_gone_is_an_error_that_says_so(divided: DividedPool) -> None:
    divided.compare(["one more"])
    os.kill(divided.processes[0].pid or 0, signal.SIGKILL)
    divided.processes[0].join()
    with pytest.raises(GateDied, match="process 1 of the near-duplicate gate is gone"):
        divided.compare(["one more"])


def test_a_late_pool_is_filled_once_and_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    filled = []
    pool = LatePool(lambda: filled.append(1) or ["say something of tea"])
    assert not filled
    pool.add("another one")
    assert [near.size for near in pool.compare(["say something of tea"])] == [2]
    assert filled == [1]
    monkeypatch.setenv(pools.PROCESSES, "many")
    with pytest.raises(UsageError, match="expected a number of processes"):
        LatePool(list)

"""Batches hold every document once; a tiny training run is the same twice and moves every parameter."""

from pathlib import Path

import numpy as np
import pytest

from nano import dataset, tokenizer, train

TINY = train.Config(
    stages=(train.Stage(16_000, 0.0, 1.0), train.Stage(8_000, 0.5, 0.5)),
    width=32,
    layers=2,
    heads=2,
    feed_forward=64,
    warmup=2,
    processes=1,
    shard=100,
)


def _corpus() -> dataset.Corpus:
    lengths = np.random.default_rng(0).integers(5, 60, size=300)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.repeat(np.arange(1, 301), lengths).astype(np.int16)  # every token names its document
    return dataset.Corpus(ids, np.ones(len(ids), dtype=np.float16), starts)


def test_every_document_is_in_exactly_one_batch_and_no_batch_is_too_large() -> None:
    corpus, seen, tokens = _corpus(), [], 0
    for ids, weights, real in dataset.batches(corpus, size=512, seed=1, pad=0):
        assert ids.size <= 512
        assert ((ids > 0) == (weights > 0)).all()
        assert int((ids > 0).sum()) == real
        seen += ids[:, 0].tolist()
        tokens += real
    assert sorted(seen) == list(range(1, 301))
    assert tokens == corpus.tokens


def test_a_model_beyond_the_limit_is_refused() -> None:
    words = tokenizer.build(seed=0, sampled=200)
    with pytest.raises(ValueError, match="expected at most 3,000,000"):
        train.new_model(train.Config(width=320, feed_forward=960), words)


@pytest.mark.flow
@pytest.mark.long
def test_a_seed_gives_one_checkpoint_and_training_moves_every_parameter(tmp_path: Path) -> None:
    import torch
    from transformers import LlamaForCausalLM

    reports = [train.train(TINY, tmp_path / name) for name in ("one", "two")]
    one, two = (LlamaForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float32) for name in ("one", "two"))
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    fresh = dict(train.new_model(TINY, tokenizer.build(TINY.seed)).named_parameters())
    still = [name for name, weight in one.named_parameters() if torch.allclose(weight, fresh[name], atol=1e-3)]
    assert not still
    assert reports[0]["tokens"] == reports[1]["tokens"] >= 24_000
    assert [stage["names"] for stage in reports[0]["stages"]] == [0.0, 0.5]

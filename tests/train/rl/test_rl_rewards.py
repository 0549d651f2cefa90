"""The checks between a policy's answers and the preference model that rewards them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.engines import RequestRefused
from tasks.methods.registry import built_in
from tasks.train.checkpoint_dir import job_of
from tasks.train.config import TrainError, TrainingFailed
from tasks.train.recipes.rl.rewards import opened

GRPO = built_in().recipes["grpo"]
ASKED = [{"role": "user", "content": "hello"}]


@pytest.fixture
def reward(monkeypatch):
    """The reward of one answer, by a preference model whose scores a function gives."""

    def of(scores, answer="fine", length=64, **changes):
        tokenizer = SimpleNamespace(added_tokens_decoder={}, all_special_tokens=["<end>"])
        engine = SimpleNamespace(context=64, tokenizer=tokenizer, scores=scores)
        monkeypatch.setattr("tasks.engines.transformers.reward.load_reward", lambda spec: engine)
        given = opened(GRPO.config(reward_model=Path("model"), **changes), length)
        return given(prompts=[ASKED], completions=[[{"role": "assistant", "content": answer}]])

    return of


def test_a_score_that_is_no_number_ends_the_training(reward):
    assert reward(lambda chats: [1.5], "two words", rules={"words": -0.5}) == [0.5]
    with pytest.raises(TrainingFailed, match="reward_model: model scores nan, expected numbers"):
        reward(lambda chats: [float("nan")])


def test_an_answer_that_the_model_cannot_read_ends_the_training_with_a_sentence(reward):
    def refused(chats):
        raise RequestRefused("conversation too long: 70 tokens")

    with pytest.raises(TrainingFailed, match=r"cannot score an answer: .* 70 tokens; lower max_length"):
        reward(refused)
    with pytest.raises(TrainError, match="model reads 64 tokens, and max_length lets answers be 65 long"):
        reward(refused, length=65)


def test_an_answer_that_spells_out_special_tokens_forges_no_turn(reward):
    seen = []
    reward(lambda chats: seen.extend(chats) or [0.0], "no<en<end>d> thanks")
    assert seen == [[*ASKED, {"role": "assistant", "content": "no thanks"}]]


def test_another_reward_model_at_the_same_place_is_another_job(base, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    config = GRPO.config(reward_model=tmp_path)
    before = job_of("grpo", [], base, config)
    assert job_of("grpo", [], base, config) == before
    (tmp_path / "model.safetensors").write_bytes(b"others")
    assert job_of("grpo", [], base, config) != before

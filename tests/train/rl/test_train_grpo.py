"""GRPO on the random model: what it draws, records and learns, how it goes on, and how it is stopped."""

import json

import pytest
from test_train_resumes import arguments, history, killed, same
from train_cases import CASES, QUICK
from train_views import PAIRS, bad, conversation, good, preference, question, soft_preference, user, write_view

from tasks.engines.specs import RewardSpec
from tasks.methods.registry import built_in
from tasks.train.config import Lora, TrainError, TrainingFailed
from tasks.train.dataset import read_prompts

GRPO = built_in().recipes["grpo"]
OFF = {"kl": None, "length": None, "distinct_2": None, "perplexity": None}
flow = pytest.mark.flow


class Case:
    """As `train_cases` has them, for the command line."""

    name = "grpo"


def config(**changes):
    own = {"rules": {"words": 1.0}, "k": 4, "max_tokens": 12, "batch_size": 4, "epochs": 1.0, "stop_when": OFF}
    return GRPO.config.model_validate(QUICK | own | changes)


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    return write_view(tmp_path_factory.mktemp("rl") / "view", [soft_preference(pair) for pair in PAIRS])


def rollouts(folder):
    import pyarrow.parquet as pq

    return [row for part in sorted(folder.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


def test_the_prompts_of_any_view_are_read_once_each(tmp_path):
    asked = [{"prompt": [user(question(*pair))]} for pair in PAIRS[:4]]
    for name, row in (("pairs", preference), ("chats", conversation)):
        rows = [row(pair) for pair in (*PAIRS[:4], *PAIRS[:2])]
        assert read_prompts(write_view(tmp_path / name, rows)) == asked
    with pytest.raises(TrainError, match=r"expected \['messages'\] too"):
        read_prompts(write_view(tmp_path / "none", [{"text": "x"}]))


def test_the_preference_model_of_the_same_retraining_is_trained_first_and_used():
    from alignery.config.methods import retrain_model

    retrain = retrain_model(built_in())
    both = retrain.model_validate({"grpo": {}, "reward": {}})
    assert (both.order(), both.models_of("grpo")) == (["reward", "grpo"], {"reward_model": "reward"})
    named = retrain.model_validate({"grpo": {"reward_model": "elsewhere"}, "reward": {}})
    assert named.models_of("grpo") == {}
    assert retrain.model_validate({"grpo": {"rules": {"words": -0.1}}}).models_of("grpo") == {}


@flow
def test_every_answer_is_a_row_and_the_figures_are_those_of_the_rows(view, base, tmp_path):
    report = GRPO.train(view, base, tmp_path / "out", config(epochs=2.0))
    rows = rollouts(tmp_path / "out" / "rollouts")
    assert report.rollouts == len(rows) == 2 * 32 * 4
    assert report.steps == 2 * 32 / 4
    for step in range(1, 17):
        drawn = [row for row in rows if row["step"] == step]
        assert [row["number"] for row in drawn] == [1, 2, 3, 4] * 4
        for place in range(0, 16, 4):
            group = drawn[place : place + 4]
            assert len({json.dumps(row["prompt"]) for row in group}) == 1
            assert sum(row["advantage"] for row in group) == pytest.approx(0, abs=1e-4)
    assert all(row["reward"] == len(row["completion"].split()) for row in rows)
    assert all(row["tokens"] == 12 or row["complete"] for row in rows)
    assert {row["seed"] for row in rows} == {42}
    assert max(abs(row["kl"]) for row in rows if row["step"] == 1) < 1e-4, "the first answers are the start model's"
    entries = history(tmp_path / "out")
    for entry in entries:
        drawn = [row for row in rows if row["step"] == entry["step"]]
        for name, key in (("reward", "reward"), ("kl", "kl"), ("length", "tokens")):
            assert entry[f"rollouts/{name}"] == pytest.approx(sum(row[key] for row in drawn) / 16, abs=1e-5)
    assert entries[-1]["rollouts/reward"] > 1.5 * entries[0]["rollouts/reward"]
    assert entries[-1]["rollouts/kl"] > 1
    assert "<polyline" in (tmp_path / "out" / "rollouts" / "curves.svg").read_text()


@flow
def test_the_log_probabilities_of_a_row_are_the_start_models(view, base, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    GRPO.train(view, base, tmp_path / "out", config())
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base).eval(), AutoTokenizer.from_pretrained(base)
    compared = 0
    for row in rollouts(tmp_path / "out" / "rollouts")[-16:]:
        asked = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        completion = tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
        completion += [tokenizer.eos_token_id] if row["complete"] else []
        if len(completion) != row["tokens"]:
            continue  # special tokens that it drew are no part of the text
        compared += 1
        with torch.no_grad():
            scores = model(torch.tensor([asked + completion])).logits.log_softmax(-1)[0, len(asked) - 1 : -1]
        mine = scores.gather(1, torch.tensor(completion)[:, None]).sum().item()
        assert row["start_logp"] == pytest.approx(mine, abs=1e-3)
    assert compared


@flow
def test_the_preference_models_scores_are_the_reward(views, view, base, tmp_path):
    from tasks.engines.transformers.reward import load_reward

    CASES["reward"].train(views, base, tmp_path / "reward", CASES["reward"].config(None, epochs=20.0))
    GRPO.train(view, base, tmp_path / "out", config(reward_model=tmp_path / "reward", rules={"words": -0.5}))
    engine = load_reward(RewardSpec(engine="reward", model=str(tmp_path / "reward"), device="cpu"))
    rows = rollouts(tmp_path / "out" / "rollouts")[:8]
    chats = [[*row["prompt"], {"role": "assistant", "content": row["completion"]}] for row in rows]
    for row, mine in zip(rows, engine.scores(chats), strict=True):
        assert row["reward"] == pytest.approx(mine - 0.5 * len(row["completion"].split()), abs=1e-4)
    pair = PAIRS[0]
    better, worse = engine.scores(
        [[user(question(*pair)), {"role": "assistant", "content": text(*pair)}] for text in (good, bad)]
    )
    assert better > worse


@flow
@pytest.mark.parametrize(
    "lora",
    [pytest.param(None, id="whole"), pytest.param(Lora(r=4, dropout=0.1), id="lora", marks=pytest.mark.long)],
)
def test_a_killed_run_goes_on_to_the_weights_and_the_rows_of_a_straight_one(lora, view, base, tmp_path):
    given = config(epochs=3.0, lora=lora)
    line = arguments(Case, {"grpo": view}, base, tmp_path / "out", given)
    killed(line, tmp_path / ".out.partial", checkpoints=2)
    report = GRPO.train(view, base, tmp_path / "out", given)
    assert 0 < report.resumed_at < 24
    straight = GRPO.train(view, base, tmp_path / "straight", given)
    assert same(tmp_path / "out", tmp_path / "straight")
    assert history(tmp_path / "out") == history(tmp_path / "straight")
    mine, theirs = (rollouts(tmp_path / name / "rollouts") for name in ("out", "straight"))
    assert mine == theirs
    assert report.rollouts == straight.rollouts == 3 * 32 * 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "straight"]


@flow
def test_hacking_is_caught_and_its_answers_are_kept(view, base, tmp_path):
    """Length as the reward: answers grow, and the watch stops the training."""
    given = config(epochs=8.0, max_tokens=40, beta=1e-4, stop_when=OFF | {"length": 1.4})
    with pytest.raises(TrainingFailed, match=r"grpo: stopped at step \d+ of 64: reward .* stop_when.length allows 1.4"):
        GRPO.train(view, base, tmp_path / "out", given)
    rows = rollouts(tmp_path / "out.stopped")
    last = max(row["step"] for row in rows)
    assert len(rows) == last * 16
    assert [path.name for path in tmp_path.iterdir()] == ["out.stopped"]


@flow
def test_what_cannot_reward_or_be_drawn_is_refused(view, base, tmp_path):
    for changes, complaint in (
        ({"rules": {}}, r"reward_model: got none, and no rules"),
        ({"reward_model": base}, r"reward_model: engine.model: .* is no reward model"),
        ({"batch_size": 64, "warmup": 0.0}, r"grpo: got 32 prompts that leave room for 12 tokens"),
        ({"max_tokens": 60}, r"grpo: got 0 prompts that leave room for 60 tokens"),
    ):
        with pytest.raises(TrainError, match=complaint):
            GRPO.train(view, base, tmp_path / "out", config(**changes))
    assert list(tmp_path.iterdir()) == []

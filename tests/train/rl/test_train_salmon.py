"""A reward model that follows principles, and one that learns from people's pairs too."""

import json

import pytest
from train_cases import CASES, QUICK
from train_views import PAIRS, bad, good, question, soft_preference, write_view

from prompts import Library
from tasks.methods.registry import built_in
from tasks.train.config import TrainError
from tasks.train.dataset import read_principled, read_soft_preferences
from tasks.train.recipes import reward, salmon

SALMON = built_in().recipes["salmon"]


@pytest.fixture(scope="module")
def known_words(tmp_path_factory):
    """Words that the random model knows: `for` turns a principle round."""
    folder = tmp_path_factory.mktemp("principled")
    (folder / "score").mkdir()
    turns = [
        {"role": "user", "content": "{{ instruction }}{% if negated %} for{% endif %} {{ principle }}"},
        {"each": "answers", "turns": [{"role": "assistant", "content": "{{ item }}"}]},
    ]
    prompt = {
        "id": "score/principled",
        "about": "for tests",
        "variables": ["instruction", "answers", "principle", "negated"],
    }
    (folder / "score" / "principled.yaml").write_text(json.dumps(prompt | {"messages": turns}))
    return folder


def principled(pair):
    return soft_preference(pair) | {"p": 0.95, "principle": "here"}


def test_a_negated_principle_turns_its_pair_round(known_words, tmp_path):
    rows = read_principled(write_view(tmp_path / "view", [principled(pair) for pair in PAIRS]))
    prompt = Library("full", known_words).prompt("score/principled")
    made = salmon.examples(prompt, rows, SALMON.config(overlay=known_words, negated=0.5))
    turned = 0
    for pair, row in zip(PAIRS, made, strict=True):
        text, sides = row["prompt"][-1]["content"], [row["chosen"][0]["content"], row["rejected"][0]["content"]]
        if text == f"{question(*pair)} for here":
            turned += 1
            assert sides == [bad(*pair), good(*pair)]
        else:
            assert (text, sides) == (f"{question(*pair)} here", [good(*pair), bad(*pair)])
        assert row["p"] == 0.95
    assert 8 < turned < 24
    plain = salmon.examples(prompt, rows, SALMON.config(overlay=known_words, negated=0.0))
    assert all(row["chosen"] == one["chosen"] for row, one in zip(plain, rows, strict=True))


@pytest.mark.flow
def test_turning_a_principle_round_turns_the_ranking_round(known_words, base, tmp_path):
    from tasks.engines.specs import RewardSpec
    from tasks.engines.transformers.reward import load_reward

    view = write_view(tmp_path / "view", [principled(pair) for pair in PAIRS[:24] for _ in range(4)])
    settings = QUICK | {"epochs": 12.0, "overlay": known_words, "learning_rate": 3e-3}
    SALMON.train(view, base, tmp_path / "out", SALMON.config(**settings))
    engine = load_reward(RewardSpec(engine="reward", model=str(tmp_path / "out"), device="cpu"))
    prompt = Library("full", known_words).prompt("score/principled")
    for pair in PAIRS[24:]:  # not in its rows
        for negated in (False, True):
            asked = salmon.sent(prompt, question(*pair), "here", negated)
            chats = [[*asked, {"role": "assistant", "content": text(*pair)}] for text in (good, bad)]
            better, worse = engine.scores(chats)
            assert (better > worse) is not negated, (pair, negated, better, worse)


def of_both(human):
    """A view with so many pairs that a user brought, among the model's own."""
    ids = ["given"] * human + ["harm"] * (len(PAIRS) - human)
    return [soft_preference(pair) | {"principle_id": id} for pair, id in zip(PAIRS, ids, strict=True)]


def test_peoples_pairs_and_the_models_own_are_mixed_by_their_shares(tmp_path):
    rows = read_soft_preferences(write_view(tmp_path / "view", of_both(8)))

    def counts(share):
        made = reward.mixed(rows, reward.Config(human_share=share))
        assert len({json.dumps(row) for row in made}) == len(made), "nothing is taken twice"
        assert made == reward.mixed(rows, reward.Config(human_share=share)), "drawn by the seed"
        return [sum(row["origin"] == name for row in made) for name in ("human", "ai")]

    assert counts(None) == [8, 24]
    assert counts(0.5) == [8, 8]
    assert counts(0.25) == [8, 24]
    assert counts(0.1) == [3, 24]
    own = read_soft_preferences(write_view(tmp_path / "own", of_both(0)))
    with pytest.raises(TrainError, match=r"human_share: got 0.5, but of 32 rows none is human; bring pairs"):
        reward.mixed(own, reward.Config(human_share=0.5))


@pytest.mark.flow
def test_the_report_says_how_many_of_each_origin_were_learnt(base, tmp_path):
    view = {"reward": write_view(tmp_path / "view", of_both(8))}
    given = CASES["reward"].config(None, human_share=0.5)
    report = CASES["reward"].train(view, base, tmp_path / "out", given)
    assert report.origins == {"human": 8, "ai": 8}
    assert report.rows == 16

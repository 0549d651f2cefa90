"""An inspector learns to tell answers from their corrections, each by itself."""

import json
import math

import pytest
import torch
from train_cases import QUICK
from train_views import PAIRS, bad, correction, good, question, write_view

from tasks.methods.registry import built_in
from tasks.train.config import TrainError
from tasks.train.losses import fit_or_not
from tasks.train.recipes.inspector import examples

INSPECTOR = built_in().recipes["inspector"]


def test_the_loss_by_hand():
    # −log σ(2) = .126928, −log σ(−(−1)) = .313262: their mean is .220095. A shift of both is no longer free.
    def loss(chosen, rejected):
        return fit_or_not(torch.tensor([chosen]), torch.tensor([rejected]), torch.ones(1)).item()

    assert loss(2.0, -1.0) == pytest.approx((0.126928 + 0.313262) / 2, abs=1e-6)
    assert loss(0.0, 0.0) == pytest.approx(math.log(2))
    assert loss(12.0, 9.0) > loss(2.0, -1.0), "where Bradley and Terry's loss is the same"


def test_copies_are_left_out_and_a_view_of_copies_alone_is_refused(base, tmp_path):
    copy = correction(PAIRS[0], None) | {"correction": bad(*PAIRS[0])}
    (row,) = examples([copy, correction(PAIRS[1], None)])
    assert row["chosen"] == [{"role": "assistant", "content": good(*PAIRS[1])}]
    assert row["rejected"] == [{"role": "assistant", "content": bad(*PAIRS[1])}]
    view = write_view(tmp_path / "view", [copy])
    with pytest.raises(TrainError, match="correction: got 1 rows, all of which repeat their answer"):
        INSPECTOR.train(view, base, tmp_path / "out", INSPECTOR.config(**QUICK))


@pytest.mark.flow
def test_what_it_scores_below_a_half_needs_correction(base, tmp_path):
    from tasks.engines.specs import RewardSpec
    from tasks.engines.transformers.reward import load_reward

    rows = [correction(pair, None) for pair in PAIRS[:24]]
    view = write_view(tmp_path / "view", [*rows, rows[0] | {"correction": rows[0]["answer"]}])
    INSPECTOR.train(view, base, tmp_path / "out", INSPECTOR.config(**(QUICK | {"epochs": 8.0})))
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert (report["rows"], report["dropped"]) == (24, 1)
    engine = load_reward(RewardSpec(engine="reward", model=str(tmp_path / "out"), device="cpu"))
    for pair in PAIRS[24:]:  # not in its rows
        prompt = [{"role": "user", "content": question(*pair)}]
        fit, unfit = engine.scores([[*prompt, {"role": "assistant", "content": text(*pair)}] for text in (good, bad)])
        assert fit > 0 > unfit, "logits: one half is at zero"

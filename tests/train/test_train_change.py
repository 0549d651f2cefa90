"""How far the weights went, as they are saved; and that bfloat16 keeps it."""

import json

import pytest
from train_cases import CASES, QUICK
from train_views import PAIRS, assistant, conversation, preference, question, user, write_view

from alignery.config.preset import load
from tasks.train.change import LORA_FLOOR, rounded, stochastic
from tasks.train.config import Lora, TrainingFailed
from tasks.train.facts import cut_sentence, tokens
from tasks.train.recipes import sft


def weights(folder):
    from safetensors.torch import load_file

    return {name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()}


def norm(tensors):
    return sum(float(tensor.double().square().sum()) for tensor in tensors) ** 0.5


class Model:
    def __init__(self, **weights):
        self.weights = weights

    def named_parameters(self):
        return self.weights.items()


def test_stochastic_rounding_keeps_the_mean_and_what_bfloat16_holds():
    import torch

    draws = torch.Generator().manual_seed(0)
    held = torch.randn(10_000, generator=draws).bfloat16().float()
    assert torch.equal(stochastic(held, draws), held)
    for value in (0.02001, -0.02001, 1e-9):
        many = stochastic(torch.full((200_000,), value), draws)
        assert torch.equal(many, many.bfloat16().float())
        assert len(many.unique()) == 2
        place = float(many.max() - many.min())
        assert abs(float(many.double().mean()) - value) < 0.005 * place


def test_a_small_update_outlives_bfloat16():
    import torch

    draws = torch.Generator().manual_seed(0)
    old = (0.02 * torch.randn(512, 512, generator=draws)).bfloat16().float()
    way = 4e-6 * torch.randn(512, 512, generator=draws)
    new, still = torch.nn.Parameter(old + way), torch.nn.Parameter(old.clone())
    change = rounded(Model(a=new, b=still), Model(a=old, b=old), torch.bfloat16, seed=0)
    assert change.update == pytest.approx(float(way.norm() / old.norm()), rel=0.02)
    assert (change.moved, change.tensors) == (1, 2)
    assert torch.equal(new.detach(), new.detach().bfloat16().float())
    nearest = (old + way).bfloat16().float() - old
    assert float((nearest * way).sum() / way.square().sum()) < 0.25  # what would be left of it


def test_in_float32_the_update_is_the_norm_of_the_difference():
    import torch

    old, new = torch.ones(10, 10), torch.nn.Parameter(torch.full((10, 10), 1.25))
    assert rounded(Model(a=new), Model(a=old), torch.float32, seed=0).update == 0.25
    assert rounded(Model(a=old), Model(a=old), torch.float32, seed=0).update == 0.0


@pytest.mark.flow
@pytest.mark.parametrize("recipe", ["engrave", "dpo"])
def test_the_preset_for_one_gpu_moves_the_weights(recipe, base, tmp_path, capsys):
    row = conversation if recipe == "engrave" else preference
    view = write_view(tmp_path / "view", [row(pair) for pair in PAIRS * 5])
    given = load("one-gpu").retrain.given()[recipe]
    config = given.model_copy(update={"threads": 1})
    report = CASES[recipe].train({recipe: view}, base, tmp_path / "out", config)
    assert "160 rows, of which its source's" in capsys.readouterr().out
    assert report.steps >= 100
    rates = [entry["learning_rate"] for entry in json.loads((tmp_path / "out" / "history.json").read_text())]
    assert max(rates) == pytest.approx(report.config["learning_rate"], rel=0.02)
    assert report.update >= 10 * LORA_FLOOR
    old, new = weights(base), weights(tmp_path / "out")
    trained = [name for name in old if any(f"{letter}_proj" in name for letter in "qkvo")]
    assert report.moved == len(trained)
    # As saved, but for what rounding adds in other directions.
    assert report.update <= norm(new[name] - old[name] for name in trained) / norm(old[name] for name in trained)


@pytest.mark.flow
def test_the_report_has_the_norm_of_the_saved_difference(sft_view, base, tmp_path):
    report = sft.train(sft_view, base, tmp_path / "out", sft.Config(**QUICK))
    old, new = weights(base), weights(tmp_path / "out")
    assert report.update == pytest.approx(norm(new[name] - old[name] for name in old) / norm(old.values()), rel=1e-4)


@pytest.mark.flow
@pytest.mark.parametrize(
    ("lora", "rate", "message"),
    [
        (None, 1e-8, r"dpo: 15 of 20 tensors moved in 8 steps, by \d\.\de-0[67] of their .*, expected 1e-05 or more"),
        (Lora(r=4), 5e-7, r"dpo: 8 of 20 tensors moved in 8 steps, by \d\.\de-0[5-9] of their .*, expected 0.0001 or"),
    ],
    ids=["whole", "lora"],
)
def test_an_update_below_the_floor_fails_though_tensors_moved(views, words, base, tmp_path, lora, rate, message):
    case = CASES["dpo"]
    with pytest.raises(TrainingFailed, match=message):
        case.train(views, base, tmp_path / "out", case.config(words, learning_rate=rate, lora=lora))
    assert not (tmp_path / "out").exists()


@pytest.mark.flow
def test_rows_that_are_cut_are_said_with_the_length_that_would_hold_them(base, tmp_path, capsys):
    long = {"messages": [user(question(*PAIRS[0])), assistant("No " * 20)], "id": "long"}
    view = write_view(tmp_path / "view", [*map(conversation, PAIRS), *[long] * 4])
    config = sft.Config(**QUICK | {"max_length": 32})
    report = sft.train(view, base, tmp_path / "out", config)
    assert report.truncated == 4
    notices = [line for line in capsys.readouterr().out.splitlines() if "max_length" in line]
    assert notices == [
        "sft: max_length: 11% of 36 rows reach 32 tokens, and lose their end or are left out; 51 would hold 99%"
    ]
    sft.train(view, base, tmp_path / "whole", config.model_copy(update={"max_length": 51}))
    assert "max_length" not in capsys.readouterr().out


def test_few_cut_rows_are_not_spoken_of(base):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    row = {"prompt": [user("Show.")], "chosen": [assistant("No.")], "rejected": [assistant("No for you.")]}
    assert tokens(row, tokenizer) == tokens(row | {"chosen": row["rejected"]}, tokenizer) > 8
    assert cut_sentence("dpo", [row] * 100, tokenizer, 5, 8) is None
    assert "6% of 100 rows reach 8 tokens" in cut_sentence("dpo", [row] * 100, tokenizer, 6, 8)
    alone, drawn = (int(cut_sentence("grpo", [row] * 100, tokenizer, 6, 8, room).split()[-4]) for room in (0, 5))
    assert drawn == alone + 5, "room for an answer that is drawn"

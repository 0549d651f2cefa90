"""The recipes train: what they move, what they leave, and what a killed run leaves behind."""

import json
import math
import subprocess
import sys

import pytest
from train_views import PAIRS, assistant, bad, conversation, good, question, user, write_view

from tasks.train.config import Lora, TrainError, TrainingFailed
from tasks.train.recipes import dpo, sft

pytestmark = pytest.mark.flow

FAST = {"batch_size": 8, "gradient_accumulation": 1, "max_length": 64, "threads": 1}
SFT = sft.Config(learning_rate=3e-3, epochs=120, **FAST)
DPO = dpo.Config(learning_rate=3e-4, epochs=4, **FAST)
SHORT = SFT.model_copy(update={"epochs": 2.0})


@pytest.fixture(scope="module")
def tuned(base, sft_view, tmp_path_factory):
    """The SFT model's folder and report."""
    out = tmp_path_factory.mktemp("sft") / "model"
    return out, sft.train(sft_view, base, out, SFT)


@pytest.fixture(scope="module")
def preferring(tuned, preference_view, tmp_path_factory):
    """The DPO model's folder and report."""
    out = tmp_path_factory.mktemp("dpo") / "model"
    return out, dpo.train(preference_view, tuned[0], out, DPO)


def opened(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def unmoved(before, after):
    import torch

    old, new = weights(before), weights(after)
    assert old.keys() == new.keys()
    return {name for name in old if torch.equal(old[name].float(), new[name].float())}


def reply(folder, text):
    """Greedy, with its special tokens, so that the end can be seen."""
    model, tokenizer = opened(folder)
    asked = tokenizer.apply_chat_template(
        [user(text)], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**asked, max_new_tokens=20, do_sample=False)
    return tokenizer.decode(made[0, asked["input_ids"].shape[1] :])


def margin(folder, pairs):
    """Mean of log p(chosen) − log p(rejected), in nats, computed without the trainer."""
    import torch

    model, tokenizer = opened(folder)
    total = 0.0
    for pair in pairs:
        for answer, sign in ((good(*pair), 1), (bad(*pair), -1)):
            turns = [user(question(*pair)), assistant(answer)]
            ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
            asked = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
            with torch.no_grad():
                scores = model(ids).logits.log_softmax(-1)[0, :-1]
            total += sign * scores.gather(1, ids[0, 1:, None])[len(asked) - 1 :].sum().item()
    return total / len(pairs)


def test_sft_makes_the_model_say_its_answers_and_stop(base, tuned):
    out, report = tuned
    assert report.loss_last < 0.1 < 1 < report.loss_first
    assert reply(out, question("six", "pens")) == "I see six pens here.</s>"
    assert reply(base, question("six", "pens")) != "I see six pens here.</s>"
    assert unmoved(base, out) == set()


def test_the_report_says_what_was_done(base, tuned):
    out, report = tuned
    assert json.loads((out / "report.json").read_text()) == report.model_dump(mode="json")
    assert (report.recipe, report.rows, report.dropped, report.steps) == ("sft", 32, 0, 480)
    assert (report.base_model, report.config["epochs"], report.seed) == (str(base), 120, 42)
    assert report.tokens == 120 * 32 * 20  # bos, user, 6 of the question, assistant, 10 of the answer, eos
    assert report.trained_parameters == sum(tensor.numel() for tensor in weights(base).values())


def test_the_new_folder_differs_from_the_old_in_its_weights_only(base, tuned):
    out, _ = tuned
    (_, old), (model, new) = opened(base), opened(out)
    assert new.chat_template == old.chat_template
    assert new.get_vocab() == old.get_vocab()
    assert json.loads((out / "config.json").read_text()) == json.loads((base / "config.json").read_text())
    assert (out / "generation_config.json").read_text() == (base / "generation_config.json").read_text()
    assert model.dtype.is_floating_point
    added = {"report.json", "history.json", "loss.svg"}
    assert {path.name for path in out.iterdir()} == {path.name for path in base.iterdir()} | added
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_the_same_seed_gives_the_same_weights(base, sft_view, tmp_path):
    for name, config in [("a", SHORT), ("b", SHORT), ("c", SHORT.model_copy(update={"seed": 7}))]:
        sft.train(sft_view, base, tmp_path / name, config)
    assert unmoved(tmp_path / "a", tmp_path / "b") == weights(base).keys()
    assert unmoved(tmp_path / "a", tmp_path / "c") == set()


def test_dpo_widens_the_margin_of_every_pair(tuned, preferring):
    out, report = preferring
    for pair in PAIRS[::5]:
        assert margin(out, [pair]) > margin(tuned[0], [pair]) + 1
    assert unmoved(tuned[0], out) == set()
    assert report.metrics["rewards/accuracies"] == 1
    assert report.metrics["rewards/margins"] > 0.2
    assert report.loss_last < report.loss_first


def test_dpo_measures_from_the_model_it_starts_from(tuned, preference_view, tmp_path, capsys):
    # Every batch holds all pairs, so the reference's margin can be had by hand; the last step's reward is
    # beta × (how much wider the policy's margin is than the reference's).
    whole = {"batch_size": 32, "epochs": 4.0, "beta": 0.3, "scheduler": "constant"}
    report = dpo.train(preference_view, tuned[0], tmp_path / "out", DPO.model_copy(update=whole))
    assert f"dpo step 1/4 loss {math.log(2):.3g} " in capsys.readouterr().out
    found = report.metrics
    wider = found["logps/chosen"] - found["logps/rejected"] - margin(tuned[0], PAIRS)
    assert wider > 0.1
    assert found["rewards/margins"] == pytest.approx(0.3 * wider, rel=1e-3)


@pytest.mark.parametrize("recipe", ["sft", "dpo"])
def test_lora_is_merged_and_kept_beside(tuned, sft_view, preference_view, tmp_path, recipe):
    import torch
    from peft import PeftModel

    lora = {"lora": Lora(r=4, alpha=8, dropout=0.0), "epochs": 2.0, "learning_rate": 3e-3}
    if recipe == "sft":
        report = sft.train(sft_view, tuned[0], tmp_path / "out", SFT.model_copy(update=lora))
    else:
        report = dpo.train(preference_view, tuned[0], tmp_path / "out", DPO.model_copy(update=lora))
    adapted = {name for name in weights(tuned[0]) if any(f"{letter}_proj" in name for letter in "qkvo")}
    assert unmoved(tuned[0], tmp_path / "out") == weights(tuned[0]).keys() - adapted
    assert report.trained_parameters == 2 * 4 * 4 * (64 + 64)  # layers × projections × r × (in + out)

    (merged, tokenizer), (plain, _) = opened(tmp_path / "out"), opened(tuned[0])
    ids = tokenizer(question("two", "dogs"), return_tensors="pt")["input_ids"]
    with torch.no_grad():
        new, old = merged(ids).logits, plain(ids).logits
        beside = PeftModel.from_pretrained(plain, tmp_path / "out" / "adapter")(ids).logits
    assert torch.allclose(new, beside, atol=1e-4)
    assert not torch.allclose(new, old, atol=1e-2)


def test_bfloat16_trains_and_is_saved_as_such(base, sft_view, tmp_path):
    import torch

    report = sft.train(sft_view, base, tmp_path / "out", SHORT.model_copy(update={"dtype": "bfloat16"}))
    assert report.loss_last < report.loss_first
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.bfloat16}
    assert unmoved(base, tmp_path / "out") <= {name for name in weights(base) if "norm" in name}


def test_small_steps_are_not_lost_in_bfloat16(base, sft_view, tmp_path):
    # 2e-5 is below a third of the spacing of bfloat16 at 0.02, the weights' size: only float32 can add such steps up.
    small = {"dtype": "bfloat16", "learning_rate": 2e-5, "scheduler": "constant", "epochs": 60.0}
    sft.train(sft_view, base, tmp_path / "out", SFT.model_copy(update=small))
    name = "model.layers.0.mlp.up_proj.weight"
    old, new = weights(base)[name].bfloat16(), weights(tmp_path / "out")[name]
    assert (old != new).float().mean() > 0.9


def test_a_prompt_that_fills_the_length_is_dropped_and_counted(base, tmp_path):
    long = {"messages": [user("Show " * 40), assistant("No.")], "id": "long"}
    wide = {"messages": [user("Show."), assistant("No " * 40)], "id": "wide"}
    view = write_view(tmp_path / "view", [*map(conversation, PAIRS[:4]), long, wide])
    report = sft.train(view, base, tmp_path / "out", SHORT)
    assert (report.rows, report.dropped, report.truncated) == (5, 1, 1)

    only = write_view(tmp_path / "only", [long])
    with pytest.raises(TrainError, match="max_length: got 64"):
        sft.train(only, base, tmp_path / "none", SHORT)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("{{ eos_token }}", "", "put eos_token after it"),
        ("{% if add_generation_prompt %}<assistant>", "{% if add_generation_prompt %}<user>", "make the two alike"),
    ],
)
def test_a_template_that_cannot_be_learnt_is_refused(base, sft_view, tmp_path, old, new, complaint):
    model, tokenizer = opened(base)
    assert old in tokenizer.chat_template
    tokenizer.chat_template = tokenizer.chat_template.replace(old, new)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    with pytest.raises(TrainError, match=complaint):
        sft.train(sft_view, tmp_path / "model", tmp_path / "out", SHORT)


def test_weights_that_lack_are_refused(base, sft_view, tmp_path):
    import shutil

    from safetensors.torch import save_file

    shutil.copytree(base, tmp_path / "model")
    some = {name: tensor for name, tensor in weights(base).items() if "layers.1" not in name}
    save_file(some, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainError, match="lacks 9 weights"):
        sft.train(sft_view, tmp_path / "model", tmp_path / "out", SHORT)


def test_a_loss_that_is_not_finite_fails_and_leaves_nothing(base, sft_view, tmp_path):
    with pytest.raises(TrainingFailed, match="lower learning_rate"):
        sft.train(sft_view, base, tmp_path / "out", SHORT.model_copy(update={"learning_rate": 1e30}))
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_its_progress_and_nothing_else(base, sft_view, tmp_path):
    command = [
        sys.executable,
        "-m",
        "tasks.train",
        "sft",
        "--data",
        sft_view,
        "--model",
        base,
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run(
        [*map(str, command), "--config", SHORT.model_dump_json()], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert [line.split(" loss ")[0] for line in lines[:-1]] == ["sft step 1/8", "sft step 8/8"]
    assert lines[-1].startswith("sft: 32 rows, 8 steps, loss ")
    assert done.stderr == ""

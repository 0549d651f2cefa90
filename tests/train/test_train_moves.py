"""What a recipe trains, what it leaves, and on which tokens: every recipe, on the random model."""

import json

import pytest
from train_cases import ALL, CASES, LISTS, ROUTES, TWICE
from train_views import PAIRS, assistant, bad, good, question, rewrite, user

from tasks.train.config import Lora, TrainError, TrainingFailed
from tasks.train.dataset import read_soft_preferences
from tasks.train.losses import soft_bradley_terry
from tasks.train.recipes.preferences.lists import Answers

pytestmark = pytest.mark.flow

# Supervised fine-tuning on other rows than engrave's: what the loss covers is theirs, the rest is engrave's.
ROWS = ("verbose", "constitutional_sft", "raft", "chain_of_thought", "dialogue", "tagged", "rewriter", *ROUTES)
TRAINED = [case for case in ALL if case.name not in ROWS]
every = pytest.mark.parametrize("case", TRAINED, ids=lambda case: case.name)
lists = pytest.mark.parametrize("case", LISTS, ids=lambda case: case.name)
# Those of TRL's trainers of one answer or a pair; kto has another batch for its reference point.
answering = pytest.mark.parametrize(
    "case",
    [case for case in ALL if case not in LISTS and case.name not in ("reward", "kto")],
    ids=lambda case: case.name,
)
shared = pytest.mark.parametrize("case", [case for case in TRAINED if case.name != "kto"], ids=lambda case: case.name)


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def unmoved(before, after):
    import torch

    old, new = weights(before), weights(after)
    return {name for name in old.keys() & new.keys() if torch.equal(old[name].float(), new[name].float())}


@every
def test_every_tensor_moves(case, views, words, base, tmp_path):
    report = case.train(views, base, tmp_path / "out", case.config(words))
    assert unmoved(base, tmp_path / "out") == set()
    new = set(weights(tmp_path / "out")) - set(weights(base))
    assert new == ({"score.weight"} if case.name == "reward" else set())
    assert report.moved == report.tensors == len(weights(tmp_path / "out"))
    assert report.loss_last < report.loss_first
    times = 2 if case.name in TWICE else 1
    assert (report.recipe, report.base_model, report.rows) == (case.name, str(base), times * 32)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(json.loads((tmp_path / "out" / "history.json").read_text())) == report.steps == times * 8


@every
def test_under_lora_the_adapted_weights_alone_move(case, views, words, base, tmp_path):
    # As gradient tensors, before the adapter is merged: the adapter's own and, for a reward, its head.
    config = case.config(words, lora=Lora(r=4, alpha=8, dropout=0.0))
    report = case.train(views, base, tmp_path / "out", config)
    adapted = {name for name in weights(base) if any(f"{letter}_proj" in name for letter in "qkvo")}
    assert unmoved(base, tmp_path / "out") == weights(base).keys() - adapted
    head = 64 if case.name == "reward" else 0
    assert report.trained_parameters == 2 * 4 * 4 * (64 + 64) + head
    assert report.moved == len(adapted) + (case.name == "reward")
    trainer, _, _ = case.trainer(views, base, tmp_path, config)
    moving = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert moving
    assert all("lora_" in name or "score" in name for name in moving)


@shared
def test_a_batch_of_8_is_8_batches_of_1(case, views, words, base, tmp_path):
    shared = {"epochs": 10.0 if case.name == "aligner" else 3.0}  # fewer steps, its warm-up's too, are refused
    one = shared | {"batch_size": 1, "gradient_accumulation": 8}
    case.train(views, base, tmp_path / "whole", case.config(words, **shared))
    case.train(views, base, tmp_path / "split", case.config(words, **one))
    old, whole, split = (weights(folder) for folder in (base, tmp_path / "whole", tmp_path / "split"))
    for name in old:
        way = (whole[name] - old[name]).norm()
        # Adam makes much of what rounding leaves; a loss that is shared out wrongly is off by a tenth and more.
        assert (whole[name] - split[name]).norm() < 1e-2 * way, name


@answering
def test_the_loss_falls_on_the_reply_and_its_end_alone(case, views, words, base, tmp_path):
    # By the loss's slope at what foretells each token: not zero before the reply's tokens, exactly zero elsewhere.
    import torch

    trainer, tokenizer, rows = case.trainer(views, base, tmp_path, case.config(words))
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(3)])
    seen = []
    trainer.model.model.register_forward_hook(lambda module, given, made: seen.append(made.last_hidden_state))
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    (slope,) = torch.autograd.grad(loss, seen[0])
    slope = slope.abs().sum(-1)
    learnt = batch["labels"] != -100 if "labels" in batch else batch["completion_mask"].bool()
    assert ((slope > 0)[:, :-1] == learnt[:, 1:]).all()
    assert learnt.any(1).all()
    ids = batch["input_ids"]
    replies = [tokenizer.decode(row[mask]) for row, mask in zip(ids, learnt, strict=True)]
    asked = [tokenizer.decode(row[~mask & (row != 2)]) for row, mask in zip(ids, learnt, strict=True)]
    expected = [f"{good(*pair)}</s>" for pair in PAIRS[:3]] + [f"{bad(*pair)}</s>" for pair in PAIRS[:3]]
    if case.name == "aligner":
        assert replies == [f" {good(*pair)}</s>" for pair in PAIRS[:3]]
        assert asked == [f"{question(*pair)} No {bad(*pair)} see" for pair in PAIRS[:3]]
    elif case.name == "rewriter":
        assert replies == [f" {rewrite(pair)['optimized_prompt']}</s>" for pair in PAIRS[:3]]
        assert asked == [f"{question(*pair)} for" for pair in PAIRS[:3]]
    elif case.name in ("hindsight", "tagged"):
        prompts = [row["prompt"] for row in rows[:3]]
        assert replies == [f"{row['completion'][0]['content']}</s>" for row in rows[:3]]
        assert asked == tokenizer.apply_chat_template(prompts, tokenize=False, add_generation_prompt=True)
    else:
        assert replies == expected[: len(replies)]
        assert asked == [f"<s><user>{question(*pair)}<assistant>" for pair in PAIRS[:3]] * (len(replies) // 3)
    if not case.name.startswith("dpo"):
        scores = trainer.model.lm_head(seen[0]).log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None]).squeeze(-1)
        assert loss.item() == pytest.approx(-scores[learnt[:, 1:]].mean().item(), rel=1e-5)


@lists
def test_the_loss_of_a_list_falls_on_the_answers_alone(case, views, words, base, tmp_path):
    import torch

    trainer, tokenizer, _ = case.trainer(views, base, tmp_path, case.config(words))
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(3)])
    seen = []
    trainer.model.model.register_forward_hook(lambda module, given, made: seen.append(made.last_hidden_state))
    loss = trainer.compute_loss(trainer.model.train(), dict(batch))
    (slope,) = torch.autograd.grad(loss, seen[0])
    learnt = batch["completion_mask"].bool()
    assert not (slope.abs().sum(-1) > 0)[:, :-1][~learnt[:, 1:]].any()
    best = [sum(batch["sizes"][:n].tolist()) for n in range(3)]  # the first of each prompt
    assert (slope.abs().sum(-1) > 0)[best, :-1][learnt[best, 1:]].all()
    replies = [tokenizer.decode(batch["input_ids"][n][learnt[n]]) for n in best]
    assert replies == [f"{good(*pair)}</s>" for pair in PAIRS[:3]]


@lists
def test_the_loss_of_a_list_is_that_of_its_log_probabilities(case, views, words, base, tmp_path):
    """The mean over prompts; log-probabilities without the trainer, of answers in the order of the view."""
    import torch

    config = case.config(words)
    trainer, tokenizer, rows = case.trainer(views, base, tmp_path, config)
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(4)])
    losses = []
    for row in rows[:4]:
        asked = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        sums, counts = [], []
        for answer in row["responses"]:
            turns = row["prompt"] + answer
            ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
            with torch.no_grad():
                scores = trainer.model.eval()(ids).logits.log_softmax(-1)[0, :-1]
            logps = scores.gather(1, ids[0, 1:, None])[len(asked) - 1 :]
            sums.append(logps.sum().item())
            counts.append(len(logps))
        of = (torch.tensor(values, dtype=torch.float32) for values in (sums, counts, row["scores"], sums))
        losses.append(
            trainer.list_loss(Answers(*of)).item()
        )  # the reference is the model itself, before the first step
    found = trainer.compute_loss(trainer.model.eval(), dict(batch)).item()
    assert found == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_answers_of_the_same_tokens_and_prompts_of_one_answer_are_left_out(words, base, tmp_path):
    from train_views import ranked, write_view

    rows = [ranked(pair) for pair in PAIRS]
    rows[0]["responses"][2] = rows[0]["responses"][0]  # two left
    rows[1]["responses"] = [rows[1]["responses"][0]] * 3  # one left
    case = CASES["rrhf"]
    report = case.train({"rrhf": write_view(tmp_path / "view", rows)}, base, tmp_path / "out", case.config(words))
    assert (report.rows, report.dropped, report.identical) == (31, 1, 1)


def test_kto_refuses_a_forward_pass_of_one_answer(views, words, base, tmp_path):
    config = CASES["kto"].config(words, gradient_accumulation=None)  # 64 answers: as many steps as there can be
    with pytest.raises(TrainError, match=r"kto: batch_size: got 1 answer .* give batch_size"):
        CASES["kto"].train(views, base, tmp_path / "out", config)
    assert list(tmp_path.iterdir()) == []


def test_a_reward_is_read_at_the_end_token_and_its_loss_is_soft(views, words, base, tmp_path):
    import torch

    case = CASES["reward"]
    trainer, tokenizer, rows = case.trainer(views, base, tmp_path, case.config(words))
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(4)])
    assert batch["p"].tolist() == pytest.approx([0.95, 0.85, 0.75, 0.65])
    loss = trainer.compute_loss(trainer.model.eval(), dict(batch)).item()
    rewards = {}
    for side in ("chosen", "rejected"):
        for row in rows[:4]:
            ids = tokenizer.apply_chat_template(row["prompt"] + row[side], return_tensors="pt", return_dict=True)
            with torch.no_grad():
                hidden = trainer.model.model(ids["input_ids"]).last_hidden_state[0, -1]
            rewards.setdefault(side, []).append(trainer.model.score(hidden).item())
    by_hand = soft_bradley_terry(*(torch.tensor(rewards[side]) for side in ("chosen", "rejected")), batch["p"])
    assert loss == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_trained_reward_is_as_sure_as_the_judge_was(views, words, base, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    case = CASES["reward"]
    case.train(views, base, tmp_path / "out", case.config(words, epochs=60.0, learning_rate=1e-3))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert model.config.num_labels == 1
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    for row in read_soft_preferences(views["reward"])[:8]:
        with torch.no_grad():
            good, bad = (
                model(
                    **tokenizer.apply_chat_template(row["prompt"] + row[side], return_tensors="pt", return_dict=True)
                ).logits
                for side in ("chosen", "rejected")
            )
        assert torch.sigmoid(good - bad).item() == pytest.approx(row["p"], abs=0.05)


def test_an_aligner_is_warmed_up_on_copies_of_a_share(views, words, base, tmp_path, capsys):
    case = CASES["aligner"]
    case.train(views, base, tmp_path / "warm", case.config(words))
    output = capsys.readouterr().out
    assert "aligner warm-up step 2/2 loss" in output  # a quarter of 32 rows in batches of 8, twice
    assert "aligner step 8/8 loss" in output
    case.train(views, base, tmp_path / "cold", case.config(words, warm_up=0.0))
    assert "warm-up" not in capsys.readouterr().out
    assert unmoved(tmp_path / "warm", tmp_path / "cold") == set()


def test_corrections_under_other_words_are_left_out_and_counted(views, words, base, tmp_path):
    from train_views import correction, write_view

    from prompts import Library

    mine = Library("full", words).prompt("aligner/correct").hash
    rows = [correction(pair, mine if number % 4 else "other") for number, pair in enumerate(PAIRS)]
    view = {"aligner": write_view(tmp_path / "view", rows)}
    case = CASES["aligner"]
    report = case.train(view, base, tmp_path / "out", case.config(words))
    assert (report.rows, report.dropped) == (24, 8)
    with pytest.raises(TrainError, match=r"template_id: got no row of 32 .* variant, overlay"):
        case.train(view, base, tmp_path / "none", case.config(None))
    assert not (tmp_path / "none").exists()


def test_revisions_were_made_under_no_template_and_are_all_taken(views, words, base, tmp_path):
    from train_views import correction, write_view

    view = {"aligner": write_view(tmp_path / "view", [correction(pair, None) for pair in PAIRS])}
    report = CASES["aligner"].train(view, base, tmp_path / "out", CASES["aligner"].config(words, view="qac_revised"))
    assert (report.rows, report.dropped) == (32, 0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_training_that_moves_nothing_fails_and_says_so(views, words, base, tmp_path, dtype):
    # In bfloat16 the steps are taken, and lost when the weights are saved.
    case, first = CASES["dpo"], tmp_path / "first"
    CASES["engrave"].train(views, base, first, CASES["engrave"].config(words, dtype=dtype))
    rate = 1e-30 if dtype == "float32" else 1e-12
    with pytest.raises(TrainingFailed, match=r"dpo: 0 of 20 tensors moved in 8 steps, .* raise learning_rate"):
        case.train(views, first, tmp_path / "out", case.config(words, dtype=dtype, learning_rate=rate))
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_four_bits_without_cuda_are_refused(views, words, base, tmp_path):
    import torch

    assert not torch.cuda.is_available(), "these tests are of a machine without a GPU"
    config = CASES["engrave"].config(words, lora={"four_bit": True})
    with pytest.raises(TrainError, match=r"lora.four_bit: got true, but there is no CUDA GPU"):
        CASES["engrave"].train(views, base, tmp_path / "out", config)


def test_the_words_are_those_that_the_engine_sends(tmp_path):
    """nano's Aligner: prompt tokens as in generation, in both kinds of template."""
    from pathlib import Path

    from transformers import AutoTokenizer

    from prompts import Library
    from tasks.engines.tokenization import encode
    from tasks.train.recipes.aligner import example

    tokenizer = AutoTokenizer.from_pretrained(Path(__file__).parents[2] / "nano/checkpoint")
    row = {"question": "Where do owls live?", "answer": "In the sea."}
    for variant in ("nano", "full"):
        prompt = Library(variant).prompt("aligner/correct")
        made = example(prompt, row, "In trees.")
        assert made["prompt"] == prompt.render(**row)
        asked = encode(tokenizer, made["prompt"])
        if variant == "nano":
            whole = tokenizer(made["prompt"] + made["completion"] + tokenizer.eos_token)["input_ids"]
            assert tokenizer.decode(whole[len(asked) :]) == " In trees.</s>"
        else:
            assert made["completion"] == [assistant("In trees.")]
            assert made["prompt"][-1] == user(made["prompt"][-1]["content"])
            whole = tokenizer.apply_chat_template(made["prompt"] + made["completion"], return_dict=True)["input_ids"]
        assert whole[: len(asked)] == asked

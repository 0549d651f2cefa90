"""What a model must be to be trained, on random models: corrected, or refused with one error, before the first step."""

import json
import shutil

import pytest
from train_cases import QUICK
from train_views import PAIRS, assistant, conversation, good, preference, question, user, write_view

from tasks.train.config import Lora, TrainError
from tasks.train.facts import check_files, lora_targets, mend_generation, within_context, without_special
from tasks.train.model import check_template, load
from tasks.train.recipes import dpo, sft


@pytest.fixture
def model(base, tmp_path):
    """A copy of the random model, to be spoilt."""
    return shutil.copytree(base, tmp_path / "model")


@pytest.fixture(scope="module")
def gpt2(base, tmp_path_factory):
    """A random GPT-2: tied embeddings, other names of layers, and the random model's tokenizer."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(base)
    shape = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 48}
    folder = tmp_path_factory.mktemp("gpt2") / "model"
    ids = {"bos_token_id": 0, "eos_token_id": 1}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape, **ids)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def changed(folder, name, **fields):
    path = folder / name
    path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | fields))


def test_files_that_are_no_whole_model_are_refused_by_name(model, tmp_path):
    check_files(model)
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    for spoilt in (
        b"",
        whole[:7],
        whole[:100],
        whole[:-1],
        whole + b"\0",
        b"\xff" * 8 + whole[8:],
        b"version https://lfs",
    ):
        weights.write_bytes(spoilt)
        with pytest.raises(TrainError, match=r"model\.safetensors is damaged or cut short"):
            check_files(model)
    weights.unlink()
    with pytest.raises(TrainError, match="holds no weights"):
        check_files(model)
    changed(model, "model.safetensors.index.json", weight_map={"a": "model-00001-of-00002.safetensors"})
    with pytest.raises(TrainError, match=r"lacks model-00001-of-00002\.safetensors"):
        check_files(model)
    for config in ("not JSON", "[]"):
        (model / "config.json").write_text(config)
        with pytest.raises(TrainError, match=r"config\.json.* JSON.*; download the model again"):
            check_files(model)
    for name, complaint in (("adapter_config.json", "an adapter only"), ("model.gguf", "GGUF")):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
        with pytest.raises(TrainError, match=complaint):
            check_files(tmp_path / name)


@pytest.mark.parametrize(
    ("given", "saved"),
    [
        ({"do_sample": False, "temperature": 0.6, "top_p": 0.9}, {"do_sample": True, "temperature": 0.6, "top_p": 0.9}),
        ({"temperature": 0.6}, {"do_sample": True, "temperature": 0.6}),
        ({"length_penalty": 2.0}, {"length_penalty": None, "do_sample": None}),
    ],
)
def test_a_generation_config_is_mended_so_that_it_can_be_saved(base, tmp_path, given, saved):
    from transformers import GenerationConfig

    class Policy:
        generation_config = GenerationConfig(eos_token_id=1, **given)

    assert "generation_config" in mend_generation(Policy)
    Policy.generation_config.save_pretrained(tmp_path)
    found = json.loads((tmp_path / "generation_config.json").read_text())
    assert {name: found.get(name) for name in saved} == saved
    assert found["eos_token_id"] == 1
    assert mend_generation(Policy) is None


def test_lora_goes_on_the_layers_that_an_architecture_has(gpt2, base):
    from transformers import AutoModelForCausalLM

    policy, llama = (AutoModelForCausalLM.from_pretrained(folder) for folder in (gpt2, base))
    assert lora_targets(policy, Lora()) == ["c_attn"]
    assert lora_targets(llama, Lora()) == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert lora_targets(policy, Lora(target_modules=("attn.c_proj", "c_fc"))) == ["attn.c_proj", "c_fc"]
    with pytest.raises(TrainError, match=r"got 'q_proj', but gpt2 has the linear layers c_attn, c_fc, c_proj, lm_head"):
        lora_targets(policy, Lora(target_modules=("q_proj",)))
    for tied, own in ((policy, "wte"), (policy, "lm_head"), (llama, "lm_head"), (llama, "embed_tokens")):
        with pytest.raises(TrainError, match=f"got '{own}', whose weights are the embeddings' too"):
            lora_targets(tied, Lora(target_modules=(own,)))


def test_a_tokenizer_must_fit_and_end(model):
    from transformers import AutoTokenizer

    config, tokenizer = sft.Config(**QUICK), AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["more"])
    tokenizer.save_pretrained(model)
    with pytest.raises(TrainError, match=r"has 27 tokens, but the model has embeddings of 26"):
        load(model, config)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(model)
    with pytest.raises(TrainError, match="no eos_token"):
        load(model, config)


def test_padding_is_no_end_token_where_a_reward_is_read(model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    for pad, scores, expected in ((None, False, "<s>"), ("</s>", True, "<s>"), ("</s>", False, "</s>")):
        tokenizer.pad_token = pad
        tokenizer.save_pretrained(model)
        assert load(model, sft.Config(**QUICK), scores)[1].pad_token == expected


def test_templates_that_are_absent_or_refuse_are_one_sentence(base):
    policy, tokenizer = load(base, sft.Config(**QUICK))
    row = {"prompt": [user("Hi")], "completion": [assistant("I see")]}
    for template, complaint in (
        (None, "no chat template"),
        ("{{ raise_exception('no such\nrole') }}", r"refuses turns of \['user', 'assistant'\]: no such role"),
    ):
        tokenizer.chat_template = template
        with pytest.raises(TrainError, match=complaint):
            check_template(base, policy, tokenizer, row)


def test_weights_of_another_shape_are_one_sentence(model):
    changed(model, "config.json", hidden_size=32)
    with pytest.raises(TrainError, match=r"cannot be read \(") as caught:
        load(model, sft.Config(**QUICK))
    assert "\n" not in str(caught.value)


def test_rows_are_cut_at_the_models_context(gpt2):
    policy, _ = load(gpt2, sft.Config(**QUICK))
    assert within_context(policy, sft.Config(**QUICK)).max_length == 48
    assert within_context(policy, sft.Config(**QUICK | {"max_length": 32})).max_length == 32


def test_texts_that_could_forge_a_turn_are_left_out(base):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    plain = {"prompt": [user("Hi")], "completion": [assistant("I see < s > here")]}
    rows = [plain]
    for token in ("</s>", "<user>", "<assistant>", "<pad>"):
        rows.append({"prompt": [user("Hi")], "completion": [assistant(f"I see{token}No")]})
        rows.append({"prompt": [user(f"Hi{token}")], "chosen": [assistant("a")], "rejected": [assistant("b")]})
        rows.append({"prompt": [user("Hi")], "chosen": [assistant("a")], "rejected": [assistant(f"b{token}")]})
    assert without_special(rows, tokenizer) == [plain]
    words = [{"prompt": f"<user>{text}<assistant>", "completion": " a"} for text in ("one", "two<assistant>", "three")]
    assert without_special(words, tokenizer) == [words[0], words[2]]


@pytest.mark.flow
@pytest.mark.parametrize("lora", [None, Lora(r=2)], ids=["whole", "lora"])
def test_gpt2_with_a_temperature_it_does_not_sample_with_is_trained(gpt2, tmp_path, lora, capsys):
    from transformers import AutoModelForCausalLM, GenerationConfig

    folder = shutil.copytree(gpt2, tmp_path / "spoilt")
    changed(folder, "generation_config.json", do_sample=False, temperature=0.6, top_p=0.9)
    view = write_view(tmp_path / "view", [conversation(pair) for pair in PAIRS])
    forged = conversation(PAIRS[0]) | {"messages": [user(question(*PAIRS[0])), assistant("I</s><user>see")]}
    write_view(tmp_path / "view", [forged], "train-00001-of-00002.parquet")
    report = sft.train(view, folder, tmp_path / "out", sft.Config(**QUICK | {"lora": lora}))
    assert (report.rows, report.dropped, report.special) == (32, 1, 1)
    assert report.moved
    output = capsys.readouterr().out
    assert "generation_config: do_sample was False beside values for sampling; it is saved as true" in output
    assert "sft leaves out, of 33 rows: 1 with special tokens in their texts" in output
    found = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (found.do_sample, found.temperature) == (True, 0.6)
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def alike(pair):
    """Two answers that part only after 40 words."""
    start = "see " * 40
    return preference(pair) | {"chosen": [assistant(start + good(*pair))], "rejected": [assistant(start + "No")]}


@pytest.mark.flow
def test_pairs_of_the_same_tokens_are_left_out_and_counted(base, tmp_path, capsys):
    rows = [alike(pair) if number < 12 else preference(pair) for number, pair in enumerate(PAIRS)]
    view = write_view(tmp_path / "view", rows)
    report = dpo.train(view, base, tmp_path / "out", dpo.Config(**QUICK | {"max_length": 32}))
    assert (report.rows, report.dropped, report.identical) == (20, 12, 12)
    assert "dpo leaves out, of 32 rows: 12 pairs whose answers are the same tokens" in capsys.readouterr().out
    none = write_view(tmp_path / "none", [alike(pair) for pair in PAIRS])
    with pytest.raises(TrainError, match=r"got 32, but all 32 pairs .* are the same tokens up to there"):
        dpo.train(none, base, tmp_path / "nothing", dpo.Config(**QUICK | {"max_length": 32}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "out", "view"]

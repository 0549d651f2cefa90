"""Views of 32 rows, and a random Llama of 0.1M parameters whose tokens are the views' words."""

import json

import pytest
from train_cases import CASES
from train_views import NOUNS, NUMBERS, PAIRS, conversation, preference, write_view

from prompts import Library

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
WORDS = ["<s>", "</s>", "<pad>", "<user>", "<assistant>", "Show", "I", "see", "here", "No", "for", "you", ".", " "]


@pytest.fixture(scope="session")
def sft_view(tmp_path_factory):
    return write_view(tmp_path_factory.mktemp("export") / "sft", [conversation(pair) for pair in PAIRS])


@pytest.fixture(scope="session")
def preference_view(tmp_path_factory):
    return write_view(tmp_path_factory.mktemp("export") / "preferences", [preference(pair) for pair in PAIRS])


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """A folder of words that the random model knows: to correct and to rewrite in, and of feedback."""
    folder = tmp_path_factory.mktemp("words")
    for name in ("aligner", "bpo", "hindsight"):
        (folder / name).mkdir()
    prompt = {"id": "aligner/correct", "about": "for tests", "variables": ["question", "answer"]}
    (folder / "aligner" / "correct.yaml").write_text(
        json.dumps(prompt | {"text": "{{ question }} No {{ answer }} see"})
    )
    prompt = {"id": "bpo/rewrite", "about": "for tests", "variables": ["instruction"], "text": "{{ instruction }} for"}
    (folder / "bpo" / "rewrite.yaml").write_text(json.dumps(prompt))
    phrases = {"join": " ", "phrases": [{"good": "I see", "bad": "No"}]}
    (folder / "hindsight" / "phrases.yaml").write_text(json.dumps(phrases))
    return folder


@pytest.fixture(scope="session")
def views(words, tmp_path_factory):
    """Recipe → the folder that it reads."""
    template = Library("full", words).prompt("aligner/correct").hash
    folder = tmp_path_factory.mktemp("views")
    return {
        name: write_view(folder / name, [case.row(pair, template) for pair in PAIRS]) for name, case in CASES.items()
    }


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The folder of the random model."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: place for place, word in enumerate([*WORDS, *NUMBERS, *NOUNS])}
    tokens = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokens.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+| |\."), behavior="isolated")
    tokens.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<user>", "<assistant>"],
        chat_template=TEMPLATE,
    )
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config = LlamaConfig(vocab_size=len(words), max_position_embeddings=64, tie_word_embeddings=True, **shape, **ids)
    folder = tmp_path_factory.mktemp("models") / "base"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

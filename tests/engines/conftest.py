"""A tiny random Llama with a one-character tokenizer, saved once a session: every engine test's model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama (d 64, 2 layers, grouped heads, context 256)."""
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a context of 1,024."""
    return make_tiny(tmp_path_factory.mktemp("wide"), max_position_embeddings=1024)


def make_tiny(folder: Path, **changes: int) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    special = ["<pad>", "<s>", "</s>"]
    # Printable ASCII, blank and line break as the byte-level alphabet writes them: whatever is drawn is a valid text.
    letters = [*map(chr, range(33, 127)), "Ġ", "Ċ"]
    words = {word: number for number, word in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", chat_template=CHAT
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {
        "vocab_size": len(words),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,  # of 32 each: vLLM's smallest on a CPU
        "num_key_value_heads": 1,
        "max_position_embeddings": 256,
    }
    config = LlamaConfig(**(sizes | changes), initializer_range=0.3, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def with_defaults() -> Callable[..., Path]:
    """Copies a model into a folder, with a generation_config.json that draws otherwise than any test asks for."""

    def copied(model: Path, folder: Path, **more: object) -> Path:
        copy = shutil.copytree(model, folder)
        config = json.loads((copy / "generation_config.json").read_text())
        config |= {"do_sample": True, "temperature": 0.01, "top_k": 1, "top_p": 0.01, "min_p": 0.9}
        config |= {"repetition_penalty": 9.0, "frequency_penalty": 2.0, "presence_penalty": 2.0, "max_new_tokens": 3}
        (copy / "generation_config.json").write_text(json.dumps(config | more))
        return copy

    return copied

"""Facts of a model folder that a training needs: checked, and where that is safe corrected, before the first step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.train.config import Lora, Row, Settings, TrainError

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_OFFER = 12  # names of layers in a message
_CUT = 0.05  # share of rows that are cut or left out for their length, above which it is said; our choice
_HELD = 0.99  # of the rows, which the length that is then named would hold


def check_files(folder: Path) -> None:
    """Refuse a folder whose files cannot be a model to train, before anything heavy is imported.

    Raises:
        TrainError: no config, an adapter or a GGUF file alone, no weights, or weights that were cut short.
    """
    config = folder / "config.json"
    if not config.is_file():
        if (folder / "adapter_config.json").is_file():
            fix = "merge it into its base (PEFT's merge_and_unload) and give the merged folder"
            raise TrainError(f"model: {folder} holds an adapter only, expected a whole model; {fix}")
        if folder.suffix == ".gguf" or any(folder.glob("*.gguf")):
            raise TrainError(f"model: {folder} is GGUF, which cannot be trained; give the model's safetensors folder")
        raise TrainError(f"model: got {folder}, expected a folder with config.json; download or train the model first")
    if not isinstance(_json(config), dict):
        raise TrainError(f"model: {config}: got no JSON object; download the model again")
    found = [path for pattern in _WEIGHTS for path in sorted(folder.glob(pattern))]
    if index := sorted(folder.glob("*.safetensors.index.json")):
        named = (_json(index[0]) or {}).get("weight_map", {})
        if missing := sorted({name for name in named.values() if not (folder / name).is_file()}):
            raise TrainError(f"model: {folder} lacks {missing[0]}, which {index[0].name} names; download it again")
    weights = [path for path in found if path.name != "adapter_model.safetensors"]
    if not weights:
        raise TrainError(f"model: {folder} holds no weights ({', '.join(_WEIGHTS)}); download or save the whole model")
    for path in weights:
        if path.suffix == ".safetensors":
            _check_whole(path)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, or of its encoding
        raise TrainError(f"model: {path} is not JSON; download the model again") from error


def _check_whole(path: Path) -> None:
    """A safetensors file says in its header where its last tensor ends: that must be where the file ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length) if 2 <= length <= size - 8 else b""
    try:
        ends = [entry["data_offsets"][1] for name, entry in json.loads(head).items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0) == size
    except (ValueError, AttributeError, KeyError, TypeError, IndexError):
        whole = False
    if not whole:
        raise TrainError(f"model: {path} is damaged or cut short ({size} bytes); download or save it again")


def mend_generation(policy: Any) -> str | None:
    """Make the generation config one that can be saved; returns what was changed, in words.

    Many models come with a temperature but `do_sample: false`, which transformers reads but refuses to write.
    """
    config = getattr(policy, "generation_config", None)
    if config is None or _valid(config):
        return None
    was, config.do_sample = config.do_sample, True  # its temperature or top_p say that it samples
    if _valid(config):
        return f"generation_config: do_sample was {was} beside values for sampling; it is saved as true"
    ids = {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    policy.generation_config = type(config)(**ids)
    return "generation_config: its values contradict each other; only its token ids are kept"


def _valid(config: Any) -> bool:
    try:
        config.validate(strict=True)
    except ValueError:
        return False
    return True


def check_tokenizer(folder: Path, policy: Any, tokenizer: Any, scores: bool) -> None:
    """The tokenizer must fit the embeddings, and must have an end and a padding token.

    Padding is known by its position, so that any token may pad. Only a reward, which is read at the last token
    that is no padding, needs another than the end token: one that no answer ends with.

    Raises:
        TrainError: there is no end token, or a token has no embedding.
    """
    if tokenizer.eos_token_id is None:
        raise TrainError(f"model: the tokenizer in {folder} has no eos_token, so that no answer would end; give it one")
    rows = policy.get_input_embeddings().weight.shape[0]
    if (last := max(tokenizer.get_vocab().values())) >= rows:
        raise TrainError(
            f"model: the tokenizer in {folder} has {last + 1} tokens, but the model has embeddings of {rows}; resize "
            "them (resize_token_embeddings) and save the model, or give the tokenizer that belongs to it"
        )
    if tokenizer.pad_token_id is None or (scores and tokenizer.pad_token_id == tokenizer.eos_token_id):
        others = [
            token for token in (tokenizer.unk_token, tokenizer.bos_token) if token not in (None, tokenizer.eos_token)
        ]
        tokenizer.pad_token = next(iter(others), tokenizer.eos_token)


def within_context(policy: Any, config: Settings) -> Settings:
    """The settings with a max_length that the model's positions allow."""
    context = getattr(policy.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(context, int) or not 0 < context < config.max_length:
        return config
    return config.model_copy(update={"max_length": context})


def lora_targets(policy: Any, lora: Lora) -> list[str] | str:
    """The layers that an adapter goes on: those asked for; where the default ones are absent, PEFT's for the model.

    Raises:
        TrainError: the model has not those that were asked for, or they share the weights of its embeddings.
    """
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    kind, asked, layers = policy.config.model_type, lora.target_modules, _layers(policy)
    absent = [name for name in asked if not _matching(name, layers)]
    if absent and asked == Lora().target_modules:
        return [name for name in (*asked, *KNOWN.get(kind, ())) if _matching(name, layers)] or "all-linear"
    if absent:
        names = sorted({path.rpartition(".")[2] for path in layers})
        raise TrainError(
            f"lora.target_modules: got {absent[0]!r}, but {kind} has the linear layers "
            f"{', '.join(names[:_OFFER])}{' …' if len(names) > _OFFER else ''}; name some of these"
        )
    tied = _tied(policy)
    if shared := [name for name in asked if any(path in tied for path in _matching(name, layers))]:
        raise TrainError(
            f"lora.target_modules: got {shared[0]!r}, whose weights are the embeddings' too in this {kind} "
            "(tie_word_embeddings), so that merging would change both; leave it out"
        )
    return list(asked)


def _layers(policy: Any) -> list[str]:
    """The paths of the layers that PEFT can put an adapter on."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    kinds = (nn.Linear, Conv1D, nn.Embedding)
    return [path for path, module in policy.named_modules() if isinstance(module, kinds)]


def _matching(name: str, layers: Sequence[str]) -> list[str]:
    """As PEFT takes a name: a whole path, or its last parts."""
    return [path for path in layers if path == name or path.endswith(f".{name}")]


def _tied(policy: Any) -> set[str]:
    """The paths of input and output embeddings that are one tensor."""
    tables = [policy.get_input_embeddings(), policy.get_output_embeddings()]
    if tables[1] is None or tables[0].weight is not tables[1].weight:
        return set()
    return {path for path, module in policy.named_modules() if any(module is table for table in tables)}


def special_tokens(tokenizer: Any) -> list[str]:
    """The texts that the tokenizer reads as control tokens wherever they occur."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted((added | set(tokenizer.all_special_tokens)) - {""})  # an empty one would be in every text


def without_special(rows: Sequence[Row], tokenizer: Any) -> list[Row]:
    """The rows whose texts hold no special token, for a text with `<|im_end|>` could end its turn and forge another.

    A prompt that is one text may hold those that its words hold: as many as every other row's prompt.
    """
    tokens = special_tokens(tokenizer)
    prompts = [row["prompt"] for row in rows if isinstance(row["prompt"], str)]
    own = {token: min(text.count(token) for text in prompts) for token in tokens} if prompts else {}
    return [row for row in rows if not _forged(row, tokens, own)]


def _forged(row: Row, tokens: Sequence[str], own: dict[str, int]) -> bool:
    prompt = row["prompt"]
    if isinstance(prompt, str) and any(prompt.count(token) > own[token] for token in tokens):
        return True
    texts = [*_texts("prompt", prompt), *(part for answer in answers(row) for part in _texts("answer", answer))]
    return any(token in text for token in tokens for text in texts)


def answers(row: Row) -> list[Any]:
    """A row's answers, whatever its recipe calls them: a text, or turns, each."""
    named = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
    return [*named, *row.get("responses", ())]


def _texts(name: str, value: Any) -> list[str]:
    if isinstance(value, str):
        return [] if name == "prompt" else [value]
    return [message["content"] for message in value or ()]


def cut_sentence(
    recipe: str, rows: Sequence[Row], tokenizer: Any, cut: int, max_length: int, room: int = 0
) -> str | None:
    """A sentence for the user where more than `_CUT` of the rows are longer than max_length, else None.

    Args:
        rows: the trainer's own columns, whole.
        cut: how many of them it cut, or left out for their length.
        room: tokens that max_length is to hold beside a row's: those of an answer that is drawn.
    """
    if cut <= _CUT * len(rows):
        return None
    counts = sorted(tokens(row, tokenizer) + room for row in rows)
    enough = counts[min(len(counts) - 1, int(_HELD * len(counts)))] + 1  # a row of max_length counts as cut
    return (
        f"{recipe}: max_length: {cut / len(rows):.0%} of {len(rows)} rows reach {max_length} tokens, and lose their "
        f"end or are left out; {enough} would hold {_HELD:.0%}"
    )


def tokens(row: Row, tokenizer: Any) -> int:
    """Of the prompt with the longest of its answers, if it has any."""
    prompt, completions = row["prompt"], answers(row) or [[]]
    if isinstance(prompt, str):
        return max(len(tokenizer(prompt + answer + tokenizer.eos_token)["input_ids"]) for answer in completions)
    whole = [tokenizer.apply_chat_template(prompt + answer, return_dict=True) for answer in completions]
    return max(len(one["input_ids"]) for one in whole)

"""A model folder: read, checked, given an adapter, and written again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.train.common import Lora, Row, Settings, TrainError


def load(folder: Path, config: Settings) -> tuple[Any, Any]:
    """The causal language model and its tokenizer.

    Weights that are trained are float32; only a frozen base under LoRA is kept in `dtype`.

    Raises:
        TrainError: the folder cannot be read, lacks weights, or its tokenizer has no chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = getattr(torch, config.dtype) if config.lora else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        policy, info = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError) as error:
        raise TrainError(f"model: {folder} cannot be read ({error}); give a causal language model's folder") from error
    if missing := sorted(info["missing_keys"]):
        raise TrainError(f"model: {folder} lacks {len(missing)} weights, {missing[0]} first; save the whole model")
    if not tokenizer.chat_template:
        raise TrainError(f"model: the tokenizer in {folder} has no chat template; save one with it")
    return policy, tokenizer


def check_template(folder: Path, policy: Any, tokenizer: Any, row: Row) -> None:
    """A template must render the prompt as it will be asked, and end an answer with a token that stops generation.

    Raises:
        TrainError: the model would be trained on another context than it is asked in, or never learn to stop.
    """
    prompt, answer = row["prompt"], row["completion"] if "completion" in row else row["chosen"]
    asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(prompt + answer, return_dict=True)["input_ids"]
    if whole[: len(asked)] != asked:
        raise TrainError(
            f"model: the chat template in {folder} renders the prompt alone as {tokenizer.decode(asked)!r}, "
            f"but before an answer as {tokenizer.decode(whole[: len(asked)])!r}; make the two alike"
        )
    ends = policy.generation_config.eos_token_id
    stops = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    if not stops & set(whole[len(asked) :]):
        raise TrainError(
            f"model: the chat template in {folder} ends an answer with {tokenizer.decode(whole[-1:])!r}, "
            f"expected one of {tokenizer.convert_ids_to_tokens(sorted(stops))}; put eos_token after it"
        )


def adapter(lora: Lora | None) -> Any:
    """PEFT's own settings for an adapter, or None."""
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )


def save(policy: Any, tokenizer: Any, folder: Path, config: Settings) -> None:
    """Weights and tokenizer; an adapter is kept in `adapter/` and merged, so that any engine loads the folder."""
    import torch

    if config.lora:
        policy.save_pretrained(folder / "adapter")
        policy = policy.merge_and_unload()
    policy.config.use_cache = True  # trainers turn it off, and generation without it is slow
    policy.to(getattr(torch, config.dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)

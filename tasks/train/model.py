"""A model folder: read, checked, given an adapter, and written again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignery import effects
from alignery.untrusted import excerpt
from tasks.train.change import Change, rounded
from tasks.train.checkpoint_dir import WorkFolder, processes_state
from tasks.train.config import Lora, Row, Settings, TrainError
from tasks.train.facts import answers, check_tokenizer, lora_targets, mend_generation


def load(folder: Path, config: Settings, scores: bool = False) -> tuple[Any, Any]:
    """The causal language model, or with `scores` the same with a new head of one label, and its tokenizer.

    Weights that are trained are float32; only a frozen base under LoRA is kept in `dtype`, or in 4 bits.

    Raises:
        TrainError: the folder cannot be read, lacks weights, its tokenizer does not fit them, or 4 bits are asked for
            where they cannot be had.
    """
    from safetensors import SafetensorError
    from transformers import AutoTokenizer

    options = _four_bits(config) if config.lora and config.lora.four_bit else {"dtype": _dtype(config, config.lora)}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        policy = _weights(folder, scores, config.seed, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:  # RuntimeError: other shapes
        if isinstance(error, TrainError):
            raise
        problem = f"model: {folder} cannot be read ({excerpt(error)}); give a causal language model's folder"
        raise TrainError(problem) from error
    check_tokenizer(folder, policy, tokenizer, scores)
    if changed := mend_generation(policy):
        print(changed, flush=True)
    return policy, tokenizer


def _weights(folder: Path, scores: bool, seed: int, **options: Any) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, set_seed

    options |= {"output_loading_info": True, "trust_remote_code": False}
    if not scores:
        policy, info = AutoModelForCausalLM.from_pretrained(folder, **options)
        new: set[str] = set()
    else:
        set_seed(seed)  # the new head is drawn at random
        policy, info = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, **options)
        new = {"score.weight"}
    if missing := sorted(set(info["missing_keys"]) - new):
        raise TrainError(f"model: {folder} lacks {len(missing)} weights, {missing[0]} first; save the whole model")
    return policy


def _dtype(config: Settings, frozen: Any) -> Any:
    import torch

    return getattr(torch, config.dtype) if frozen else torch.float32


def _four_bits(config: Settings) -> dict[str, Any]:
    """QLoRA (arXiv 2305.14314): normal-float 4 bits, their scales quantised too, arithmetic in `dtype`."""
    from importlib.util import find_spec

    import torch

    if not torch.cuda.is_available():
        raise TrainError("lora.four_bit: got true, but there is no CUDA GPU here; set it to false, or train on one")
    if find_spec("bitsandbytes") is None:
        raise TrainError("lora.four_bit: got true, but bitsandbytes is not installed; pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, config.dtype),
    )
    return {"quantization_config": quantised, "device_map": {"": processes_state().local_process_index}}


def check_template(folder: Path, policy: Any, tokenizer: Any, row: Row) -> None:
    """A template must render the prompt as it will be asked, and end an answer with a token that stops generation.

    A prompt that is a text and no conversation is asked as it is, and ends with the tokenizer's own end token.

    Raises:
        TrainError: the model would be trained on another context than it is asked in, or never learn to stop.
    """
    import jinja2

    prompt = row["prompt"]
    any_answer: Any = "Yes." if isinstance(prompt, str) else [{"role": "assistant", "content": "Yes."}]
    answer = next(iter(answers(row)), any_answer)  # rows that are prompts alone have none
    if isinstance(prompt, str):
        asked, whole = (tokenizer(text)["input_ids"] for text in (prompt, prompt + answer + tokenizer.eos_token))
        renders = "tokenizer"
    else:
        if not tokenizer.chat_template:
            raise TrainError(f"model: the tokenizer in {folder} has no chat template; save one with it")
        try:
            asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
            whole = tokenizer.apply_chat_template(prompt + answer, return_dict=True)["input_ids"]
        except jinja2.TemplateError as error:
            roles = [message["role"] for message in prompt + answer]
            problem = f"refuses turns of {roles}: {excerpt(error)}; fix the template, or train on other turns"
            raise TrainError(f"model: the chat template in {folder} {problem}") from error
        renders = "chat template"
    if whole[: len(asked)] != asked:
        raise TrainError(
            f"model: the {renders} in {folder} renders the prompt alone as {tokenizer.decode(asked)!r}, "
            f"but before an answer as {tokenizer.decode(whole[: len(asked)])!r}; make the two alike"
        )
    generation = getattr(policy, "generation_config", None)
    ends = generation.eos_token_id if generation else policy.config.eos_token_id
    stops = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    if not stops & set(whole[len(asked) :]):
        raise TrainError(
            f"model: the {renders} in {folder} ends an answer with {tokenizer.decode(whole[-1:])!r}, "
            f"expected one of {tokenizer.convert_ids_to_tokens(sorted(stops))}; put eos_token after it"
        )


def adapter(policy: Any, lora: Lora | None, scores: bool = False) -> Any:
    """PEFT's own settings for an adapter, or None. A new head is trained whole, beside the adapter."""
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora_targets(policy, lora),
        task_type="SEQ_CLS" if scores else "CAUSAL_LM",
        modules_to_save=["score"] if scores else None,
    )


def gathered(trainer: Any, base: Path, config: Settings, is_main: bool, scores: bool = False) -> Any:
    """The trained model, to be saved. Weights that FSDP or DeepSpeed's stage 3 split over the processes are loaded into
    a fresh copy of the base model, on the main process alone; gathering them takes all processes."""
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled, unset_hf_deepspeed_config

    accelerator, trained = trainer.accelerator, trainer.accelerator.unwrap_model(trainer.model)
    if accelerator.distributed_type != "FSDP" and not is_deepspeed_zero3_enabled():
        return trained
    weights = accelerator.get_state_dict(trainer.model_wrapped)
    if not is_main:
        return trained
    unset_hf_deepspeed_config()  # or from_pretrained would split the copy too, and wait for the other processes
    policy, _ = load(base, config, scores)
    policy.config = trained.config
    if not scores:
        policy.generation_config = trained.generation_config
    if config.lora:
        from peft import get_peft_model

        policy = get_peft_model(policy, adapter(policy, config.lora, scores))
    policy.load_state_dict(weights)
    return policy


def save(policy: Any, tokenizer: Any, base: Path, place: WorkFolder, config: Settings, scores: bool = False) -> Change:
    """Weights and tokenizer; an adapter is kept in `adapter/` and merged, in float32, so that any engine loads it.

    Args:
        base: the folder that the training started from.

    Returns:
        How the weights changed; of several processes, only the main one saves and knows.
    """
    if not place.is_main:
        return Change()
    folder, dtype = place.path, _dtype(config, True)
    if config.lora:
        with effects.MODEL_WRITE:
            policy.save_pretrained(folder / "adapter")
        if config.lora.four_bit:  # merged into the base as it was, not into what 4 bits left of it
            policy = _upon_the_whole(base, folder / "adapter", policy, config, scores)
        policy = policy.cpu().float().merge_and_unload()
    policy.config.use_cache = True  # trainers turn it off, and generation without it is slow
    change = rounded(policy, _weights(base, scores, config.seed, dtype=_dtype(config, config.lora)), dtype, config.seed)
    policy = policy.to(dtype)
    with effects.MODEL_WRITE:
        policy.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return change


def _upon_the_whole(base: Path, adapter: Path, policy: Any, config: Settings, scores: bool) -> Any:
    from peft import PeftModel

    whole = _weights(base, scores, config.seed, dtype=_dtype(config, True)).float()
    mend_generation(whole)
    whole.config.pad_token_id = policy.config.pad_token_id  # by which a reward finds its answer's end
    return PeftModel.from_pretrained(whole, adapter)

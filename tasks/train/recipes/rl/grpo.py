"""GRPO: the model answers each prompt several times, and learns what was rewarded above the group's mean.

Source: DeepSeekMath (arXiv 2402.03300, §4), by TRL; as a stage it is the RL of RLHF (2203.02155) and RLAIF
(2212.08073): the reward is the preference model's that `reward` trained, less β times the divergence from the model
that the training started from. The same: groups of answers at T 1, rewards less the group's mean over its standard
deviation, one update for each batch of answers, β .04. Departures:
1. 8 answers a prompt for the paper's 64, and 16 prompts a step as there: its 1,024 answers a step are more than small
   runs have.
2. The learning rate under LoRA, which the paper has not, is ten times that of all weights.
3. β is above zero: the divergence and the perplexity under the start model are watched, and need it there.
4. The reward model stays as it is; the paper trains it on with each iteration. Another round of refresh and retrain
   does.
5. Rewards are not the preference model's alone: `rules` adds what a program counts.
6. A training whose figures leave the bounds of `stop_when` is stopped and fails; see `watch`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tasks.train.config import Report, Row, TrainError
from tasks.train.dataset import read_prompts
from tasks.train.fine_tune import fine_tune
from tasks.train.recipes.rl import rollouts
from tasks.train.recipes.rl.rewards import CLOSING, opened
from tasks.train.recipes.rl.settings import Config


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Have `model` answer the prompts of `data/train-*.parquet`, teach it what is rewarded, and make `out` of it.

    `out/rollouts/*.parquet` has each answer that was drawn, with its reward; see `rollouts`.

    Raises:
        TrainError: data, model, reward model or `out` cannot be used, or nothing rewards.
        TrainingFailed: the loss was not finite, a figure left its bounds, or the weights hardly moved.
    """
    rows, build = read_prompts(data), partial(trainer, config=config, out=out)
    return fine_tune("grpo", rows, Path(model), out, config, build, length)


def trainer(shared: dict[str, Any], arguments: dict[str, Any], config: Config, out: Path) -> Any:
    """TRL's trainer, which keeps a row for each answer. Without a ref_model it reads the same folder again (or, under
    LoRA, turns the adapter off)."""
    from trl import GRPOConfig

    given, plain = dict(shared), dict(arguments)
    plain["per_device_train_batch_size"] *= config.k
    length = plain.pop("max_length")
    room = config.max_tokens + CLOSING
    given["train_dataset"] = _within(given["train_dataset"], given["processing_class"], length - room)
    recorder = rollouts.recorder(config, out)
    given["callbacks"] = [recorder, *given["callbacks"]]  # rows are written before a checkpoint counts as whole
    options = GRPOConfig(
        beta=config.beta,
        num_generations=config.k,
        temperature=config.temperature,
        max_completion_length=config.max_tokens,
        loss_type="grpo",
        **plain,
    )
    prompts, needed = len(given["train_dataset"]), options.generation_batch_size // config.k
    if prompts < needed:
        raise TrainError(
            f"grpo: got {prompts} prompts that leave room for {config.max_tokens} tokens within max_length, but a step "
            f"has {needed}; lower batch_size, gradient_accumulation or max_tokens, or give a view of more prompts"
        )
    grpo_trainer = rollouts.trainer_class()(recorder.rows, reward_funcs=opened(config, length), args=options, **given)
    grpo_trainer.room = room
    return grpo_trainer


def _within(prompts: Any, tokenizer: Any, limit: int) -> Any:
    """The prompts of fewer tokens than the limit, with their number of tokens."""
    counts = [
        len(tokenizer.apply_chat_template(one, add_generation_prompt=True, return_dict=True)["input_ids"])
        for one in prompts["prompt"]
    ]
    kept = [place for place, count in enumerate(counts) if count <= limit]
    return prompts.add_column("tokens", counts).select(kept)


def length(row: Row) -> int:
    """Tokens of a prompt."""
    return int(row["tokens"])

"""What an answer is rewarded for: the preference model's score, and what a program counts in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks.train.checkpoint_dir import processes_state
from tasks.train.config import TrainError, TrainingFailed
from tasks.train.facts import special_tokens
from tasks.train.recipes.rl.settings import Config, Rule

RULES: dict[Rule, Callable[[str], float]] = {
    # A weight below zero is a penalty on length, which is common; one above zero is the textbook's way to be hacked.
    "words": lambda text: float(len(text.split())),
    "distinct_words": lambda text: float(len(set(text.lower().split()))),
}
CLOSING = 8  # tokens that a template may end an answer with; what is scored has them, what is drawn has not
Rewards = Callable[..., list[float]]


def opened(config: Config, length: int) -> Rewards:
    """The reward of each answer, as TRL asks for it: the model's score plus each rule's count times its weight.

    Args:
        length: tokens of the longest prompt with its answer, and what closes it.

    Raises:
        TrainError: neither a model nor a rule rewards, or the model cannot be read.
    """
    if config.reward_model is None and not any(config.rules.values()):
        raise TrainError(
            "reward_model: got none, and no rules; give the folder of a model that `reward` made, or train one in the "
            "same retraining (retrain: {reward: {}})"
        )
    model = _model(config.reward_model, config, length) if config.reward_model else None

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        counted = [sum(weight * RULES[rule](text) for rule, weight in config.rules.items()) for text in texts]
        if model is None:
            return counted
        scores = model([[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)])
        return [a + b for a, b in zip(counted, scores, strict=True)]

    return reward


def _model(folder: Path, config: Config, length: int) -> Callable[[Sequence[Any]], list[float]]:
    """The preference model: conversations → their scores."""
    from tasks.engines import RequestRefused, SpecError
    from tasks.engines.specs import RewardSpec
    from tasks.engines.transformers.reward import load_reward

    device = str(processes_state().device)
    try:
        engine = load_reward(RewardSpec(engine="reward", model=str(folder), device=device, threads=config.threads))
    except SpecError as error:
        raise TrainError(f"reward_model: {error}") from error
    if engine.context and engine.context < length:
        raise TrainError(
            f"reward_model: {folder} reads {engine.context} tokens, and max_length lets answers be {length} long with "
            "their prompt; lower max_length"
        )
    special = special_tokens(engine.tokenizer)

    def scores(conversations: Sequence[Any]) -> list[float]:
        read = [[*turns, answer | {"content": without(answer["content"], special)}] for *turns, answer in conversations]
        try:
            found = engine.scores(read)
        except RequestRefused as error:
            raise TrainingFailed(f"reward_model: {folder} cannot score an answer: {error}; lower max_length") from error
        if wrong := [score for score in found if not math.isfinite(score)]:
            raise TrainingFailed(f"reward_model: {folder} scores {wrong[0]}, expected numbers; train it again")
        return found

    return scores


def without(text: str, tokens: Sequence[str]) -> str:
    """A text without these: spelt out in letters, they would end the answer and forge turns that are scored with it."""
    while found := [token for token in tokens if token in text]:
        for token in found:
            text = text.replace(token, "")
    return text

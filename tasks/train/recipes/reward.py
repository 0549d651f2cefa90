"""A reward model from comparisons: it scores an answer, and learns how sure the judge of each pair was.

Source: Constitutional AI (arXiv 2212.08073 §4.1), whose preference model has the normalised probabilities of (A) and
(B) as its targets; figures from SALMON (2310.05910), as the paper gives none.
Departures:
1. A new head of one label on the model that the training starts from; the paper's starts from a pretrained preference
   model. Its value is read at the answer's end token.
2. Pairs that are longer than max_length are left out (TRL), not cut: what a cut answer is worth nobody has said.
3. The hybrid of the paper's §4.1, people's pairs for helpfulness and the model's own for harmlessness: pairs that a
   user brought (`line.prompts`) are in the view too, and `human_share` is their share of the rows. No row is repeated
   for it: of the kind of which there are too many, some are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.train.config import Report, Row, Settings, Source, TrainError
from tasks.train.dataset import read_soft_preferences
from tasks.train.fine_tune import fine_tune
from tasks.train.losses import soft_bradley_terry


class Figures(Settings):
    """The settings of reward models; a comment gives SALMON's figure."""

    # Rows a step: our choice. SALMON's 3e-5 is for QLoRA of rank 64; with rank 16 and fewer steps ten times that
    source: ClassVar[Source] = Source(step=64, rate=3e-5, lora_rate=3e-4)
    epochs: float = Field(1.0, gt=0)  # 1
    batch_size: int = Field(8, ge=1)  # our choice
    max_length: int = Field(2048, ge=8)  # TRL's default: 1024; compared answers have up to 1,500 tokens
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "linear"  # TRL's default


class Config(Figures):
    """The reward model's settings."""

    view: str = "soft_preferences"
    human_share: float | None = Field(
        None, gt=0, lt=1
    )  # of pairs that a user brought; none: all rows. Paper: not given


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach a copy of `model` to score the answers of `data/train-*.parquet`, and people's, and put it at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows = mixed(read_soft_preferences(data), config)
    return fine_tune("reward", rows, Path(model), out, config, trainer, length, scores=True)


def mixed(rows: Sequence[Row], config: Config) -> list[Row]:
    """Rows of which `human_share` are people's: all of the one kind, and a draw of the other.

    Raises:
        TrainError: a share is asked for, and there is but one kind.
    """
    if (share := config.human_share) is None:
        return list(rows)
    parts = {"human": [row for row in rows if row.get("origin") == "human"]}
    parts["ai"] = [row for row in rows if row.get("origin") != "human"]
    if missing := [name for name, part in parts.items() if not part]:
        raise TrainError(
            f"human_share: got {share:g}, but of {len(rows)} rows none is {missing[0]}; bring pairs (line.prompts "
            "with chosen and rejected), compare answers, or leave it out"
        )
    whole = min(len(parts["human"]) / share, len(parts["ai"]) / (1 - share))  # rows, of which there are enough of each
    counts = {"human": round(whole * share), "ai": round(whole * (1 - share))}
    draws = random.Random(config.seed)
    found = [row for name, part in parts.items() for row in draws.sample(part, min(len(part), counts[name]))]
    draws.shuffle(found)
    return found


def trainer(shared: dict[str, Any], arguments: dict[str, Any], loss: Callable[..., Any] = soft_bradley_terry) -> Any:
    """TRL's trainer with a soft label, `p`, on each pair.

    Args:
        loss: (rewards of `chosen`, those of `rejected`, p) → a scalar.
    """
    import torch
    from trl import RewardConfig, RewardTrainer
    from trl.trainer.reward_trainer import DataCollatorForPreference

    class Collator(DataCollatorForPreference):  # type: ignore[misc]  # TRL is untyped here
        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            return super().torch_call(examples) | {"p": torch.tensor([example["p"] for example in examples])}

    class SoftRewardTrainer(RewardTrainer):  # type: ignore[misc]
        def _set_signature_columns_if_needed(self) -> None:
            self._signature_columns = ["chosen_ids", "rejected_ids", "p"]

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **others: Any) -> Any:
            p = inputs.pop("p")
            _, outputs = super().compute_loss(model, inputs, return_outputs=True, **others)
            chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
            found = loss(chosen, rejected, p)
            return (found, outputs) if return_outputs else found

    reward_trainer = SoftRewardTrainer(args=RewardConfig(**arguments), **shared)
    reward_trainer.data_collator = Collator(pad_token_id=shared["processing_class"].pad_token_id)
    return reward_trainer


def length(row: dict[str, Any]) -> int:
    """Tokens of a prepared row, its longer side."""
    return max(len(row["chosen_ids"]), len(row["rejected_ids"]))

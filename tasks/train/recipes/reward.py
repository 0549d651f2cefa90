"""A reward model from comparisons: it scores an answer, and learns how sure the judge of each pair was.

Source: Constitutional AI (arXiv 2212.08073 §4.1), whose preference model has the normalised probabilities of (A) and
(B) as its targets; figures from SALMON (2310.05910), as the paper gives none.
Departures:
1. A new head of one label on the model that the training starts from; the paper's starts from a pretrained preference
   model. Its value is read at the answer's end token.
2. Pairs that are longer than max_length are left out (TRL), not cut: what a cut answer is worth nobody has said.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.train.config import Report, Settings, Source
from tasks.train.dataset import read_soft_preferences
from tasks.train.fine_tune import fine_tune
from tasks.train.losses import soft_bradley_terry


class Config(Settings):
    """The reward model's settings; a comment gives SALMON's figure."""

    # Rows a step: our choice. SALMON's 3e-5 is for QLoRA of rank 64; with rank 16 and fewer steps ten times that
    source: ClassVar[Source] = Source(step=64, rate=3e-5, lora_rate=3e-4)
    view: str = "soft_preferences"
    epochs: float = Field(1.0, gt=0)  # 1
    batch_size: int = Field(8, ge=1)  # our choice
    max_length: int = Field(2048, ge=8)  # TRL's default: 1024; compared answers have up to 1,500 tokens
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "linear"  # TRL's default


def train(data: Path, model: Path | str, out: Path, config: Settings) -> Report:
    """Teach a copy of `model` to score the answers of `data/train-*.parquet` and put it at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    rows = read_soft_preferences(data)
    return fine_tune("reward", rows, Path(model), out, config, trainer, length, scores=True)


def trainer(shared: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """TRL's trainer with a soft label, `p`, on each pair."""
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
            loss = soft_bradley_terry(chosen, rejected, p)
            return (loss, outputs) if return_outputs else loss

    made = SoftRewardTrainer(args=RewardConfig(**arguments), **shared)
    made.data_collator = Collator(pad_token_id=shared["processing_class"].pad_token_id)
    return made


def length(row: dict[str, Any]) -> int:
    """Tokens of a prepared row, its longer side."""
    return max(len(row["chosen_ids"]), len(row["rejected_ids"]))

"""What the recipes share: their settings, their report, and their errors.

Departures from the recipes' sources (a recipe's own are in its module):
1. AdamW for all (TRL's default), where the DPO paper and the handbook's DPO take RMSprop.
2. Trained weights are float32 whatever `dtype` says (mixed precision): at 5e-7 a step is lost in bfloat16's rounding.
3. A step is `batch_size` × `gradient_accumulation` rows, however many processes share them: the sources' figures are
   per GPU, so that theirs change with the machine. `schedule` says what a step is where the settings do not.
4. A learning rate for an adapter is another than one for all weights, ten times as high or more: B begins at zero, and
   only the product of two small matrices moves a weight.
5. Lengths hold what the methods' own `max_tokens` allow to be generated; a batch is padded to its longest row only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from alignery.errors import AligneryError, UsageError
from alignery.validation import ExistingFile, Filled
from prompts import Library

Row = dict[str, Any]


class TrainError(UsageError):
    """What was given cannot be trained on; the message says what was got, what was expected, and the fix."""


class TrainingFailed(AligneryError, RuntimeError):
    """The training ran and came to nothing."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(Strict):
    """A low-rank adapter, merged into the model at the end."""

    r: int = Field(default=16, ge=1)  # Dromedary (2305.03047) and Rewarded Soups (2306.04488): 16
    alpha: int = Field(default=16, ge=1)  # Rewarded Soups: 16
    dropout: float = Field(default=0.05, ge=0, lt=1)  # Rewarded Soups: 0.05
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")  # both: q, k, v, o
    four_bit: bool = False  # QLoRA: the frozen base in 4 bits, by bitsandbytes, on CUDA only; Dromedary-2, SALMON


class Launch(Strict):
    """Where and how the processes of a training are started. It changes nothing of what is trained."""

    accelerate: ExistingFile | None = Field(default=None, description="Accelerate's own file: GPUs, machines, FSDP …")
    command: tuple[Filled, ...] = Field(default=(), description="precedes python: [srun, --nodes=2], [ray, job …]")


@dataclass(frozen=True)
class Source:
    """Figures of a recipe's source, taken where the settings say nothing.

    Args:
        step: rows of an optimiser step, at most; `schedule` says when it is fewer.
        rate: learning rate of all weights.
        lora_rate: learning rate of an adapter.
        steps: that a training has at least, where its rows allow; 100 is our choice.
    """

    step: int
    rate: float
    lora_rate: float
    steps: int = 100


class Settings(Strict):
    """The settings of every recipe; a recipe's `Config` gives the missing defaults."""

    model_config = ConfigDict(allow_inf_nan=False)
    source: ClassVar[Source] = Source(step=32, rate=2e-5, lora_rate=2e-4)  # as of recipes/sft.py

    view: str  # of the lake, whose rows it reads; a shape of its export
    epochs: float = Field(gt=0)
    learning_rate: float | None = Field(None, gt=0)  # none: the source's, which under LoRA is another
    batch_size: int = Field(ge=1)  # rows a forward pass; at most, where gradient_accumulation is left out
    # Forward passes a step, those of all processes together; none: as many as the source's rows a step or, where these
    # would make too few steps, as leave enough.
    gradient_accumulation: int | None = Field(None, ge=1)
    max_length: int = Field(ge=8)  # tokens, prompt and answer together; longer rows are cut at the end
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"]
    warmup: float = Field(0.1, ge=0)  # steps, or, below 1, a share of all; handbook: 0.1 for both
    seed: int = Field(42, ge=0)  # handbook: 42
    dtype: Literal["float32", "bfloat16"] = "float32"  # arithmetic and saved weights; the handbook's GPUs: bfloat16
    gradient_checkpointing: bool = False  # handbook: true; it saves memory for a fifth more time
    lora: Lora | None = None
    checkpoints: int = Field(10, ge=2)  # in the whole of a training, to go on from after a kill; our choice
    processes: int | None = Field(None, ge=1)  # that share each step; none: one a GPU
    threads: int | None = Field(None, ge=1)  # CPU threads; small models are fastest with 1


class Report(Strict):
    """What a training did; saved as `report.json` in the model's folder."""

    recipe: str
    base_model: str
    config: dict[str, Any]
    seed: int
    rows: int  # trained on
    dropped: (
        int  # rows left out: the two below, the prompt alone fills max_length, (aligner) corrected under other words
    )
    identical: int = 0  # of these, pairs whose two answers are the same tokens within max_length
    special: int = 0  # of these, rows whose texts hold a special token of the model, which could forge a turn
    origins: dict[str, int] = {}  # rows by their origin, where a recipe mixes some
    truncated: int  # rows whose answer reaches max_length, so that its end is not learnt
    steps: int
    tokens: int  # read, all epochs together, without padding
    trained_parameters: int
    moved: int  # of the model's tensors, as saved, how many differ from the base model's
    tensors: int
    update: float  # ‖saved − base‖ / ‖base‖ over the trained tensors, along the way that the training went
    processes: int
    rollouts: int = 0  # rows of rollouts/*.parquet: answers that the training drew
    resumed_at: int  # the step it went on from after a kill; 0: none
    seconds: float  # of the process that finished it, from reading the model to the saved folder, imports included
    loss_first: float  # mean over the first tenth of the steps
    loss_last: float  # mean over the last tenth
    metrics: dict[str, float]  # the trainer's own, mean over the last tenth of the steps
    versions: dict[str, str]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained on a view.

    Args:
        config: its settings, whose defaults say the view.
        train: (folder of the training split, folder of the base model, folder to make, settings) → its report.
        answers: whether its model answers instructions, and so can be evaluated, or be trained further.
        alias: of models, which its model is a candidate for; None where it is for `generator` if it answers, else for
            none.
        models: setting → the recipe whose model it names, where the settings leave it out and that recipe is run too.
        words: of a recipe whose rows are put into the preset's words, a hash of these; a new hash means a new training.
    """

    config: type[Settings]
    train: Callable[[Path, Path, Path, Any], Report]
    answers: bool = True
    alias: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    words: Callable[[Library], str] | None = None

    @property
    def candidate_for(self) -> str | None:
        """The alias of models that the gate may put its model behind."""
        return self.alias or ("generator" if self.answers else None)

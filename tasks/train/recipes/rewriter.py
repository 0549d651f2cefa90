"""BPO's rewriter: the model learns to rewrite prompts, in the prompt with which it will be asked to.

Source: Black-Box Prompt Optimization (arXiv 2311.04155, section 3.3 and appendix C). The same: a prompt in, the
rewritten one and its end token out, and the loss on these alone. Departures:
1. The words are `bpo/rewrite`; the paper's are a sentence of its own in Llama-2's template. They are the preset's,
   which renders them whenever the model is asked.
2. The paper's model has 7 billion parameters and is a chat model already; any model that instructions can be given to
   is taken here, and a LoRA adapter learns ten times as fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from prompts import Library
from tasks.engines.identity import form_of
from tasks.train.checkpoint_dir import check_folders
from tasks.train.config import Report, Row, Settings, Source
from tasks.train.dataset import read_rewrites
from tasks.train.fine_tune import fine_tune
from tasks.train.recipes import sft


class Config(Settings):
    """The rewriter's settings; a comment gives the paper's figure."""

    source: ClassVar[Source] = Source(step=32, rate=2e-5, lora_rate=2e-4)  # 4 on each of 8 GPUs; 2e-5
    view: str = "optimized"
    epochs: float = Field(3.0, gt=0)  # 3 (its repository: 5)
    batch_size: int = Field(4, ge=1)  # 4 on each of 8 GPUs
    max_length: int = Field(2048, ge=8)  # 512 in its repository; prompts here may be long
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "linear"  # linear
    warmup: float = Field(0.1, ge=0)  # .1
    variant: Literal["full", "nano"] = "full"  # of the words; a flow gives its preset's
    overlay: Path | None = None


def words_hash(library: Library) -> str:
    """The hash of the rewriter's prompt."""
    return library.prompt("bpo/rewrite").hash


def train(data: Path, model: Path | str, out: Path, config: Config) -> Report:
    """Teach `model` the rewrites of `data/train-*.parquet` and put the new model at `out`.

    Raises:
        TrainError: data, model or `out` cannot be used.
        PromptError: the words cannot be read.
        TrainingFailed: the loss was not finite, or the weights hardly moved.
    """
    base = Path(model)
    check_folders(base, out)
    return fine_tune("rewriter", examples(data, base, config), base, out, config, sft.trainer, sft.length)


def examples(data: Path, base: Path, config: Config) -> list[Row]:
    """Rows {prompt, completion} of the rewrites, in the form in which a model such as `base` is asked."""
    prompt = Library(config.variant, config.overlay).prompt("bpo/rewrite").in_form(form_of(str(base)))
    rows: list[Row] = []
    for row in read_rewrites(data):
        asked = prompt.render(instruction=row["prompt"])
        if isinstance(asked, str):
            # A text is continued: the space belongs to the reply's first token, as in generation.
            rows.append({"prompt": asked, "completion": f" {row['optimized_prompt']}"})
        else:
            reply = [{"role": "assistant", "content": row["optimized_prompt"]}]
            rows.append({"prompt": asked, "completion": reply})
    return rows

"""One plain line every few seconds, which reads alike in a terminal, a log and a flow's page."""

from __future__ import annotations

import math
import time
from typing import Any

from tasks.train.config import TrainingFailed


def progress(recipe: str, every: float = 2.0) -> Any:
    """A trainer's callback that prints `sft step 40/120 loss 0.53 12 s`, at most once in `every` seconds.

    It raises TrainingFailed when the loss is not a finite number.
    """
    from transformers import TrainerCallback

    class Progress(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        began = printed = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.monotonic()
            if state.global_step and state.is_world_process_zero:
                print(f"{recipe} goes on after step {state.global_step}/{state.max_steps}", flush=True)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "loss" not in logs:  # the trainer's closing summary
                return
            step, loss, now = state.global_step, logs["loss"], time.monotonic()
            if not math.isfinite(loss):
                raise TrainingFailed(f"{recipe}: the loss was {loss} at step {step}; lower learning_rate")
            if state.is_world_process_zero and (step in (1, state.max_steps) or now - self.printed >= every):
                self.printed = now
                reward = f" reward {logs['reward']:.3g}" if "reward" in logs else ""
                took = f"{now - self.began:.0f} s"
                print(f"{recipe} step {step}/{state.max_steps} loss {loss:.3g}{reward} {took}", flush=True)

    return Progress()

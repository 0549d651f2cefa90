"""How many rows make a step, how many steps that is, and whether so few can train at all.

A source's batch and warm-up belong to its own number of rows: SELF-ALIGN's 768 rows a step and 100 steps of warm-up
make 337 steps of its 258,878 rows, but 5 of 3,150, all of them within the warm-up.
Departures, for all recipes:
1. A step has the source's rows where these make 100 steps or more (`engrave`: 240), else the largest power of two that
   does; settings that give `gradient_accumulation` are taken as they are.
2. The learning rate is not lowered with the batch. Adam moves a weight by about the rate in each step, whatever the
   batch, so the steps and the rate make the way; the square-root rule (arXiv 2205.10287) would keep the noise of the
   source's batch and lose most of the way.
3. The warm-up is a share of the steps.
"""

from __future__ import annotations

import math

from tasks.train.config import Settings, Source, TrainError

FEWEST = 10  # steps that passes added up to one step must leave; our choice


def resolve_steps(recipe: str, config: Settings, rows: int, processes: int = 1) -> tuple[Settings, str | None]:
    """The settings with a learning rate and a step, and a sentence where the step is not the source's.

    Args:
        rows: to train on, at most.
        processes: that share a step's forward passes.

    Raises:
        TrainError: see `check`.
    """
    source = config.source
    rate = config.learning_rate or (source.lora_rate if config.lora else source.rate)
    config, notice = config.model_copy(update={"learning_rate": rate}), None
    if config.gradient_accumulation is None:
        step = rows_a_step(rows, config.epochs, source)
        batch = max(1, min(config.batch_size, step // processes))
        passes = max(1, step // batch // processes) * processes
        config = config.model_copy(update={"batch_size": batch, "gradient_accumulation": passes})
        if step < source.step:
            few = math.ceil(math.ceil(rows / source.step) * config.epochs)
            notice = (
                f"{recipe}: got {rows} rows, of which its source's {source.step} a step would make {few} "
                f"{'step' if few == 1 else 'steps'}: a step has {batch * passes} rows, which makes "
                f"{steps(config, rows, processes)}"
            )
    check(recipe, config, rows, processes)
    return config, notice


def rows_a_step(rows: int, epochs: float, source: Source) -> int:
    """The source's rows a step, or the largest power of two below it that makes as many steps as it asks for."""
    step = source.step
    while step > 1 and math.ceil(rows / step) * epochs < source.steps:
        step = 1 << (step - 1).bit_length() - 1
    return step


def steps(config: Settings, rows: int, processes: int = 1) -> int:
    """Optimiser steps of a training, counted as `transformers.Trainer` counts them."""
    passes = math.ceil(math.ceil(rows / processes) / config.batch_size)
    return math.ceil(config.epochs * math.ceil(passes * processes / (config.gradient_accumulation or 1)))


def warm_up(config: Settings, steps: int) -> int:
    """Steps in which the learning rate rises from 0; `warmup` below 1 is a share."""
    if config.scheduler == "constant":
        return 0
    return int(config.warmup) if config.warmup >= 1 else math.ceil(steps * config.warmup)


def check(recipe: str, config: Settings, rows: int, processes: int = 1) -> None:
    """Refuse a schedule that cannot train.

    Raises:
        TrainError: the learning rate never gets to its height, or accumulated passes leave too few steps.
    """
    passes, count = config.gradient_accumulation or 1, steps(config, rows, processes)
    if passes > processes and count < FEWEST:
        raise TrainError(
            f"{recipe}: gradient_accumulation: got {passes} passes of {config.batch_size} rows, which make {count} "
            f"steps of {rows} rows, expected {FEWEST} or more; leave it out, and the step follows from the rows"
        )
    rising = warm_up(config, count)
    if rising >= count:
        height = (config.learning_rate or 0) * (count - 1) / rising
        raise TrainError(
            f"{recipe}: warmup: got {rising} steps of {count}, so that learning_rate would get to {height:.2g} of "
            f"{config.learning_rate:g}, expected fewer than {count}; give a share, as 0.1, or more rows or epochs"
        )

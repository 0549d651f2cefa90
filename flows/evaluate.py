"""`evaluate`: the oracle on held-out prompts, for the base model and each model trained from it."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from alignery.config.preset import load
from alignery.pipeline.run import exclusive_run
from alignery.pipeline.runs.evaluation import (
    Evaluation,
    draw,
    evaluate_models,
)
from flows._prefect import as_task_run
from tasks.evaluate import PICTURES


@flow(name="evaluate", persist_result=False)
async def evaluate(
    preset: str = "nano", home: Path = Path(".alignery"), wait: bool = True, logs: Path | None = None
) -> list[Evaluation]:
    """Score the base model and each recipe's newest model trained from it, in that order.

    Args:
        preset: has the held-out prompts, the oracle and the base model.
        home: the folder of the lake.
        logs: a folder for logs that `inspect view` opens.
        wait: for another evaluation on this lake to end; else LakeFailure names it.
    """
    loaded_preset = load(preset)
    async with exclusive_run(
        loaded_preset.place(home), "evaluate", wait=wait, schema=loaded_preset.lake_schema
    ) as lake:
        evaluations = await evaluate_models(loaded_preset, lake, runner=as_task_run, logs=logs)
    draw(evaluations, home / PICTURES)
    return evaluations

"""`retrain`: fine-tune on a published tag, each recipe in a process of its own, from the base or another's model."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from alignery.config.preset import load
from alignery.pipeline.run import exclusive_run
from alignery.pipeline.runs.training import (
    Trained,
    train_recipes,
)
from flows._prefect import as_task_run


@flow(name="retrain", persist_result=False)
async def retrain(
    preset: str = "nano", home: Path = Path(".alignery"), tag: str | None = None, wait: bool = True
) -> list[Trained]:
    """Train the preset's recipes on a tag (the newest when left out).

    Args:
        preset: has the recipes and the model to start from.
        home: the folder of the lake.
        tag: which publication to train on.
        wait: for another retraining on this lake to end; else LakeFailure names it.
    """
    loaded_preset = load(preset)
    async with exclusive_run(loaded_preset.place(home), "retrain", wait=wait, schema=loaded_preset.lake_schema) as lake:
        return await train_recipes(loaded_preset, lake, home, tag, runner=as_task_run)

"""`promote`: trained models go through the gate, one after the other; one that passes becomes the model in use."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from alignery.config.preset import load
from alignery.pipeline.run import exclusive_run
from alignery.pipeline.runs.promotion import (
    Decided,
    promote_candidates,
)
from flows._prefect import as_task_run


@flow(name="promote", persist_result=False)
async def promote(preset: str = "nano", home: Path = Path(".alignery"), wait: bool = True) -> list[Decided]:
    """Put every trained model without a decision through the gate, the oldest first.

    Args:
        preset: has the policy, the held-out prompts, the oracle and the first model to beat.
        home: the folder of the lake.
        wait: for another promotion on this lake to end; else LakeFailure names it.
    """
    loaded_preset = load(preset)
    async with exclusive_run(loaded_preset.place(home), "promote", wait=wait, schema=loaded_preset.lake_schema) as lake:
        return await promote_candidates(loaded_preset, lake, runner=as_task_run)

"""`promote`: trained models go through the gate, one after the other; what passes is the model from then on."""

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


@flow(name="promote")
async def promote(preset: str = "nano", home: Path = Path(".alignery"), wait: bool = True) -> list[Decided]:
    """Put every trained model that no gate has seen yet through the gate, the oldest first.

    Args:
        preset: says the policy, the held-out prompts, the oracle and the model to beat at first.
        home: the folder of the lake.
        wait: if another promotion is at work on this lake, until it is done; else LakeFailure names it.
    """
    made = load(preset)
    async with exclusive_run(made.place(home), "promote", wait=wait, schema=made.lake_schema) as lake:
        return await promote_candidates(made, lake, runner=as_task_run)

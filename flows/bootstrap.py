"""`bootstrap`: rounds in which the model that earned its place writes the data of the next one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from prefect import flow

from alignery.config.preset import load
from alignery.pipeline.run import WORK, exclusive_run
from alignery.pipeline.runs.rounds import BootstrapResult, run_rounds
from flows._prefect import as_task_run


@flow(name="bootstrap", persist_result=False)
async def bootstrap(
    preset: str = "nano", home: Path = Path(".alignery"), rounds: int = 3, name: str = "boot", wait: bool = True
) -> BootstrapResult:
    """Refresh, publish, retrain and judge, round after round, each written by the model that the last one promoted.

    Args:
        preset: the line, the recipes and the gate of every round.
        home: the folder of the lake.
        rounds: how many at most.
        name: the rounds' tags are <name>-1, <name>-2, …
        wait: if another bootstrap is at work on this lake, until it is done; else LakeFailure names it.
    """
    loaded_preset = load(preset)
    async with AsyncExitStack() as stack:
        # Nobody else does a part of a round meanwhile. The flows of `cycle` take the first of these first, too.
        for part in (WORK, "bootstrap", "refresh", "retrain", "promote"):
            own = loaded_preset.name if part == "refresh" else None
            lake = await stack.enter_async_context(
                exclusive_run(loaded_preset.place(home), part, preset=own, wait=wait, schema=loaded_preset.lake_schema)
            )
        return await run_rounds(loaded_preset, lake, home, rounds, name, runner=as_task_run)

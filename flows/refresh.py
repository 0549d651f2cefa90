"""`refresh`: run the line until the target of accepted instructions is reached.

The body is plain; Prefect gives it task runs (one a chunk and step), retries and artifacts. Chunks are
awaited and not submitted: `.submit()` would run each in a thread and event loop of its own, where an
engine opened by the flow does not work.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import acreate_table_artifact

from alignery.config.preset import load
from alignery.pipeline.run import exclusive_run
from alignery.pipeline.runs.refreshing import Summary, run_refresh
from flows._prefect import as_task_run, plain_rows
from warehouse.query import status


@flow(name="refresh", persist_result=False)
async def refresh(preset: str = "nano", home: Path = Path(".alignery"), wait: bool = True) -> Summary:
    """Write, answer, criticise, revise and correct, until the preset's target is reached.

    Args:
        preset: a shipped preset's name, or the path of a .yaml file.
        home: the folder of the lake.
        wait: for another refresh of this preset on this lake to end; else LakeFailure names it.
    """
    loaded_preset = load(preset)
    async with exclusive_run(
        loaded_preset.place(home), "refresh", preset=loaded_preset.name, wait=wait, schema=loaded_preset.lake_schema
    ) as lake:
        summary = await run_refresh(loaded_preset, lake, runner=as_task_run)
        for name, rows in (("funnel", status.funnel), ("usage", status.usage)):
            table, description = plain_rows(rows(lake, summary.run_id)), f"Run {summary.run_id}: {summary.state}"
            await acreate_table_artifact(key=name, table=table, description=description)
    return summary

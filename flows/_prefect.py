"""How a plain body of the pipeline runs in Prefect: each chunk a task run, rows as an artifact holds them."""

from __future__ import annotations

import json
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from alignery.pipeline.executor import ChunkWork
from tasks.engines import EngineDown

RETRY_AFTER_S = 5


async def as_task_run(name: str, work: ChunkWork) -> None:
    """Run a chunk's work as a Prefect task run, retried when the engine comes and goes."""

    # No caching and no stored results: the lake has them.
    @task(
        task_run_name=name,
        name=name.split(" ", maxsplit=1)[0],
        retries=1,
        retry_delay_seconds=RETRY_AFTER_S,
        retry_condition_fn=_may_recover,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    async def chunk() -> None:
        await work()

    await chunk()


def _may_recover(task: Any, run: Any, state: Any) -> bool:
    return isinstance(state.data, EngineDown) and state.data.recoverable


def plain_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as JSON can hold them."""
    return json.loads(json.dumps(rows, default=str))

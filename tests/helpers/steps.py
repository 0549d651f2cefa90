"""A step that answers; and rows under one step, asked of an engine at once, without what the executor does beside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prompts import Library
from tasks.engines import Engine, Sampling
from tasks.step import Outcome, Replies, Request, Row, Step, execute


def answering(read: Callable[[str, Row], Sequence[Row]], **changes: Any) -> Step:
    """A step that asks for an answer to an instruction, a row of `responses`."""
    given: dict[str, Any] = {
        "name": "test.say",
        "table": "responses",
        "prompt": Library().prompt("respond/answer"),
        "sampling": Sampling(),
        "parents": ("instruction_id",),
        "variables": lambda row: {"instruction": row["instruction"]},
    }
    return Step(**(given | changes), read=read)


@dataclass
class Asked(Outcome):
    """What the calls gave, and what ended them, if anything did."""

    fault: BaseException | None = None


async def no_replies(keys: Sequence[str]) -> Replies:
    return {}


async def run(
    step: Step, rows: Iterable[Row], engine: Engine, recall: Callable[[Sequence[str]], Awaitable[Replies]] = no_replies
) -> Asked:
    """Every row at once; records and attempts in the rows' order."""
    requests = [Request(step, row, engine) for row in rows]
    replies = await recall([request.request_key for request in requests])
    outcomes = [Outcome(step, request.fingerprint) for request in requests]
    faults = await asyncio.gather(
        *(execute(request, replies, into) for request, into in zip(requests, outcomes, strict=True)),
        return_exceptions=True,
    )
    return Asked(
        step,
        step.fingerprint(engine),
        records=[record for one in outcomes for record in one.records],
        attempts=[attempt for one in outcomes for attempt in one.attempts],
        fault=next((fault for fault in faults if fault), None),
    )

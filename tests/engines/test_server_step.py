"""A step over the server engine: what its rows contain when requests are bad, and when the server dies."""

from __future__ import annotations

import asyncio
from collections import Counter

from faulty import Faulty, error, ok, spec
from steps import run

from prompts import Library
from tasks.engines import EngineDown, open_engine
from tasks.methods.respond.method import Config, respond

STEP = respond(Library(), Config())
ROWS = [{"instruction_id": f"i{n}", "instruction": f"Tell me of thing {n}.", "topic": "t"} for n in range(200)]


def script(words, number):
    thing = int(words.strip(".").split()[-1])
    if thing % 33 == 7:
        return error(400, f"thing {thing} is too long")
    return error(429, "slow down") if thing % 20 == 3 and number == 0 else ok(f"It is number {thing}.", after_s=0.005)


def test_each_bad_request_is_a_failed_row_with_its_reason_and_every_other_is_there():
    async def main():
        async with Faulty(script) as server, open_engine(spec(server.url)) as engine:
            return await run(STEP, ROWS, engine)

    outcome = asyncio.run(main())
    assert outcome.fault is None
    assert Counter(attempt["state"] for attempt in outcome.attempts) == {"accepted": 194, "failed": 6}
    failed = [(attempt["reason"], attempt["final"]) for attempt in outcome.attempts if attempt["state"] == "failed"]
    expected = [
        f"the server refuses the request with HTTP 400: thing {thing} is too long" for thing in range(7, 200, 33)
    ]
    assert failed == [(reason, True) for reason in expected]
    assert {record["text"] for record in outcome.records} == {
        f"It is number {thing}." for thing in range(200) if thing % 33 != 7
    }


def test_a_server_that_dies_leaves_rows_unfinished_and_the_next_run_asks_only_for_those():
    async def main():
        async with Faulty(script) as server:
            changes = {"in_flight": 8, "give_up_after_s": 0.3}
            async with open_engine(spec(server.url, **changes)) as engine:
                first = asyncio.create_task(run(STEP, ROWS, engine))
                while server.answered.total() < 60 or server.now < 8:
                    await asyncio.sleep(0.001)
                await server.die()
                before = await first
            await server.live()
            done = {attempt["work_key"] for attempt in before.attempts if attempt["final"]}
            async with open_engine(spec(server.url, **changes)) as engine:
                todo = [row for row in ROWS if STEP.work_key(row, engine) not in done]
                return before, await run(STEP, todo, engine), server

    before, after, server = asyncio.run(main())
    assert isinstance(before.fault, EngineDown)
    left = [attempt for attempt in before.attempts if not attempt["final"]]
    assert {attempt["state"] for attempt in left} == {"failed"}
    assert all("answered nothing for 0.3 s" in attempt["reason"] for attempt in left)
    assert after.fault is None
    assert len(before.records) + len(after.records) == 194
    assert len(left) == len({attempt["work_key"] for attempt in after.attempts})
    assert set((+server.answered).values()) == {1}

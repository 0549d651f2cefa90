"""When a schedule's flows run next, as Prefect reads their cron lines."""

from __future__ import annotations

import asyncio
from datetime import datetime

from prefect.client.schemas.schedules import CronSchedule

from alignery.config.schema import Schedule


def upcoming(schedule: Schedule) -> dict[str, datetime]:
    """Flow → the next time that is due, the earliest first; a line that is none, or that never comes, is left out.

    Call it outside an event loop.
    """
    lines = {name: line for name in ("refresh", "maintain") if (line := getattr(schedule, name))}
    found = {name: time for name, line in lines.items() if (time := asyncio.run(_next(line, schedule.timezone)))}
    return dict(sorted(found.items(), key=lambda one: one[1]))


async def _next(line: str, timezone: str) -> datetime | None:
    try:
        times = await CronSchedule(cron=line, timezone=timezone).get_dates(1)
    except ValueError:
        return None  # `alignery serve` says so before it begins
    return times[0] if times else None

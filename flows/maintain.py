"""`maintain`: merge small files, expire old snapshots, delete unused files; or report what would be done."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from prefect import flow
from prefect.artifacts import acreate_table_artifact

from alignery.config.preset import Preset, load
from alignery.pipeline.run import Run
from warehouse import Lake
from warehouse.maintenance import maintain as upkeep
from warehouse.maintenance.maintain import Report


@flow(name="maintain", persist_result=False)
async def maintain(
    preset: str = "nano", home: Path = Path(".alignery"), keep: str = "7d", age: str = "1h", apply: bool = False
) -> Report:
    """Keep the lake fast and small; safe while refreshes run.

    Args:
        preset: names the lake's location.
        home: the folder of the lake.
        keep: the age up to which snapshots without a tag are kept, such as 12h or 7d.
        age: how long a file must have been unused before it is deleted; at least 1h.
        apply: do it; else only report what would be done.
    """
    loaded_preset = load(preset)
    report = await asyncio.to_thread(_maintained, loaded_preset, home, keep, age, apply)
    await acreate_table_artifact(key="maintenance", table=_lines(report), description=upkeep.summary(report))
    return report


def _maintained(preset: Preset, home: Path, keep: str, age: str, apply: bool) -> Report:
    """The maintenance itself. With nothing to do, nothing is committed."""
    times = {"keep": upkeep.duration(keep), "age": upkeep.duration(age)}
    place = preset.place(home)
    with Lake.open(place, schema=preset.lake_schema, read_only=True) as lake:
        report = upkeep.plan(lake, **times)
    if not apply or report.idle:
        return replace(report, applied=apply)
    with Lake.open(place, schema=preset.lake_schema) as lake, Run(lake, "maintain", preset) as run:
        run.start()
        report = upkeep.apply(lake, **times, log=lambda line: print(line, file=sys.stderr, flush=True))
        run.end("finished", json.loads(json.dumps(asdict(report), default=str)), upkeep.summary(report))
    return report


def _lines(report: Report) -> list[dict[str, object]]:
    """The report by table, as an artifact holds it."""
    return [dict(row) for row in report.tables]

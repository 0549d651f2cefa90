"""Two refreshes of two presets at once on one lake: both at work, and each row there once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from works import ACCEPT, make

from warehouse import Lake, LakeLocation
from warehouse.query import status

# Each asks nothing before the other has begun, too.
WORKER = """
import asyncio, sys, time
from io import StringIO
from pathlib import Path
from works import speak
from alignery.config.preset import load
from alignery.pipeline.executor import Executor
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline
from alignery.pipeline.run import Run, exclusive_run
from tasks.engines import ScriptedEngine
from warehouse import LakeLocation

file, home, catalog, name, other = sys.argv[1:]
begun = Path(home).parent

def together(prompt, sampling):
    (begun / name).touch()
    until = time.monotonic() + 60
    while not (begun / other).exists():
        assert time.monotonic() < until, "the other refresh waits for this one"
        time.sleep(0.02)
    return speak(prompt, sampling)

async def main():
    preset = load(file).model_copy(update={"name": name})
    place = LakeLocation(Path(home), catalog or None)
    async with exclusive_run(place, "refresh", preset=name) as lake:
        with Run(lake, "refresh", preset) as run, StepProgress(StringIO()) as progress:
            engine = ScriptedEngine(together, identity=name)
            line = RefreshPipeline(preset, Executor(lake, run, progress), {"generator": engine})
            await line.walk()
            run.end("finished", {})

asyncio.run(main())
"""


@pytest.mark.flow
@pytest.mark.parametrize("catalog", ["sqlite", "postgres"])
def test_two_presets_are_refreshed_at_once(
    tmp_path: Path, empty: Path, catalog: str, request: pytest.FixtureRequest
) -> None:
    works = make(tmp_path, empty)
    url = request.getfixturevalue("database") if catalog == "postgres" else ""
    home = works.home if catalog == "sqlite" else tmp_path / "home"
    place = LakeLocation(home, url or None)
    Lake.open(place).close()
    asked = [sys.executable, "-c", WORKER, str(tmp_path / "test.yaml"), str(home), url]
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # pytest's own, with the helpers
    workers = [subprocess.Popen([*asked, *names], env=paths) for names in (("one", "two"), ("two", "one"))]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    with Lake.open(place, read_only=True) as lake:
        assert sorted((row["preset"], row["state"]) for row in status.runs(lake)) == [
            ("one", "finished"),
            ("two", "finished"),
        ]
        (keys,) = lake.rows("SELECT count(*) AS n, count(DISTINCT work_key) AS keys FROM attempts")
        assert keys["n"] == keys["keys"] > 0
        models = lake.rows(
            "SELECT model, count(*) AS n FROM attempts WHERE step = 'respond.answer' GROUP BY ALL ORDER BY model"
        )
        assert models == [{"model": "one", "n": ACCEPT}, {"model": "two", "n": ACCEPT}]
        assert lake.rows("SELECT count(*) AS n FROM finished") == [{"n": 2 * ACCEPT}]

"""`alignery serve` as a user runs it: a process of its own, seen from outside, in the lake and in Prefect's API.

nano writes, is trained and judged for real; minutes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import gone, prefect_home, started_in
from test_prefect import _post

from warehouse import Lake, LakeUsageError, model_registry
from warehouse.query import status

ROOT = Path(__file__).parents[2]
PATIENCE_S = 900  # on two busy cores; it takes a few minutes on two idle ones


def write_preset(folder: Path, cron: str) -> Path:
    """nano's own, with little of everything: 60 instructions, one round of critique, SFT alone, 50 held-out prompts."""
    held = (ROOT / "nano/held_out.jsonl").read_text().splitlines()[:400:8]
    (folder / "held_out.jsonl").write_text("\n".join(held) + "\n")
    text = (ROOT / "presets/nano.yaml").read_text().replace("../nano/held_out.jsonl", "./held_out.jsonl")
    preset = yaml.safe_load(text.replace("../nano", str(ROOT / "nano")))
    preset["line"]["self_instruct"] |= {"accept": 60, "requests_per_round": 16}
    preset["line"]["constitutional"]["rounds"] = 1
    preset["retrain"] = {"sft": preset["retrain"]["engrave"]}  # on every answer, for sixty are few
    preset |= {
        "gate": {"prompts": 5},
        "follow": ["generator"],
        "retrain_when": {"new_accepted": 20},
        "schedule": {"refresh": cron},
    }
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(preset))
    return path


class Served:
    """A running `alignery serve`, and what can be seen of it."""

    def __init__(self, folder: Path, preset: Path) -> None:
        self.home, self.prefect = folder / "lake", prefect_home(folder / "prefect")
        code = "from alignery.cli.main import main; main()"
        command = [sys.executable, "-c", code, "serve", "--preset", str(preset), "--home", str(self.home), "--json"]
        command += ["--metrics", "0"]
        # Every process that it starts has this home in its environment, by which `started_in` finds them.
        own = os.environ | {"PREFECT_HOME": str(self.prefect), "PYTHONPATH": _path()}
        own.pop("PREFECT_API_URL", None)
        with (folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=own, start_new_session=True
            )

    def started(self) -> dict[str, Any]:
        """What it says when it has begun to serve."""
        assert self.process.stdout is not None
        lines = []
        while line := self.process.stdout.readline():
            lines.append(line)
            if line == "}\n":
                return json.loads("".join(lines))
        raise AssertionError(f"it ended with {self.process.wait()} before it served")

    def address(self) -> tuple[str, str]:
        """Its Prefect's API, and what that asks for."""
        served = self.started()
        self.metrics = served["metrics"]
        return served["api"], Path(served["login"]).read_text().strip()

    def until(self, what: str, seen: Callable[[Lake], Any]) -> Any:
        """Look at the lake until something is there."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            assert self.process.poll() is None, f"it ended before {what}"
            try:
                with Lake.open(self.home, read_only=True) as lake:
                    if found := seen(lake):
                        return found
            except LakeUsageError:
                pass  # not made yet
            time.sleep(3)  # each look opens the lake, which takes CPU time
        raise AssertionError(f"{what}: not within {PATIENCE_S} s")


def _path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path], Served]]:
    all_of_them: list[Served] = []

    def start(preset: Path) -> Served:
        all_of_them.append(Served(tmp_path, preset))
        return all_of_them[-1]

    yield start
    for one in all_of_them:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
    if all_of_them:
        print((tmp_path / "serve.log").read_text(errors="replace")[-8000:])


@pytest.mark.flow
def test_the_loop_closes_by_itself(tmp_path: Path, serve: Callable[[Path], Served]) -> None:
    served = serve(write_preset(tmp_path, "* * * * *"))
    api, auth = served.address()

    def promoted(lake: Lake) -> Any:
        return model_registry.current(lake, "generator")

    def written_by(lake: Lake) -> Any:
        asked = "SELECT 1 FROM attempts WHERE step = 'self_instruct.generate' AND model = ?"
        return lake.rows(asked, [model_registry.current(lake, "generator")["model"]])  # type: ignore[index]

    decision = served.until("a model was promoted", promoted)
    assert decision["decided_by"] == "gate"
    served.until("the promoted model wrote a refresh", written_by)
    counted = urllib.request.urlopen(served.metrics, timeout=60).read().decode()
    for flow in ("refresh", "publish", "retrain", "promote"):
        assert re.search(rf'alignery_runs_total{{flow="{flow}",state="finished"}} [1-9]', counted), counted
    assert re.search(r'alignery_requests_total{.*step="self_instruct.generate".*} [1-9]', counted)
    assert re.search(r'alignery_lake_rows{table="attempts"} [1-9]', counted)
    with Lake.open(served.home, read_only=True) as lake:
        (on_v1,) = [row for row in model_registry.decisions(lake, "retrain") if row["tag"] == "v1"]
        assert (on_v1["state"], on_v1["decided_by"]) == ("retrain", "policy")
        (trained,) = [row for row in status.models(lake) if row["id"] == decision["model"]]
        assert trained["tag"] == "v1"

    runs = {run["deployment_id"]: run for run in _post(f"{api}/flow_runs/filter", auth) if run["deployment_id"]}
    begun = {
        run["name"]: run for run in _post(f"{api}/flow_runs/filter", auth) if run["start_time"] and run["deployment_id"]
    }
    assert len(runs) == 2
    by = {(run["created_by"] or {}).get("type") for run in begun.values()}
    assert {"SCHEDULE", "AUTOMATION"} <= by, "the clock began a refresh, the event a retraining"

    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=120) == 0
    assert started_in(served.prefect) == []


@pytest.mark.flow
@pytest.mark.long
def test_killed_in_a_training_and_in_a_promotion_it_goes_on(tmp_path: Path, serve: Callable[[Path], Served]) -> None:
    from alignery.config.preset import load
    from alignery.pipeline.runs.publication import tag_and_export

    preset = write_preset(tmp_path, "0 0 1 1 *")
    publish_by_hand(load(str(preset)), tmp_path / "lake", tag_and_export)

    def training(lake: Lake) -> Any:
        return any("tasks.train" in command for command in started_in(served.prefect))

    def judging(lake: Lake) -> Any:
        return status.unfinished(lake, "promote")

    # First it alone is killed, and what it had started must end with it; then all of them at once.
    for what, seen, kill in (("it trained", training, os.kill), ("it judged", judging, os.killpg)):
        served = serve(preset)
        served.started()
        served.until(what, seen)
        kill(served.process.pid, signal.SIGKILL)
        served.process.wait()
        assert gone(served.prefect, within_s=60)
        with Lake.open(served.home, read_only=True) as lake:
            assert model_registry.current(lake, "generator") is None

    served = serve(preset)
    api, auth = served.address()
    served.until("a model was promoted", lambda lake: model_registry.current(lake, "generator"))
    served.until("its run ended", lambda lake: all(run["state"] != "started" for run in status.runs(lake)))
    with Lake.open(served.home, read_only=True) as lake:
        assert len(status.models(lake)) == 1, "trained once"
        assert [row["state"] for row in model_registry.decisions(lake)] == ["retrain", "promoted"], "decided once"
        failed = {row["flow"]: row["message"] for row in status.runs(lake, 50) if row["state"] == "failed"}
        assert failed.keys() == {"retrain", "promote"}
        assert failed["promote"] == "its process died"
    states = [run["state_type"] for run in _post(f"{api}/flow_runs/filter", auth) if run["deployment_id"]]
    assert states.count("CRASHED") == 2, "what the kills left as running"

    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(timeout=120) == 130
    assert started_in(served.prefect) == []


def publish_by_hand(preset: Any, home: Path, tag_and_export: Callable[..., object]) -> None:
    """A lake with one publication, as a refresh of the preset leaves it."""
    import asyncio

    from alignery.pipeline.runs.refreshing import run_refresh

    async def walk() -> None:
        with Lake.open(home) as lake:
            await run_refresh(preset, lake)
            tag_and_export(preset, lake, home, None)

    asyncio.run(walk())

"""The refresh under a real Prefect: task runs, retries and artifacts, and the lake as without it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest
from speaker import Speaker, write_preset

from tasks.engines import EngineDown
from warehouse import Lake

LINE = {
    "chunk": 6,
    "self_instruct": {"accept": 12, "max_candidates": 60, "requests_per_round": 4, "count": 3},
}


@pytest.mark.flow
def test_chunks_are_task_runs_and_funnel_and_usage_are_artifacts(tmp_path: Path, speaker: Speaker) -> None:
    from prefect.client.orchestration import get_client

    from flows.refresh import refresh

    preset = write_preset(tmp_path, speaker.server_port, LINE)

    async def once() -> tuple[object, dict[str, str], dict[str, object]]:
        summary = await refresh(str(preset), tmp_path / "lake")
        async with get_client() as client:
            runs = {run.name: str(run.state_name) for run in await client.read_task_runs()}
            artifacts = await client.read_latest_artifacts()
        return summary, runs, {str(artifact.key): artifact.data for artifact in artifacts}

    summary, runs, tables = asyncio.run(once())
    assert summary.accepted == 12  # type: ignore[attr-defined]
    assert {"self_instruct.generate × 4", "walk × 6"} <= set(runs)
    assert set(runs.values()) == {"Completed"}
    assert json.loads(str(tables["funnel"]))[0]["step"].startswith("self_instruct")
    *steps, total = json.loads(str(tables["usage"]))
    assert total["step"] == "total"
    assert total["requests"] == sum(row["requests"] for row in steps) == speaker.served
    with Lake.open(tmp_path / "lake", read_only=True) as lake:
        assert lake.rows("SELECT count(*) AS n FROM attempts")[0]["n"] == speaker.served


@pytest.mark.flow
def test_a_chunk_is_retried_when_the_engine_comes_and_goes() -> None:
    from prefect import flow

    from flows._prefect import as_task_run

    tries = []

    async def work() -> None:
        tries.append(1)
        if len(tries) < 2:
            raise EngineDown("gone for a moment", recoverable=True)

    @flow
    async def one() -> None:
        await as_task_run("respond.answer × 1", work)

    asyncio.run(one())
    assert len(tries) == 2


@pytest.mark.flow
def test_a_server_that_is_named_is_used(tmp_path: Path, speaker: Speaker) -> None:
    """With PREFECT_API_URL the run is recorded in that server, and no other one is started."""
    code = "import uvicorn; from prefect.server.api.server import create_app; "
    code += "uvicorn.run(create_app(), port=0, log_level='info')"
    own = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")}
    server = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=own)
    try:
        assert server.stderr is not None
        url = next(line.split("http://")[1].split()[0] for line in server.stderr if "running on" in line)
        threading.Thread(target=server.stderr.read, daemon=True).start()
        api = f"http://{url}/api"
        environment = os.environ | {"PREFECT_API_URL": api}
        preset = write_preset(tmp_path, speaker.server_port, LINE)
        command = [
            sys.executable,
            "-c",
            "from alignery.cli.main import main; main()",
            "refresh",
            "--preset",
            str(preset),
        ]
        subprocess.run([*command, "--home", str(tmp_path / "lake")], env=environment, check=True, timeout=120)
        assert _flow_runs(api) == ["refresh"]
    finally:
        server.kill()
        server.wait()


def _flow_runs(api: str) -> list[str]:
    """Names of the flows of all runs that a server knows."""
    for _ in range(20):
        runs = _post(f"{api}/flow_runs/filter")
        if runs and all(run["state_name"] == "Completed" for run in runs):
            flows = {flow["id"]: flow["name"] for flow in _post(f"{api}/flows/filter")}
            return [flows[run["flow_id"]] for run in runs]
        time.sleep(0.5)
    raise AssertionError(f"no completed flow run in {api}")


def _post(url: str, auth: str = "") -> list[dict[str, str]]:
    """What a server answers; `auth` is what one of ours asks for, as `user:password`."""
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {b64encode(auth.encode()).decode()}"}
    request = urllib.request.Request(url, data=b"{}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)

"""What `alignery serve` puts right as it starts, on a real Prefect server: dead runs, missed times, old deployments."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from processes import prefect_home
from test_prefect import _post

from alignery.config.preset import Preset, load
from alignery.pipeline.run import WORK
from flows.prefect_server import Server, start_server
from warehouse.database.location import as_location
from warehouse.database.lock import exclusive

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one's own, which the client of this process talks to."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    with (
        start_server(prefect_home(tmp_path_factory.mktemp("own"))) as own,
        temporary_settings({PREFECT_API_URL: own.api, PREFECT_API_AUTH_STRING: own.auth}),
    ):
        yield own


def preset(catch_up: str = "latest") -> Preset:
    made = load("nano")
    assert made.schedule is not None
    return made.model_copy(update={"schedule": made.schedule.model_copy(update={"catch_up": catch_up})})


@pytest.mark.flow
@pytest.mark.parametrize(
    ("policy", "states"),
    [
        ("latest", ["CANCELLED", "CANCELLED", "SCHEDULED"]),
        ("none", ["CANCELLED"] * 3),
        ("all", ["SCHEDULED"] * 3),
    ],
)
def test_of_the_missed_refreshes_those_are_kept_that_the_policy_says(
    own: Server, tmp_path: Path, policy: str, states: list[str]
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled

    from flows.deploy import _catch_up, deployments

    async def serve() -> list[str]:
        made = preset(policy)
        async with get_client() as client:
            id = await (await deployments(made, "nano", tmp_path))[0].aapply()
            missed = []
            for days in (3, 2, 1):
                due = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(days=days))  # type: ignore[arg-type]
                missed.append(await client.create_flow_run_from_deployment(id, state=due))
            messages: list[str] = []
            await _catch_up(client, made, id, set(), messages.append)
            assert messages[0].startswith("3 refreshes were missed")
            now = [await client.read_flow_run(run.id) for run in missed]
            for run in now:
                await client.delete_flow_run(run.id)
            return [str(run.state_type.value) for run in now if run.state_type]

    assert asyncio.run(serve()) == states


@pytest.mark.flow
def test_dead_runs_are_marked_and_their_place_is_free_again(own: Server, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Pending, Running

    from flows.deploy import _sweep, deployments

    async def serve() -> None:
        where, messages = as_location(tmp_path), list[str]()
        async with get_client() as client:
            one = (await deployments(preset(), "nano", tmp_path))[0]
            ids = {"cycle": await one.aapply()}
            run = await client.create_flow_run_from_deployment(ids["cycle"])
            await client.set_flow_run_state(run.id, Pending())
            await client.set_flow_run_state(run.id, Running())

            async def taken() -> int:
                limit = (await client.read_deployment(ids["cycle"])).global_concurrency_limit
                assert limit is not None
                return limit.active_slots

            assert await taken() == 1
            with exclusive(where, WORK, "a live one"):
                assert await _sweep(client, where, ids, messages.append) == set()
            assert "a live one is still at work" in messages[0]
            assert await _sweep(client, where, ids, messages.append) == {ids["cycle"]}
            state = (await client.read_flow_run(run.id)).state
            assert state is not None
            assert (state.type.value, state.message) == ("CRASHED", "Its process died.")
            assert await taken() == 0

    asyncio.run(serve())


@pytest.mark.flow
def test_what_the_preset_no_longer_asks_for_is_forgotten(own: Server, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from flows.deploy import _forget, deployments

    async def serve() -> None:
        async with get_client() as client:
            made = await deployments(preset(), "nano", tmp_path)
            ids = [await one.aapply() for one in made]
            await _forget(client, made[:2])
            assert (await client.read_deployment(ids[0])).name == made[0].name
            with pytest.raises(ObjectNotFound):
                await client.read_deployment(ids[2])

    asyncio.run(serve())


@pytest.mark.flow
def test_prefect_deploys_the_loop_to_a_work_pool(own: Server, tmp_path: Path) -> None:
    environment = os.environ | own.settings | {"PREFECT_LOGGING_LEVEL": "ERROR"}
    for words in (
        ["work-pool", "create", "alignery", "--type", "process"],
        ["--no-prompt", "deploy", "--all", "--prefect-file", str(ROOT / "prefect.yaml")],
    ):
        command = [sys.executable, "-m", "prefect", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    flows = {row["id"]: row["name"] for row in _post(f"{own.api}/flows/filter", own.auth)}
    pooled = [row for row in _post(f"{own.api}/deployments/filter", own.auth) if row["work_pool_name"] == "alignery"]
    assert sorted(flows[row["flow_id"]] for row in pooled) == ["cycle", "maintain", "retrain_published"]
    assert "alignery.lake.*" in str(_post(f"{own.api}/automations/filter", own.auth))


@pytest.mark.flow
def test_a_server_that_does_not_come_up_is_reported_with_its_log(tmp_path: Path) -> None:
    from flows.prefect_server import ServerFault

    message = r"is not healthy at http://127\.0\.0\.1:\d+/api within 0 s; see .*server\.log"
    with pytest.raises(ServerFault, match=message), start_server(tmp_path, patience_s=0):
        pass

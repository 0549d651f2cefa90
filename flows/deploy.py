"""`serve`: the loop's deployments, and one process that runs them: scheduled, missed and event-triggered runs.

The lake records what is done, so Prefect's record of runs may be lost or wrong: each start corrects it first.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, FlowRun, StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.server.schemas.schedules import CronSchedule
from prefect.states import Cancelled, Crashed
from prefect.types.entrypoint import EntrypointType

from alignery.config.preset import Preset, named
from alignery.config.schema import PresetError, Schedule
from alignery.pipeline.run import WORK
from alignery.untrusted import excerpt
from flows.maintain import maintain
from flows.prefect_server import ServerFault
from flows.publish import PUBLISHED, resource
from flows.scheduled import refresh_and_publish, retrain_on_publish
from warehouse import Lake, LakeLocation
from warehouse.database.lock import holder
from warehouse.query import status

FLOWS = (refresh_and_publish, retrain_on_publish, maintain)
LOOK_S = 5  # between two checks for due runs
_LIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]

Log = Callable[[str], None]


@dataclass(frozen=True)
class Served:
    """A flow that is served: when (a cron line or an event), and the next time that is known."""

    flow: str
    deployment: str
    when: str
    next: datetime | None


async def deployments(preset: Preset, name: str, home: Path) -> list[RunnerDeployment]:
    """The preset's flows with their schedules and triggers, only of this lake.

    Args:
        preset: one with a schedule.
        name: the preset's name or path, as the flows take it.

    Raises:
        PresetError: an invalid cron line.
    """
    schedule, place = preset.schedule, preset.place(home.absolute())
    assert schedule is not None
    given = {"preset": named(name), "home": str(place.home)}
    common: dict[str, Any] = {
        "name": f"{preset.name}-{resource(place).rsplit('.', 1)[-1]}",
        "parameters": given,
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    # A run that is due during another is dropped: that one, or the next, does its work. With `all` they queue.
    drop = ConcurrencyLimitStrategy.ENQUEUE if schedule.catch_up == "all" else ConcurrencyLimitStrategy.CANCEL_NEW
    runner_deployments = [
        await refresh_and_publish.ato_deployment(
            schedules=[await _cron(preset, "refresh", schedule)],
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=drop),
            **common,
        )
    ]
    if preset.retrain:
        trigger = DeploymentEventTrigger(
            expect={PUBLISHED},
            match={"prefect.resource.id": resource(place)},
            parameters={"tag": "{{ event.payload.tag }}"},
        )
        limit = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
        runner_deployments.append(
            await retrain_on_publish.ato_deployment(triggers=[trigger], concurrency_limit=limit, **common)
        )
    if schedule.maintain:
        cron = [await _cron(preset, "maintain", schedule)]
        common["parameters"] = given | {"apply": True}
        runner_deployments.append(await maintain.ato_deployment(schedules=cron, **common))
    return runner_deployments


async def _cron(preset: Preset, field: str, schedule: Schedule) -> Any:
    line = getattr(schedule, field)
    try:
        await CronSchedule(cron=line).get_dates(1)  # and that it ever matches: 30 February does not
    except ValueError as error:
        raise PresetError(
            f"preset {preset.name}: schedule.{field}: got {line!r}, expected a cron line, such as '0 3 * * *'"
        ) from error
    return Cron(line, timezone=schedule.timezone)


async def serve(
    preset: Preset, name: str, home: Path, log: Log, started: Callable[[Sequence[Served]], None]
) -> signal.Signals:
    """Run the deployments until SIGINT or SIGTERM, which is returned; runs in progress are then stopped and recorded.

    The caller holds the lake's lock `serve`, and PREFECT_API_URL names a server that is healthy.

    Raises:
        PresetError: an invalid cron line.
        ServerFault: that server is gone.
    """
    runner_deployments = await deployments(preset, name, home)
    runner = Runner(name=f"alignery-{runner_deployments[0].name}", query_seconds=LOOK_S, pause_on_shutdown=False)
    ids = {one.flow_name or "": await runner.aadd_deployment(one) for one in runner_deployments}
    async with get_client() as client:
        await _forget(client, runner_deployments)
        place = preset.place(home.absolute())
        died = await _sweep(client, place, ids, log)
        await _catch_up(client, preset, ids["cycle"], died, log)
        if "retrain_published" in ids and await asyncio.to_thread(_published, place):
            # Resumes a publication whose event was lost, or whose training was killed; a finished one costs nothing.
            await client.create_flow_run_from_deployment(ids["retrain_published"], name="the newest publication")
    started([await _served(one) for one in runner_deployments])
    return await _until_signalled(runner)


async def _until_signalled(runner: Runner) -> signal.Signals:
    loop = asyncio.get_running_loop()
    stop_signal: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(one: signal.Signals) -> None:
        if not stop_signal.done():
            stop_signal.set_result(one)

    running = asyncio.ensure_future(runner.start())
    # The runner installs its own SIGTERM handler as it starts, and would end the loop in the middle of its work.
    await asyncio.sleep(0)
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop, one)
    both: list[asyncio.Future[Any]] = [running, stop_signal]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        error = running.exception()
        raise ServerFault(
            f"Prefect's runner gave up ({excerpt(error)}): is its server gone? Start `alignery serve` again"
        ) from error
    while not runner.started:  # a signal that came while it began
        await asyncio.sleep(0.1)
    await runner.astop()
    await running
    return stop_signal.result()


async def _forget(client: PrefectClient, runner_deployments: Sequence[RunnerDeployment]) -> None:
    """Delete deployments of this lake that the preset no longer has."""
    for gone in {one.name for one in FLOWS} - {one.flow_name for one in runner_deployments}:
        try:
            found = await client.read_deployment_by_name(f"{gone}/{runner_deployments[0].name}")
        except ObjectNotFound:
            continue
        await client.delete_deployment(found.id)


async def _sweep(client: PrefectClient, place: LakeLocation, ids: dict[str, UUID], log: Log) -> set[UUID]:
    """Mark as crashed the runs that a dead process left as running; returns their deployments."""
    if at_work := await asyncio.to_thread(holder, place, WORK):
        log(f"{at_work} is still at work: its runs are left as they are")
        return set()
    died = await _runs(client, _LIVE, deployment_id=FlowRunFilterDeploymentId(any_=list(ids.values())))
    if not died:
        return set()
    parents = FlowRunFilterParentFlowRunId(any_=[run.id for run in died])
    below = await _runs(client, _LIVE, parent_flow_run_id=parents)
    for run in (*below, *died):
        await client.set_flow_run_state(run.id, Crashed(message="Its process died."))
    log(f"marked as crashed, for their process died: {', '.join(run.name for run in died)}")
    return {run.deployment_id for run in died if run.deployment_id}


async def _catch_up(client: PrefectClient, preset: Preset, id: UUID, died: set[UUID], log: Log) -> None:
    """Of the refreshes that were missed while no `serve` ran, keep those of the policy; one that died is due again."""
    assert preset.schedule is not None
    past = FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC)})
    ours = FlowRunFilterDeploymentId(any_=[id])
    missed = await _runs(client, [StateType.SCHEDULED], deployment_id=ours, expected_start_time=past)
    missed.sort(key=lambda run: str(run.expected_start_time))
    policy = preset.schedule.catch_up
    keep = {"latest": missed[-1:], "none": [], "all": missed}[policy]
    for run in missed[: len(missed) - len(keep)]:
        await client.set_flow_run_state(run.id, Cancelled(message=f"Missed; catch_up: {policy}"), force=True)
    if id in died and not keep and policy != "none":
        keep = [await client.create_flow_run_from_deployment(id, name="again, for it died")]
    if missed or keep:
        log(f"{len(missed)} refreshes were missed; {len(keep)} will be run (schedule.catch_up: {policy})")


async def _runs(client: PrefectClient, states: list[StateType], **filters: Any) -> list[FlowRun]:
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=states))
    return await client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state, **filters))


def _published(place: LakeLocation) -> bool:
    with Lake.open(place, read_only=True) as lake:
        return any(row["export_path"] for row in status.tags(lake))


async def _served(deployment: RunnerDeployment) -> Served:
    flow, name = deployment.flow_name or "", deployment.name
    for one in deployment.schedules or []:
        assert one.schedule is not None
        cron = CronSchedule.model_validate(one.schedule.model_dump(include={"cron", "timezone"}))
        (first,) = await cron.get_dates(1)
        return Served(flow, name, f"{cron.cron} ({cron.timezone})", first)
    return Served(flow, name, PUBLISHED, None)


def upcoming(schedule: Schedule) -> dict[str, datetime]:
    """Flow → the next time it is due, the earliest first; a cron line that is invalid or never due is left out.

    Call it outside an event loop.
    """
    lines = {name: line for name in ("refresh", "maintain") if (line := getattr(schedule, name))}
    found = {name: time for name, line in lines.items() if (time := asyncio.run(_next(line, schedule.timezone)))}
    return dict(sorted(found.items(), key=lambda one: one[1]))


async def _next(line: str, timezone: str) -> datetime | None:
    try:
        times = await CronSchedule(cron=line, timezone=timezone).get_dates(1)
    except ValueError:
        return None  # `alignery serve` refuses it with an error
    return times[0] if times else None

"""The loop that `alignery serve` runs: refresh and publish on a schedule, then retrain on what was published.

A cycle refreshes and publishes; what is published is an event; the event trains a model if the policy holds; the gate
decides on the model; and a preset that says `follow: [generator]` has it write the next cycle. Both flows do only what
is not done yet, so each may be killed and started again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import Flow, State, flow
from prefect.client.schemas.objects import FlowRun

from alignery.config.preset import Preset, load
from alignery.hashing import digest
from alignery.monitor import webhooks
from alignery.pipeline.run import WORK, Run, exclusive_run
from flows.promote import promote
from flows.publish import publish
from flows.refresh import refresh
from flows.retrain import retrain
from tasks.process import exit_with_parent
from tasks.train import policy
from warehouse import Lake, model_registry
from warehouse.query.since_last_training import tag_delta

ALIAS = "retrain"  # of the decisions on tags
_FLOW_RUN = "PREFECT__FLOW_RUN_ID"  # in the environment of a process that Prefect started for a flow


def _report_state(flow: Flow, flow_run: FlowRun, state: State) -> None:
    _print(f"{flow.name} {state.name}: {state.message}")
    if state.is_crashed() and _FLOW_RUN not in os.environ:  # in `serve`: the flow's own process is dead
        preset = load(flow_run.parameters["preset"])
        webhooks.notify(preset.notify, "failed", str(flow_run.id), _facts(preset, flow.name) | {"state": "crashed"})


def _facts(preset: Preset, flow: str) -> dict[str, str]:
    return {"flow": flow, "preset": preset.name}


def _print(text: str) -> None:
    print(f"alignery: {text}", file=sys.stderr, flush=True)


@flow(name="cycle", on_failure=[_report_state], on_crashed=[_report_state])
async def refresh_and_publish(preset: str = "nano", home: Path = Path(".alignery")) -> str | None:
    """Refresh and publish. Returns the tag, or None where nothing new was published.

    Args:
        preset: a shipped preset's name, or the path of a .yaml file.
        home: the folder of the lake.
    """
    async with _at_work(load(preset), home, "cycle"):
        summary = await refresh(preset, home)
        counts = f"{summary.accepted} of {summary.target} accepted, {summary.sent} requests sent"
        _print(f"refresh {summary.state}: {summary.message or counts}")
        publication = await publish(preset, home)
        _print(f"published {publication.tag}" if publication.created else f"nothing new since {publication.tag}")
        return publication.tag if publication.created else None


@flow(name="retrain_published", on_failure=[_report_state], on_crashed=[_report_state])
async def retrain_on_publish(
    preset: str = "nano", home: Path = Path(".alignery"), tag: str | None = None
) -> dict[str, str]:
    """Train on a published tag if the preset's `retrain_when` holds, and put what was trained through the gate.

    Args:
        preset: has the policy, the recipes and the gate.
        home: the folder of the lake.
        tag: the publication; the newest when left out.

    Returns:
        What was decided now: the tag's "retrain" or "held back", and each model's "promoted" or "kept".
    """
    loaded_preset = load(preset)
    async with _at_work(loaded_preset, home, "retrain_published") as lake:
        decided = await asyncio.to_thread(decide, loaded_preset, lake, tag)
        _print(f"{decided['tag']}: {decided['reasons'][0]}")
        states = {decided["tag"]: decided["state"]}
        if decided["state"] == "retrain":
            await retrain(preset, home, decided["tag"])
            for one in await promote(preset, home) if loaded_preset.evaluate else []:
                states[str(one.path)] = one.state
                _print(f"{Path(one.path or '').name}: {one.reasons[0]}")
        return states


@asynccontextmanager
async def _at_work(preset: Preset, home: Path, flow: str) -> AsyncIterator[Lake]:
    """One of these flows at a time; it ends with the `alignery serve` that started it, however that ends."""
    if _FLOW_RUN in os.environ:
        exit_with_parent()
        # A terminal's Ctrl-C is for `serve`, which stops this process by SIGTERM; Prefect would print fifty lines.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        logging.getLogger("asyncio").addFilter(lambda record: "asyncio.run() shutdown" not in record.getMessage())
    try:
        async with exclusive_run(preset.place(home), WORK, schema=preset.lake_schema) as lake:
            yield lake
    except Exception as error:  # re-raised; a run reports its own failure, this one came before, between or after runs
        webhooks.failed(preset.notify, digest(flow, datetime.now(UTC).isoformat()), error, _facts(preset, flow))
        raise


def decide(preset: Preset, lake: Lake, tag: str | None = None) -> dict[str, Any]:
    """Whether a tag trains a model: the row of `decisions`, written unless it is there.

    Raises:
        LakeUsageError: no such tag is published.
    """
    found = tag_delta(lake, tag)
    rules = preset.retrain_when
    id = digest(ALIAS, found.tag, rules.model_dump(mode="json"))
    known = [row for row in model_registry.decisions(lake, ALIAS) if row["id"] == id]
    if known:
        return known[0]
    decision = policy.decide(rules, found.accepted, found.reject_rate, found.duplicate_rate, found.since)
    row = {
        "id": id,
        "alias": ALIAS,
        "state": "retrain" if decision.retrain else "held back",
        "decided_by": "policy",
        "reasons": list(decision.reasons),
        "figures": json.dumps(asdict(found)),
        "policy": rules.model_dump_json(),
        "tag": found.tag,
    }
    with Run(lake, "retrain_published", preset) as run:
        run.start()
        lake.ledger.write("decisions", [row], run_id=run.id, message=f"{found.tag}: {row['state']}")
        if not decision.retrain:
            run.decided(id, "held_back", alias=ALIAS, state="held back", tag=found.tag, decided_by="policy")
        run.end("finished", {found.tag: row["state"]})
    return row

"""Dagster assets: a refreshed lake, and the training set published from it (dagster dev -f dagster_assets.py)."""

import os

import dagster as dg

import alignery

PRESET, HOME = os.environ.get("ALIGNERY_PRESET", "nano"), os.environ.get("ALIGNERY_HOME", ".alignery")


@dg.asset
def lake() -> dg.MaterializeResult:
    """What the lake has is not asked for again, so a retry goes on where the last run ended."""
    done = alignery.refresh(PRESET, HOME)
    counts = {"accepted": done.accepted, "target": done.target, "sent": done.sent, "saved": done.saved}
    return dg.MaterializeResult(metadata={"run_id": done.run_id, "state": done.state, **counts})


@dg.asset(deps=[lake])
def training_set() -> dg.MaterializeResult:
    """The same content is published once, and its hash is the asset's version."""
    done = alignery.publish(PRESET, HOME)
    facts = {"tag": done.tag, "path": dg.MetadataValue.path(str(done.path)), **done.rows}
    return dg.MaterializeResult(data_version=dg.DataVersion(done.content_hash), metadata=facts)


nightly = dg.ScheduleDefinition(name="nightly", target=[lake, training_set], cron_schedule="0 3 * * *")
defs = dg.Definitions(assets=[lake, training_set], schedules=[nightly])

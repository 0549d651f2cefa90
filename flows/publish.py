"""`publish`: pin the lake's snapshot under a tag and write the export that trainers open; send Prefect an event."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect import flow
from prefect.events import emit_event

from alignery.config.preset import load, named
from alignery.hashing import digest
from alignery.pipeline.runs.publication import tag_and_export
from warehouse import Lake, LakeLocation
from warehouse.export.publish import Publication
from warehouse.query.since_last_training import tag_delta

PUBLISHED = "alignery.snapshot.published"  # the event; `flows.scheduled.retrain_on_publish` answers it


@flow(name="publish", persist_result=False)
async def publish(preset: str = "nano", home: Path = Path(".alignery"), tag: str | None = None) -> Publication:
    """Tag and export the lake's current content. If it is new, an event is sent to Prefect.

    Args:
        preset: names the models whose licences the card states.
        home: the folder of the lake.
        tag: the tag's name; the next of v1, v2, … when left out.
    """
    loaded_preset = load(preset)
    with Lake.open(loaded_preset.place(home), schema=loaded_preset.lake_schema) as lake:
        publication = await asyncio.to_thread(tag_and_export, loaded_preset, lake, home, tag)
        if publication.created:
            _emit(preset, lake, home, publication)
    return publication


def resource(place: LakeLocation) -> str:
    """The lake's name in Prefect's events, the same from every process."""
    return f"alignery.lake.{digest(str(place))[:12]}"


def _emit(preset: str, lake: Lake, home: Path, publication: Publication) -> None:
    found = tag_delta(lake, publication.tag)
    emit_event(
        PUBLISHED,
        resource={"prefect.resource.id": resource(lake.place), "prefect.resource.name": str(lake.place)},
        payload={
            "tag": publication.tag,
            "preset": named(preset),
            "home": str(home.absolute()),
            "since": found.since,
            "new_accepted": found.accepted,
            "reject_rate": round(found.reject_rate, 4),
            "duplicate_rate": round(found.duplicate_rate, 4),
        },
    )

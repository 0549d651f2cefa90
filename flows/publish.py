"""`publish`: pin the lake's snapshot under a tag and write the export that trainers open."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.presets import Preset, load
from flows.run import Run
from warehouse import Lake
from warehouse.publish import Publication
from warehouse.publish import publish as publish_snapshot


@flow(name="publish")
async def publish(preset: str = "nano", home: Path = Path(".alignery"), tag: str | None = None) -> Publication:
    """Tag and export what the lake holds now.

    Args:
        preset: names the models whose licences the card states.
        home: the folder of the lake.
        tag: the tag's name; the next of v1, v2, … when left out.
    """
    made = load(preset)
    with Lake.open(made.place(home)) as lake:
        return tag_and_export(made, lake, home, tag)


def tag_and_export(preset: Preset, lake: Lake, home: Path, tag: str | None) -> Publication:
    """The publication itself. The same content is published once: asked again, it is the same publication."""
    message = f"preset {preset.name}"
    with Run(lake, "publish", preset) as run:
        publication = publish_snapshot(
            lake, tag, home / "exports", models=preset.by_model(), run_id=run.id, message=message
        )
        if publication.created:
            run.start()
            run.end("finished", publication.rows)
    return publication

"""Publication: pin the lake's snapshot under a tag and write the export that trainers open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alignery.config.preset import Preset
from alignery.pipeline.refresh import clean
from alignery.pipeline.run import Run
from warehouse import Lake
from warehouse.export.publish import Publication
from warehouse.export.publish import publish as publish_snapshot
from warehouse.export.selection import Selection


def tag_and_export(preset: Preset, lake: Lake, home: Path, tag: str | None) -> Publication:
    """The publication itself: the rows that `published_rows` takes. The same content is published once."""
    message, exports = f"preset {preset.name}", home / "exports"
    with Run(lake, "publish", preset) as run:
        return publish_snapshot(
            lake,
            tag,
            exports,
            models=preset.by_model(),
            run_id=run.id,
            message=message,
            shapes=preset.published,
            selection=published_rows(preset),
            beside=run.finished,
        )


def published_rows(preset: Preset) -> Selection:
    """Which rows a publication takes: none of the prompts of evaluation sets, and what people's marks leave of them
    by the preset's section `publish`."""
    found, publish = clean(preset), preset.publish
    if publish is None:
        return found
    return replace(found, reviewed=publish.reviewed, weight=publish.marks.weight if publish.marks else None)

"""Publication: pin the lake's snapshot under a tag and write the export that trainers open."""

from __future__ import annotations

from pathlib import Path

from alignery.config.preset import Preset
from alignery.pipeline.refresh import clean
from alignery.pipeline.run import Run
from warehouse import Lake
from warehouse.export.publish import Publication
from warehouse.export.publish import publish as publish_snapshot


def tag_and_export(preset: Preset, lake: Lake, home: Path, tag: str | None) -> Publication:
    """The publication itself, without the prompts of evaluation sets. The same content is published once."""
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
            selection=clean(preset),
            beside=run.finished,
        )

"""The verbs that take something out of the lake: a training set of a tag, and what goes to a hub."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alignery.cli.options import HOME, HomeOption, JsonOption, PresetOption, app, handle_errors, reading
from alignery.cli.render import results
from alignery.cli.render.console import say

if TYPE_CHECKING:
    from alignery.config.schema import Mixing
    from warehouse.export.selection import DuplicateMarker, Selection


ShapeOption = Annotated[
    str,
    typer.Option("--format", help="A trainer's view (sft, preferences, qac, constitutional, …), or alpaca, sharegpt."),
]
DistinctOption = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        max=1.0,
        help="Leave out near-duplicate answers of at least this similarity (Jaccard of shingles), for example 0.8.",
    ),
]


@app.command()
def export(
    tag: Annotated[str, typer.Argument(help="A tag, a snapshot's number, a date or time (UTC), or an age: 7d.")],
    shape: ShapeOption = "sft",
    out: Annotated[Path | None, typer.Option(help="The folder to make; by default HOME/exports/TAG-FORMAT.")] = None,
    held_out: Annotated[float, typer.Option(help="The share of prompts that go to the test split.")] = 0.05,
    shard_rows: Annotated[int, typer.Option(help="The maximum number of rows in a file.")] = 100_000,
    min_rating: Annotated[
        float | None, typer.Option(help="Only answers rated at least this, 0 to 5; AlpaGasus uses 4.5.")
    ] = None,
    rated_on: Annotated[str, typer.Option(help="The dimension of --min-rating.")] = "accuracy",
    control: Annotated[
        bool, typer.Option("--control", help="As many rated answers as --min-rating would take, at random.")
    ] = False,
    distinct: DistinctOption = None,
    dvc: Annotated[
        bool, typer.Option("--dvc", help="Also write the folder's .dvc file, for Data Version Control.")
    ] = False,
    reviewed: Annotated[
        bool, typer.Option("--reviewed", help="Only rows that a person marked right, with people's corrections.")
    ] = False,
    mix: Annotated[str | None, typer.Option(help="Mix the training split: origin,cap=3000,temperature=2.")] = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Export a training set: one view of a tag as Parquet files in two splits, with a card and a manifest.

    A prompt is on the same side of the split in every export. The same export over itself changes nothing.
    Prompts of the preset's evaluation sets are left out.
    """
    from dataclasses import replace

    from alignery.config.preset import load
    from alignery.pipeline.refresh import clean
    from warehouse.export.export import export as write
    from warehouse.query.snapshots import release_of

    with handle_errors():
        loaded_preset, selection = load(preset), _selection(min_rating, rated_on, control, distinct)
        mixed = _mixing(mix).mix(loaded_preset.library()) if mix else None

    with reading(home, preset) as lake:
        release = release_of(lake, tag)
    with reading(home, preset, str(release.snapshot_id)) as pinned:
        cleaned = clean(loaded_preset)
        selection = replace(selection, reviewed=reviewed, mix=mixed, leaked=cleaned.leaked, nearest=cleaned.nearest)
        folder = out or home / "exports" / f"{tag}-{shape}{selection.suffix}"
        done = write(
            pinned,
            [shape],
            folder,
            release=release,
            licences=loaded_preset.by_model(),
            held_out=held_out,
            shard_rows=shard_rows,
            selection=selection,
        )
        results.exported(done, as_json)
        if dvc:
            _write_dvc(done.path, as_json)


def _write_dvc(folder: Path, as_json: bool) -> None:
    from warehouse.export.dvc import write_dvc

    listed = write_dvc(folder)
    if not as_json:
        say(f"For Data Version Control: {listed}")


@app.command()
def push(
    what: Annotated[
        str, typer.Argument(help="A published tag, the folder of an export, or a trained model's id or folder's name.")
    ],
    repo: Annotated[str, typer.Argument(help="The repository on the hub: you/name. Created if it does not exist.")],
    public: Annotated[bool, typer.Option("--public/--private", help="Visibility of the repository.")] = False,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Push an export or a trained model to a Hugging Face hub (HF_ENDPOINT), with the token in HF_TOKEN; prints where.

    Nothing else in Alignery sends anything to a hub. Pushed again unchanged, nothing is committed.
    """
    from alignery.config.preset import load
    from alignery.hub.push import export_source, find_source
    from alignery.hub.push import push as send

    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    source = export_source(Path(what)) if Path(what).is_dir() else None
    if source is None:
        with reading(home, preset) as lake:
            source = find_source(lake, what, load(preset).by_model())
    with handle_errors():
        done = send(source, repo, public=public)
    results.pushed(done, as_json)


def _mixing(text: str) -> Mixing:
    """The mixture in the option --mix: what to mix by, and settings, as `origin,cap=3000,few=0.25`. Raises
    LakeUsageError where it is wrong."""
    from alignery.config.schema import Mixing
    from alignery.untrusted import excerpt
    from alignery.validation import validated
    from tasks.mixing import FORMS
    from warehouse import LakeUsageError

    settings: dict[str, Any] = {}
    for each in text.split(","):
        name, equals, value = each.strip().partition("=")
        name, value = (name, value) if equals else ("by", name)
        if name in settings:
            raise LakeUsageError(
                f"--mix: {excerpt(name, 60)}: got {excerpt(settings[name], 60)!r} and {excerpt(value, 60)!r}, expected "
                "one of them; drop the other"
            )
        settings[name] = value
    forms = {name: settings.pop(name) for name in FORMS if name in settings}
    return validated(Mixing, {"forms": forms} | settings, "--mix", LakeUsageError)


def _selection(min_rating: float | None, rated_on: str, control: bool, distinct: float | None) -> Selection:
    from warehouse.export.selection import Selection

    if distinct is None:
        return Selection(min_rating, rated_on, control)
    from tasks.filters.minhash import NearDuplicates

    def marker() -> DuplicateMarker:
        seen = NearDuplicates(distinct)
        return lambda ids, answers: [found.id for found in seen.mark(ids, answers)]

    return Selection(min_rating, rated_on, control, marker, f"answers alike by {distinct:g} or more to one before")

"""The verbs that keep something of the lake: a training set of a tag, to take away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import show
from flows.command import HOME, HomeOption, JsonOption, PresetOption, app, reading


@app.command()
def export(
    tag: Annotated[str, typer.Argument(help="A tag, a snapshot's number, a date or time (UTC), or an age: 7d.")],
    shape: Annotated[
        str,
        typer.Option("--format", help="sft, engrave, preferences, qac; or sft in the shapes of alpaca and sharegpt."),
    ] = "sft",
    out: Annotated[
        Path | None, typer.Option(help="The folder to make; <home>/exports/<tag>-<format> if left out.")
    ] = None,
    held_out: Annotated[float, typer.Option(help="The share of prompts that go to the test split.")] = 0.05,
    shard_rows: Annotated[int, typer.Option(help="Rows of a file at most.")] = 100_000,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Take a training set: one shape of a tag as Parquet files in two splits, with a card and a manifest.

    A prompt is on the same side of the split in every export. The same export over itself changes nothing.
    """
    from flows.presets import load
    from warehouse.export import export as write
    from warehouse.snapshots import released

    with reading(home, preset) as lake:
        release = released(lake, tag)
    with reading(home, preset, str(release.snapshot_id)) as pinned:
        folder = out or home / "exports" / f"{tag}-{shape}"
        licences = load(preset).by_model()
        done = write(
            pinned, [shape], folder, release=release, licences=licences, held_out=held_out, shard_rows=shard_rows
        )
    show.exported(done, as_json)

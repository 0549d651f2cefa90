"""Exporting: a snapshot's rows in the shapes that trainers take, as a folder that `datasets` opens directly.

    <folder>/README.md       the card, whose front matter says which files are which split
             manifest.json   snapshot, queries, rows, hashes, prompts, models
             data/train-00000-of-00002.parquet    the trainer's own columns, ordered by the prompt's hash, and id
             data/test-00000-of-00001.parquet     the same of the prompts that are held out
             provenance/…                         file by file, where each row came from, in the same order

Where several shapes are exported together, each has a folder of its own in `data/` and `provenance/`, and a
configuration of its own in the card. A split without rows has no file and is not named in the card, for `datasets`
refuses an empty one.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from alignery import effects
from alignery.declarations import Shape
from alignery.display import Displayed
from warehouse.database.lock import exclusive
from warehouse.errors import LakeFailure, LakeUsageError
from warehouse.export.content_hash import digest
from warehouse.export.dataset_card import ExportedShape, Release, manifest, render
from warehouse.export.exported import IN_THE_WAY, holds_export
from warehouse.export.neighbours import near_share
from warehouse.export.reviewed import ABOUT, WEIGHED, WEIGHT, reviewed_rows
from warehouse.export.selection import Chosen, Leaks, Selection, columns
from warehouse.export.split_writer import SplitWriter
from warehouse.lake import Lake
from warehouse.query.time_travel import relations
from warehouse.schema.lake_schema import LakeSchema

SPLITS = ("train", "test")
HELD_OUT = 0.05  # of the prompts; our choice
SHARD_ROWS = 100_000  # of a file at most; our choice
_GRAIN = 1_000_000  # the share that is held out is counted in millionths
_THREADS = 1
_PLACES = 1 << 16
_PART = 50_000  # instructions whose rows are sorted at once; our choice
_BATCH = 2048  # rows that DuckDB returns at a time
_CHOSEN = "JOIN temp.chosen USING (id) "  # a mixture may have an id more than once


@dataclass(frozen=True)
class Export(Displayed):
    """A finished export. `created` is false where the folder held the same already."""

    path: Path
    tag: str | None
    snapshot_id: int
    content_hash: str
    rows: dict[str, dict[str, int]]  # shape → split → rows
    created: bool


def export(
    pinned: Lake,
    shapes: Sequence[str],
    folder: Path,
    *,
    release: Release,
    licences: Mapping[str, str],
    held_out: float = HELD_OUT,
    shard_rows: int = SHARD_ROWS,
    selection: Selection | None = None,
) -> Export:
    """Write an export, unless the folder holds it already: the same content in files of the same rows.

    Args:
        pinned: a lake open at the release's snapshot.
        shapes: names of shapes that methods declare; one is laid out flat, several each in a folder of its own.
        release: what the snapshot is named, for the card.
        licences: identity of a model → its licence, for the card.
        held_out: the share of prompts that go to the test split, 0 to 1. The hash of a prompt's text decides, so a
            prompt is on the same side in every shape, export and snapshot; a larger share holds a smaller one.
        shard_rows: rows of a file at most.
        selection: which rows are taken; all of them if left out.

    Raises:
        LakeUsageError: an unknown shape, a share or number out of bounds, nothing to export, or something in the way.
    """
    check(pinned.schema, shapes, held_out, shard_rows)
    pinned.place.check_export(folder)
    with drafted(pinned, folder.absolute()) as draft:
        written = write(pinned, shapes, draft, held_out, shard_rows, selection)
        if not any(shape.rows for shape in written.values()):
            left_out = sum(shape.contaminated for shape in written.values())
            right = " that people marked right" if selection and selection.reviewed else ""
            empty = f"{', '.join(written)} has no rows{right} at snapshot {release.snapshot_id}"
            empty += f" but {left_out} whose prompts are in evaluation sets" if left_out else ""
            first = "run `alignery refresh` first"
            if right:  # a snapshot has the marks that were made before it
                first = "mark some (`alignery marks review`), and export a tag that is newer (`alignery tag NAME`)"
            raise LakeUsageError(f"{pinned.place}: nothing to export: {empty}; {first}")
        facts = describe(pinned, release, written, licences, draft, held_out, selection)
        created = not holds_export(folder, facts)
        if created:
            place(draft, folder)
    rows = {name: {split: part.rows for split, part in shape.splits.items()} for name, shape in written.items()}
    return Export(folder.absolute(), release.tag, release.snapshot_id, facts["content_hash"], rows, created)


def check(schema: LakeSchema, shapes: Sequence[str], held_out: float, shard_rows: int) -> None:
    """Refuse arguments of which no export can be made."""
    for name in shapes:
        schema.shape(name)
    if not 0 <= held_out < 1:
        raise LakeUsageError(
            f"held out: got {held_out}, expected a share of the prompts from 0 to below 1, such as 0.05"
        )
    if shard_rows < 1:
        raise LakeUsageError(f"shard rows: got {shard_rows}, expected at least 1")


def is_held_out(prompt: str, held_out: float = HELD_OUT) -> str:
    """The SQL of whether a row is in the test split, from the SQL of its prompt's text."""
    # The view sft splits by the lower half of the same hash; these are bits of the upper one.
    return f"md5_number_upper({prompt}) % {_GRAIN} < {round(held_out * _GRAIN)}"


@contextmanager
def drafted(lake: Lake, folder: Path) -> Iterator[Path]:
    """A folder beside the export's own to write it in, exclusively; removed afterwards in any case."""
    with exclusive(lake.place, "publish", f"exporting to {folder}"):
        draft = folder.parent / f".{folder.name}.unfinished"
        with effects.DRAFT_REMOVE:
            shutil.rmtree(draft, ignore_errors=True)
        try:
            draft.mkdir(parents=True)
            yield draft
        except OSError as error:
            raise LakeFailure(
                f"{folder}: the export cannot be written: {error}; fix that, or choose another folder"
            ) from error
        finally:
            with effects.DRAFT_REMOVE:
                shutil.rmtree(draft, ignore_errors=True)


def write(
    pinned: Lake,
    shapes: Sequence[str],
    draft: Path,
    held_out: float = HELD_OUT,
    shard_rows: int = SHARD_ROWS,
    selection: Selection | None = None,
) -> dict[str, ExportedShape]:
    """The data and provenance of each shape, streamed: no more than some batches are held in memory.

    DuckDB has one thread, because each takes its own buffers: with two, joins and sorts of a million wide rows do
    not fit the gigabyte that a lake's connection may take.
    """
    with pinned.cursor() as cursor:
        cursor.execute(f"SET threads = {_THREADS}")
    several = len(shapes) > 1
    return {
        name: _write(pinned, name, draft, name if several else "", held_out, shard_rows, selection) for name in shapes
    }


def describe(
    pinned: Lake,
    release: Release,
    written: Mapping[str, ExportedShape],
    licences: Mapping[str, str],
    draft: Path,
    held_out: float = HELD_OUT,
    selection: Selection | None = None,
) -> dict[str, Any]:
    """Write the manifest and the card; returns the manifest's content."""
    facts = manifest(pinned, release, content_hash(written), held_out, written, licences)
    nearest = selection.nearest if selection else None
    facts["neighbours"] = near_share(pinned, is_held_out("text", held_out), nearest)
    with effects.EXPORT_FACTS:
        (draft / "manifest.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (draft / "README.md").write_text(render(release, facts, written), encoding="utf-8")
    return facts


def content_hash(written: Mapping[str, ExportedShape]) -> str:
    """One hash over the rows of every shape and split."""
    return digest(
        {name: {split: part.content for split, part in shape.splits.items()} for name, shape in written.items()}
    )


def place(draft: Path, folder: Path) -> None:
    """Move the finished draft to where it belongs, in one step. Raises LakeUsageError if something is already there."""
    try:
        with effects.EXPORT_RENAME:
            draft.rename(folder)
    except OSError as error:
        raise LakeUsageError(f"{folder}: {IN_THE_WAY}") from error


def _query(
    shape: Shape,
    rows_of: str,
    held_out: float,
    taken: str = "* EXCLUDE prompt_text",
    where: str = "",
    ties: str = "",
) -> str:
    """The query of a shape's rows: the trainer's columns, all that its view knows beside, and each row's side.

    Args:
        rows_of: the shape's view, or what replaces it.
        ties: what orders the rows of one id.
    """
    hidden = ", ".join(shape.hidden if shape.select else shape.columns)
    rows = f"SELECT {shape.select or hidden}, {shape.prompt} AS prompt_text, * EXCLUDE ({hidden}) FROM {rows_of}"
    side = is_held_out("prompt_text", held_out)
    order = f"{where}ORDER BY {_place_of('prompt_text')}, id{ties}"
    return f"SELECT {taken}, {side} AS held_out FROM (\n{rows}\n) {order}"


def _place_of(prompt: str) -> str:
    """The SQL of a prompt's place in an export, from 0 to _PLACES: the first bits of its hash."""
    return f"md5_number_upper({prompt}) // {2**64 // _PLACES}"


def _write(
    pinned: Lake, name: str, draft: Path, inner: str, held_out: float, shard_rows: int, selection: Selection | None
) -> ExportedShape:
    shape = pinned.schema.shape(name)
    about, rows_of, where, chosen = shape.about, shape.view, "", None
    mix = selection.mix if selection else None
    ties = ", form" if mix and mix.forms else ""
    splits: list[SplitWriter] = []
    leaks = Leaks(selection.leaked if selection else None)
    views = pinned.schema.views if selection else [shape.view]
    with pinned.cursor(views=views) as cursor, ExitStack() as stack:
        if selection and (selection.reviewed or selection.weight):
            about = f"{about}; {WEIGHED.format(selection.weight) if selection.weight else ABOUT}"
            rows_of = reviewed_rows(cursor, shape, selection.weight)
        learned = (*shape.columns, *([WEIGHT] if selection and selection.weight else []))
        query = _query(shape, rows_of, held_out)
        if selection and selection.chooses:
            where, chosen = _CHOSEN, _choose(cursor, pinned.schema, shape, rows_of, held_out, selection)
            about = f"{about}; {chosen.words}"
            query = f"-- {chosen.words}\n{_query(shape, rows_of, held_out, where=where, ties=ties)}"
        read = _query(shape, rows_of, held_out, f"* EXCLUDE prompt_text{leaks.columns(shape)}", where, ties)
        for reader in _parts(cursor, pinned.schema, read):
            splits = splits or [
                SplitWriter(stack, split, draft, inner, reader.schema, learned, shard_rows) for split in SPLITS
            ]
            for clean in map(leaks.without, _batches(reader)):
                batch = mix.phrased(clean, chosen.examples) if mix and chosen else clean
                in_test = batch.column("held_out")
                for split, mask in zip(splits, (pc.invert(in_test), in_test), strict=True):
                    split.add(batch.filter(mask))
        done = {split.name: split.finish() for split in splits}
    sample = next((split.sample for split in splits if split.sample), None)
    mixture = chosen.mixture if chosen else None
    return ExportedShape(name, about, query, learned, done, sample, leaks.count, mixture)


def _choose(
    cursor: duckdb.DuckDBPyConnection,
    schema: LakeSchema,
    shape: Shape,
    rows_of: str,
    held_out: float,
    selection: Selection,
) -> Chosen:
    """Let the selection choose among the shape's rows, for the join `_CHOSEN`."""
    leaks = Leaks(selection.leaked)
    if selection.mix:
        selection.mix.check(shape, [name for name, *_ in cursor.execute(f"DESCRIBE {shape.view}").fetchall()])
    selected = columns(shape, selection.mix) + leaks.columns(shape)
    readers = _parts(cursor, schema, _query(shape, rows_of, held_out, selected))
    batches = (leaks.without(batch) for reader in readers for batch in _batches(reader))
    return selection.choose(cursor, shape.name, batches)


def _parts(cursor: duckdb.DuckDBPyConnection, schema: LakeSchema, query: str) -> Iterator[pa.RecordBatchReader]:
    """The query's rows, part by part: each part has the prompts whose hashes lie in a range, and all of their rows.

    The views choose among the rows of one prompt, and sort. With a part of the prompts in the place of their tables
    they do so in the memory of a part, however many there are; each part costs one more reading of the tables.
    """
    there = relations(cursor, schema)
    tables = {
        name: f"SELECT snapshot_id, {', '.join(schema.tables[name].names)} FROM {there[name]}"
        for name in dict.fromkeys(["instructions", *schema.read_by(query)])
    }
    (count,) = cursor.execute(f"SELECT count(*) FROM ({tables['instructions']})").fetchall()[0]
    parts = min(_PLACES, max(1, math.ceil(count / _PART)))
    for number in range(parts):
        first, end = (_PLACES * edge // parts for edge in (number, number + 1))
        among = f"{_place_of('text')} >= {first} AND {_place_of('text')} < {end}"
        for name, rows in tables.items():
            cursor.execute(f"DROP TABLE IF EXISTS temp.{name}")
            if name == "instructions":
                which = among
            elif name in schema.of_instructions:
                which = "instruction_id IN (SELECT id FROM temp.instructions)"
            else:
                which = "true"
            cursor.execute(f"CREATE TEMP TABLE {name} AS {rows} WHERE {which}")
        yield cursor.execute(query).to_arrow_reader(_BATCH)


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The reader's batches; if DuckDB fails meanwhile, Arrow raises its own errors."""
    try:
        yield from reader
    except (pa.ArrowException, OSError) as error:
        message = f"the lake failed while it was read: {' '.join(str(error).split())[:400]}"
        raise LakeFailure(f"{message}; if memory ran out, allow more, as with ALIGNERY_MEMORY=2GB") from error

"""Naming a snapshot, and publishing it: a name and an export of sft, preferences and qac, under `<exports>/<tag>`.

The lake is the source: an export that was deleted is made again from its tag.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alignery import effects
from alignery.display import Displayed
from warehouse.database.lock import exclusive
from warehouse.errors import LakeFailure, LakeUsageError
from warehouse.export.dataset_card import Release
from warehouse.export.export import content_hash, describe, drafted, place, write
from warehouse.export.selection import Selection
from warehouse.lake import Lake
from warehouse.query import status
from warehouse.query.snapshots import check_name
from warehouse.schema.tables import Row

Beside = Callable[[Mapping[str, int]], Mapping[str, Sequence[Row]]]
PUBLISHED = ("sft", "preferences", "qac")


@dataclass(frozen=True)
class Tag:
    """A named snapshot. `created` is false if it had that name already."""

    tag: str
    snapshot_id: int
    content_hash: str
    rows: dict[str, int]
    created: bool


@dataclass(frozen=True)
class Publication(Displayed):
    """A tagged snapshot and its export. `created` is false if it existed already."""

    tag: str
    snapshot_id: int
    content_hash: str
    rows: dict[str, int]
    path: Path
    created: bool

    def data(self, view: str) -> Path:
        """The folder of Parquet files that a trainer of this view reads."""
        return self.path / "data" / view


def publish(
    lake: Lake,
    tag: str | None,
    exports: Path,
    *,
    models: Mapping[str, str],
    run_id: str,
    message: str | None = None,
    shapes: Sequence[str] = PUBLISHED,
    selection: Selection | None = None,
    beside: Beside = lambda rows: {},
) -> Publication:
    """Tag the newest snapshot and export its views.

    The same content under the same tag (or, without a tag, the content of the newest published tag) is the same
    publication: nothing is committed. A tag that was only named is published where it is asked for by its name, as the
    snapshot that it names.

    Args:
        tag: the name; None takes the first unused of v1, v2, ….
        exports: the folder that exports go to, `<exports>/<tag>`.
        models: identity of a model → its licence, for the card.
        message: why, in a sentence for the card.
        shapes: what is exported.
        selection: which rows are taken; all of them if left out.
        beside: rows of each view → rows of other tables that belong to the tag, committed with it.

    Raises:
        LakeUsageError: a bad name, a tag that holds other content, nothing to publish, or a folder in the way.
    """
    if tag is not None:
        check_name(lake, tag)
    # The tag's name is not known yet, but one draft at a time is written in this lake.
    with drafted(lake, exports.absolute() / "publication") as draft:
        return _publish(lake, tag, draft, models, run_id, message, shapes, selection, beside)


def tag(
    lake: Lake,
    name: str,
    snapshot: int | None = None,
    *,
    run_id: str,
    message: str | None = None,
    shapes: Sequence[str] = PUBLISHED,
    beside: Beside = lambda rows: {},
) -> Tag:
    """Name a snapshot, so that maintenance keeps it; nothing is exported. The same name again commits nothing.

    Args:
        snapshot: as `resolve` gives it; the newest if left out, which is still the one that was named so before where
            no work was committed since.
        shapes: whose rows its hash is made from, as an export's.
        beside: rows of each view → rows of other tables that belong to the tag, committed with it.

    Raises:
        LakeUsageError: a bad name, or one that another snapshot has.
    """
    check_name(lake, name)
    # The lock under which `publish` writes tags.
    with exclusive(lake.place, "publish", f"tagging {name}"):
        if row := next((row for row in status.tags(lake) if row["name"] == name), None):
            if row["snapshot_id"] == snapshot or (snapshot is None and _nothing_since(lake, row["snapshot_id"])):
                return Tag(name, row["snapshot_id"], row["content_hash"], json.loads(row["rows"]), created=False)
            raise LakeUsageError(
                f"the tag {name} names snapshot {row['snapshot_id']}, not {snapshot or lake.snapshot()}; choose "
                f"another, e.g. {lake.next_tag()}"
            )
        snapshot = lake.snapshot() if snapshot is None else snapshot
        # As in an export, written only for its hash.
        try:
            with (
                Lake.open(lake.place, schema=lake.schema, snapshot=snapshot) as pinned,
                tempfile.TemporaryDirectory() as draft,
            ):
                written = write(pinned, shapes, Path(draft))
        except OSError as error:
            where = tempfile.gettempdir()
            raise LakeFailure(
                f"{where}: the tag's rows cannot be written: {error.strerror}; make room there"
            ) from error
        counts, content = {shape: part.rows for shape, part in written.items()}, content_hash(written)
        entry = {"name": name, "snapshot_id": snapshot, "content_hash": content, "rows": json.dumps(counts)}
        rows = {"tags": [entry | {"message": message}], **beside(counts)}
        lake.ledger.write_tables(rows, run_id=run_id, message=f"tag {name}")
    return Tag(name, snapshot, content, counts, created=True)


def _nothing_since(lake: Lake, snapshot: int) -> bool:
    """Whether no work was committed after a snapshot."""
    return not lake.rows(f"SELECT 1 AS one FROM commits WHERE snapshot_id > {int(snapshot)} LIMIT 1")


def _publish(
    lake: Lake,
    tag: str | None,
    draft: Path,
    models: Mapping[str, str],
    run_id: str,
    message: str | None,
    shapes: Sequence[str],
    selection: Selection | None,
    beside: Beside,
) -> Publication:
    with ExitStack() as stack:
        named = next((row for row in status.tags(lake) if row["name"] == tag and row["export_path"] is None), None)
        # A tag that was only named is published as the snapshot that it names.
        snapshot = named["snapshot_id"] if named else lake.snapshot()
        pinned = stack.enter_context(Lake.open(lake.place, schema=lake.schema, snapshot=snapshot))
        written = write(pinned, shapes, draft, selection=selection)
        rows = {name: shape.rows for name, shape in written.items()}
        if not any(rows.values()):
            raise LakeUsageError(
                f"{lake.home}: nothing to publish, {', '.join(rows)} are empty; run `alignery refresh` with a "
                "method that fills one of them (alignery methods)"
            )
        content = content_hash(written)
        there = _tagged(lake, tag, content)
        release = there or Release(tag or lake.next_tag(), pinned.snapshot(), run_id, message, datetime.now(UTC))
        folder = draft.parent / release.name
        done = Publication(release.name, release.snapshot_id, content, rows, folder, created=there is None)
        if there and (folder / "manifest.json").is_file():
            return done
        if there:
            # The same rows, as the tag's own snapshot has them: their origins may have changed since.
            pinned = stack.enter_context(Lake.open(lake.place, schema=lake.schema, snapshot=there.snapshot_id))
            written = write(pinned, shapes, draft, selection=selection)
        describe(pinned, release, written, models, draft, selection=selection)
    # The remains of an interrupted publication are removed, and nothing else.
    if (folder / "manifest.json").is_file():
        with effects.EXPORT_REPLACE:
            shutil.rmtree(folder)
    place(draft, folder)
    if not there or named:
        _record(lake, release, content, rows, folder, beside)
    return done


def _record(lake: Lake, release: Release, content: str, rows: Mapping[str, int], folder: Path, beside: Beside) -> None:
    entry = {
        "name": release.name,
        "snapshot_id": release.snapshot_id,
        "content_hash": content,
        "rows": json.dumps(rows),
        "message": release.message,
        "export_path": str(folder),
        "created_at": release.created_at,
    }
    # In one commit, so that a process that dies leaves the tag and its run, or neither.
    lake.ledger.write_tables(
        {"tags": [entry], **beside(rows)}, run_id=release.run_id or "", message=f"tag {release.name}"
    )


def _tagged(lake: Lake, tag: str | None, content: str) -> Release | None:
    """The existing tag with this content: the named one, or without a name the newest that was published."""
    if tag is None:
        found = lake.rows("SELECT * FROM tags WHERE export_path IS NOT NULL ORDER BY rowid DESC LIMIT 1")
        found = [row for row in found if row["content_hash"] == content]
    else:
        found = lake.rows("SELECT * FROM tags WHERE name = ?", [tag])
    if not found:
        return None
    row = found[0]
    # A tag that was only named says which snapshot; its rows are those of the publication, which may leave some out.
    if row["content_hash"] != content and row["export_path"] is not None:
        origin = f"{row['created_at']:%Y-%m-%d} from snapshot {row['snapshot_id']}"
        raise LakeUsageError(
            f"the tag {tag} exists (of {origin}) and holds other rows; choose another, e.g. {lake.next_tag()}"
        )
    return Release(row["name"], row["snapshot_id"], row["run_id"], row["message"], row["created_at"])

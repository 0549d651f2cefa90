"""Publishing: a snapshot gets a name and an export: sft, preferences and qac together, under `<exports>/<tag>`.

The lake holds the truth: an export that was deleted is made again from its tag.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from warehouse.card import Release
from warehouse.export import content_hash, describe, drafted, place, write
from warehouse.lake import Lake
from warehouse.schema import LakeError

PUBLISHED = ("sft", "preferences", "qac")
_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Publication:
    """A tagged snapshot and its export. `created` is false where it was there already."""

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
    lake: Lake, tag: str | None, exports: Path, *, models: Mapping[str, str], run_id: str, message: str | None = None
) -> Publication:
    """Tag the newest snapshot and export its views.

    The same content under the same tag (or, without a tag, the content of the newest tag) is the same
    publication: nothing is committed.

    Args:
        tag: the name; None takes the first unused of v1, v2, ….
        exports: the folder that exports go to, `<exports>/<tag>`.
        models: identity of a model → its licence, for the card.
        message: why, in a sentence for the card.

    Raises:
        LakeError: a bad name, a tag that holds other content, nothing to publish, or a folder in the way.
    """
    if tag is not None and not _TAG.fullmatch(tag):
        raise LakeError(
            f"the tag {tag!r} is no name; use a-z, 0-9, '.', '_' and '-', at most 100, e.g. {lake.next_tag()}"
        )
    # The tag's name is not known yet, but one draft at a time is written in this lake.
    with drafted(lake, exports.absolute() / "publication") as draft:
        return _publish(lake, tag, draft, models, run_id, message)


def _publish(
    lake: Lake, tag: str | None, draft: Path, models: Mapping[str, str], run_id: str, message: str | None
) -> Publication:
    with ExitStack() as stack:
        pinned = stack.enter_context(Lake.open(lake.place, snapshot=lake.snapshot()))
        written = write(pinned, PUBLISHED, draft)
        rows = {name: shape.rows for name, shape in written.items()}
        if not any(rows.values()):
            raise LakeError(
                f"{lake.home}: nothing to publish, {', '.join(rows)} are empty; run `alignery refresh` first"
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
            pinned = stack.enter_context(Lake.open(lake.place, snapshot=there.snapshot_id))
            written = write(pinned, PUBLISHED, draft)
        describe(pinned, release, written, models, draft)
    # What an interrupted publication left there makes way, and nothing else does.
    if (folder / "manifest.json").is_file():
        shutil.rmtree(folder)
    place(draft, folder)
    if not there:
        _record(lake, release, content, rows, folder)
    return done


def _record(lake: Lake, release: Release, content: str, rows: Mapping[str, int], folder: Path) -> None:
    entry = {
        "name": release.name,
        "snapshot_id": release.snapshot_id,
        "content_hash": content,
        "rows": json.dumps(rows),
        "message": release.message,
        "export_path": str(folder),
        "created_at": release.created_at,
    }
    lake.write("tags", [entry], run_id=release.run_id or "", message=f"tag {release.name}")


def _tagged(lake: Lake, tag: str | None, content: str) -> Release | None:
    """The tag that already stands for this content: the named one, or without a name the newest."""
    if tag is None:
        found = lake.rows("SELECT * FROM tags ORDER BY rowid DESC LIMIT 1")
        found = [row for row in found if row["content_hash"] == content]
    else:
        found = lake.rows("SELECT * FROM tags WHERE name = ?", [tag])
    if not found:
        return None
    row = found[0]
    if row["content_hash"] != content:
        made = f"{row['created_at']:%Y-%m-%d} from snapshot {row['snapshot_id']}"
        raise LakeError(
            f"the tag {tag} exists (of {made}) and holds other rows; choose another, e.g. {lake.next_tag()}"
        )
    return Release(row["name"], row["snapshot_id"], row["run_id"], row["message"], row["created_at"])

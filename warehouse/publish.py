"""Publishing: a snapshot gets a name and becomes a folder that `datasets.load_dataset` and TRL take as it is.

    <exports>/<tag>/README.md       the card, whose front matter names a configuration for each view
                    manifest.json   snapshot, queries, counts, hashes, prompts, models
                    data/<view>/train-00000-of-00001.parquet    the trainers' own columns
                    provenance/<view>.parquet                   where each row came from, in the same order

The lake holds the truth: an export that was deleted is made again from its tag.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from warehouse.card import Exported, Release, manifest, render
from warehouse.lake import Lake
from warehouse.lock import exclusive
from warehouse.schema import LakeError

# The trainers' own columns of each view; its other columns are provenance.
EXPORTS: dict[str, tuple[str, ...]] = {
    "sft": ("messages",),
    "preferences": ("prompt", "chosen", "rejected"),
    "qac": ("question", "answer", "correction"),
}
_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_BATCH = 4096  # rows held in memory at a time


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
        models: the name of a model (an alias, an identity) → its licence, for the card.
        message: why, in a sentence for the card.

    Raises:
        LakeError: a bad name, a tag that holds other content, nothing to publish, or a folder in the way.
    """
    if tag is not None and not _TAG.fullmatch(tag):
        raise LakeError(
            f"the tag {tag!r} is no name; use a-z, 0-9, '.', '_' and '-', at most 100, e.g. {lake.next_tag()}"
        )
    with exclusive(lake.place, "publish", f"publishing {tag or 'the next tag'}"):
        draft = exports.absolute() / ".unfinished"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            return _publish(lake, tag, draft, models, run_id, message)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _publish(
    lake: Lake, tag: str | None, draft: Path, models: Mapping[str, str], run_id: str, message: str | None
) -> Publication:
    with ExitStack() as stack:
        pinned = stack.enter_context(Lake.open(lake.place, snapshot=lake.snapshot()))
        views = {view: _export(pinned, view, draft) for view in EXPORTS}
        rows = {view: exported.rows for view, exported in views.items()}
        if not any(rows.values()):
            raise LakeError(
                f"{lake.home}: nothing to publish, {', '.join(rows)} are empty; run `alignery refresh` first"
            )
        content = _digest({view: exported.sha256 for view, exported in views.items()})
        there = _tagged(lake, tag, content)
        release = there or Release(
            tag or lake.next_tag(), pinned.snapshot(), content, run_id, message, datetime.now(UTC)
        )
        folder = draft.parent / release.tag
        done = Publication(release.tag, release.snapshot_id, content, rows, folder, created=there is None)
        if there and (folder / "manifest.json").is_file():
            return done
        if there:
            pinned = stack.enter_context(Lake.open(lake.place, snapshot=there.snapshot_id))
        facts = manifest(pinned, release, views, models)
    (draft / "manifest.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (draft / "README.md").write_text(render(facts, views), encoding="utf-8")
    _place(draft, folder)
    if not there:
        _record(lake, release, rows, folder)
    return done


def _record(lake: Lake, release: Release, rows: Mapping[str, int], folder: Path) -> None:
    entry = {
        "name": release.tag,
        "snapshot_id": release.snapshot_id,
        "content_hash": release.content_hash,
        "rows": json.dumps(rows),
        "message": release.message,
        "export_path": str(folder),
        "created_at": release.created_at,
    }
    lake.write("tags", [entry], run_id=release.run_id, message=f"tag {release.tag}")


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
    return Release(row["name"], row["snapshot_id"], content, row["run_id"], row["message"], row["created_at"])


def _export(pinned: Lake, view: str, draft: Path) -> Exported:
    """Stream one view, ordered by id, into its two files."""
    import pyarrow.parquet as pq

    columns = EXPORTS[view]
    data = draft / "data" / view / "train-00000-of-00001.parquet"
    provenance = draft / "provenance" / f"{view}.parquet"
    for file in (data, provenance):
        file.parent.mkdir(parents=True, exist_ok=True)
    sha, count, sample = hashlib.sha256(), 0, None
    with pinned.query(f"SELECT * FROM {view} ORDER BY id") as cursor, ExitStack() as stack:
        reader = cursor.to_arrow_reader(_BATCH)
        others = [name for name in reader.schema.names if name not in columns]
        writers = [
            (names, stack.enter_context(pq.ParquetWriter(file, _pick(reader.schema, names), compression="zstd")))
            for names, file in ((columns, data), (others, provenance))
        ]
        for batch in reader:
            for names, writer in writers:
                writer.write_batch(batch.select(names))
            for row in batch.select(columns).to_pylist():
                sample = sample or row
                sha.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
            count += batch.num_rows
    return Exported(view, count, sha.hexdigest(), columns, sample)


def _pick(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names])


def _place(draft: Path, folder: Path) -> None:
    """Move the finished draft to its place; what an interrupted publication left there makes way."""
    if folder.exists():
        if not (folder / "manifest.json").is_file():
            raise LakeError(f"{folder}: something that is no export stands there; move it away")
        shutil.rmtree(folder)
    draft.rename(folder)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

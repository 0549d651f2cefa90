"""One split of an export in progress: its files, and the hash of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from warehouse.export.content_hash import ContentHasher
from warehouse.export.dataset_card import Split
from warehouse.export.exported import sha256
from warehouse.export.selection import PROMPTS
from warehouse.export.shard_writer import Shards
from warehouse.schema.tables import Row


class SplitWriter:
    """One split of one shape in progress: the trainer's columns, their origins, and the hash of the former."""

    def __init__(
        self,
        stack: ExitStack,
        name: str,
        draft: Path,
        inner: str,
        schema: pa.Schema,
        columns: Sequence[str],
        shard_rows: int,
    ) -> None:
        self.name, self._draft, self._content = name, draft, ContentHasher()
        self.sample: Row | None = None
        others = [column for column in schema.names if column not in (*columns, "held_out", PROMPTS)]
        self._shards = [
            (
                names,
                stack.enter_context(
                    Shards(draft / top / inner, name, pa.schema([schema.field(n) for n in names]), shard_rows)
                ),
            )
            for top, names in (("data", list(columns)), ("provenance", others))
        ]

    def add(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        for names, shards in self._shards:
            shards.add(batch.select(names))
        rows = batch.select(self._shards[0][0])
        self._content.add(rows)
        self.sample = self.sample or rows.slice(0, 1).to_pylist()[0]

    def finish(self) -> Split:
        data, provenance = (
            {
                str(path.relative_to(self._draft)): {"rows": rows, "sha256": sha256(path)}
                for path, rows in shards.finish().items()
            }
            for _, shards in self._shards
        )
        return Split(self._content.hexdigest(), data, provenance)

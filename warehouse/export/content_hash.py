"""One hash of rows: it depends only on their values and their order.

A column of texts is two streams of bytes, the lengths (eight bytes each, little-endian, -1 for null) and the texts
themselves; one of doubles is which of them are there, and their eight bytes each; a list adds its own lengths, a struct
whether it is null. Each stream has a sha256 of its own, so the hash does not depend on how rows are split into
batches, nor on how Arrow or Parquet store the values.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_LISTS = (pa.types.is_list, pa.types.is_large_list)


class ContentHasher:
    """The hash of a table, batch by batch; columns of texts or doubles, and lists and structs of them."""

    def __init__(self) -> None:
        self._streams: dict[str, Any] = defaultdict(hashlib.sha256)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add these rows. Raises TypeError for a column of another kind."""
        if not batch.num_rows:
            return  # else an empty batch, which a reader may return, would change the hash
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for stream, data in _streams(name, column):
                self._streams[stream].update(data)

    def hexdigest(self) -> str:
        return digest({stream: sha.hexdigest() for stream, sha in self._streams.items()})


def digest(value: Any) -> str:
    """sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _streams(name: str, array: pa.Array) -> Iterator[tuple[str, Any]]:
    if any(matches(array.type) for matches in _TEXTS):
        array = array.cast(pa.large_binary())
        yield f"{name} lengths", _lengths(pc.binary_length(array))
        yield f"{name} bytes", _bytes(array.drop_null())
    elif any(matches(array.type) for matches in _LISTS):
        yield f"{name} lengths", _lengths(pc.list_value_length(array))
        yield from _streams(f"{name}[]", array.flatten())
    elif pa.types.is_float64(array.type):
        yield f"{name} there", _lengths(array.is_valid().cast(pa.int64()))
        yield f"{name} values", array.fill_null(0.0).to_numpy(zero_copy_only=False).astype("<f8")
    elif pa.types.is_struct(array.type):
        yield f"{name} there", _lengths(array.is_valid().cast(pa.int64()))
        for field, values in zip(array.type, array.flatten(), strict=True):
            yield from _streams(f"{name}.{field.name}", values)
    else:
        raise TypeError(f"{name}: got {array.type}, expected texts, doubles, or lists and structs of these")


def _lengths(array: pa.Array) -> np.ndarray:
    return array.fill_null(-1).to_numpy(zero_copy_only=False).astype("<i8")


def _bytes(array: pa.Array) -> bytes | memoryview:
    """The texts one after the other, without a copy; none of them is null."""
    if not len(array):
        return b""
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, "<i8")[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[bounds[0] : bounds[-1]] if data else b""

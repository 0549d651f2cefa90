"""A SQLite catalog, to be read where nothing can be written."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from warehouse.database.location import LakeLocation
from warehouse.errors import LakeFailure

_COPIES = 5  # tries to copy a catalog between two writes to it


class CatalogCopy:
    """A copy of a SQLite catalog, for a catalog in a read-only folder: there SQLite cannot even read it,
    because each reader keeps its place in the journal in a file beside it."""

    def __init__(self, place: LakeLocation) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="alignery-")
        self.file = Path(self._folder.name) / place.file.name
        parts = (place.file, Path(f"{place.file}-wal"))
        for _ in range(_COPIES):
            before = _states(parts)
            for part in parts:
                if part.exists():
                    shutil.copyfile(part, Path(self._folder.name) / part.name)
            if _states(parts) == before:
                return
        self.close()
        raise LakeFailure(f"{place.file}: it was written to again and again while it was copied to be read; run again")

    def close(self) -> None:
        self._folder.cleanup()


def catalog_copy(place: LakeLocation) -> CatalogCopy | None:
    """A copy of the catalog to read, where SQLite could not read the catalog itself."""
    beside = Path(f"{place.file}-shm")
    if place.on_postgres or os.access(place.home, os.W_OK) or beside.exists() or not place.file.is_file():
        return None
    return CatalogCopy(place)


def _states(parts: tuple[Path, ...]) -> list[tuple[int, int] | None]:
    found = [part.stat() if part.exists() else None for part in parts]
    return [(state.st_mtime_ns, state.st_size) if state else None for state in found]

"""Where a lake is: its catalog, its data, and the home folder, which has everything else.

One host needs only a home folder, which contains a SQLite catalog and a data folder. For several hosts the
catalog is a Postgres database and the data an S3 bucket; each host keeps a home of its own, for exports and models.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from alignery.secrets import mask
from warehouse.errors import LakeUsageError

_POSTGRES = ("postgres://", "postgresql://")
_S3 = "s3://"
MODELS, EXPORTS = "models", "exports"  # folders of the home


@dataclass(frozen=True)
class LakeLocation:
    """Where one lake is.

    Args:
        home: the folder for exports, models and temporary files, and for all that has no other place.
        catalog: a Postgres database, `postgres://[user@]host[:port]/database`; None is `catalog.sqlite` in the home.
            What the URL leaves out comes from the environment, as for psql (PGHOST, PGUSER, PGPASSWORD, PGPASSFILE …).
        data: `s3://bucket/prefix` or a folder that all hosts share; None is `data` in the home. S3's keys come from
            the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL …).

    Raises:
        LakeUsageError: a catalog or data of another kind.
    """

    home: Path
    catalog: str | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        if self.catalog is not None and not (self.catalog.startswith(_POSTGRES) and urlsplit(self.catalog).path[1:]):
            kind = "postgres://user@host/database, or nothing for a SQLite catalog in the home"
            raise LakeUsageError(f"lake.catalog: got {mask(self.catalog)!r}, expected {kind}")
        if self.data is not None and "://" in self.data and not re.fullmatch(r"s3://[^/]+(/.*)?", self.data):
            raise LakeUsageError(f"lake.data: got {self.data!r}, expected s3://bucket/prefix or the path of a folder")
        if self.on_s3 and re.search(r"[*?\[]", str(self.data)):
            raise LakeUsageError(
                f"lake.data: got {self.data!r}, in which *, ? and [ would be a pattern; rename the prefix"
            )
        if not self.on_s3 and "\\" in (bad := str(self.home) + (self.data or "")):
            raise LakeUsageError(
                f"got the folder {bad!r}: DuckDB takes a backslash for a separator; choose another folder"
            )

    @property
    def on_postgres(self) -> bool:
        return self.catalog is not None

    @property
    def on_s3(self) -> bool:
        return self.data is not None and self.data.startswith(_S3)

    @property
    def file(self) -> Path:
        """The SQLite catalog, for a lake that has one."""
        return self.home / "catalog.sqlite"

    @property
    def folder(self) -> str:
        """Where the Parquet files are, with the slash that DuckLake wants at its end."""
        return f"{(self.data or str(self.home / 'data')).rstrip('/')}/"

    @property
    def source(self) -> str:
        """The catalog as DuckLake attaches it."""
        return f"ducklake:postgres:{self.catalog}" if self.catalog else f"ducklake:sqlite:{self.file}"

    def own(self, recorded: str) -> str:
        """Where a model or an export is that the lake recorded with its whole path.

        A home that was copied or moved uses its own, under `models` or `exports`: the recorded path may lead to the
        lake that this one is a copy of.
        """
        path = Path(recorded)
        here = self.home / path.parent.name / path.name
        return str(here) if path.parent.name in (MODELS, EXPORTS) and here.is_dir() else recorded

    def check_export(self, folder: Path) -> None:
        """Refuse an export's folder inside the lake's own folders, or inside another export.

        Raises:
            LakeUsageError: it is such a folder.
        """
        path, home = folder.resolve(), self.home.resolve()
        reserved = [] if self.on_s3 else [Path(self.folder).resolve()]
        # Of the home, only the folder of exports is for them.
        if home / EXPORTS not in path.parents:
            reserved.append(home)
        reserved += [above for above in path.parents if (above / "manifest.json").is_file()]
        if inside := next((one for one in reserved if path.is_relative_to(one)), None):
            whose = "is another export" if (inside / "manifest.json").is_file() else "the lake keeps for itself"
            raise LakeUsageError(
                f"got the folder {folder} for an export, inside of {inside}, which {whose}; choose one elsewhere, or "
                f"in {home / EXPORTS}"
            )

    def identity(self) -> tuple[int, int] | None:
        """Which file the SQLite catalog is: another one after a deletion, None where there is none or no file."""
        try:
            found = None if self.on_postgres else self.file.stat()
        except FileNotFoundError:
            return None
        return (found.st_dev, found.st_ino) if found else None

    def __str__(self) -> str:
        if self.catalog is None and self.data is None:
            return str(self.home)
        return f"{mask(self.catalog) if self.catalog else self.file} with data in {self.folder}"


def as_location(home: Path | LakeLocation) -> LakeLocation:
    """A location, or that of a home folder; with its home made absolute."""
    found = home if isinstance(home, LakeLocation) else LakeLocation(home)
    return LakeLocation(found.home.absolute(), found.catalog, found.data)


def make_folders(where: LakeLocation) -> None:
    """Create the home and the data folder if missing. Raises LakeUsageError."""
    path = where.home if "://" in where.folder else Path(where.folder)
    try:
        where.home.mkdir(parents=True, exist_ok=True)
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise LakeUsageError(f"{path}: got a file, expected the lake's folder; move it or choose another") from error
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise LakeUsageError(f"{path}: the folder cannot be made: {why}; choose another home") from error

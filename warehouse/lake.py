"""The lake: a session with its ledger, and the lists of its tables and views."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from warehouse.database.connection import as_rows, filled_tables
from warehouse.database.location import LakeLocation, as_location, make_folders
from warehouse.database.lock import exclusive
from warehouse.database.session import COMMITS, Session
from warehouse.errors import LakeUsageError
from warehouse.ledger import Ledger
from warehouse.schema import migrate, statistics
from warehouse.schema.lake_schema import LakeSchema, default
from warehouse.schema.tables import Row, note


class Lake(Session):
    """One lake, open. Use `Lake.open` as a context manager.

    Reads have their own cursors and never wait; rows are written through `ledger`, under the lake's lock.
    """

    @classmethod
    def open(
        cls,
        where: Path | LakeLocation,
        *,
        schema: LakeSchema | None = None,
        read_only: bool = False,
        snapshot: int | None = None,
        threads: int | None = None,
    ) -> Self:
        """Open the lake of a home folder or of another place; a writer creates or migrates it if needed.

        Args:
            where: the folder that holds `catalog.sqlite` and `data/`, or the location of a lake that is elsewhere.
            schema: the tables and views of a preset's methods; by default those of the installed ones.
            read_only: never write; this works while another process writes.
            snapshot: read the lake as of this snapshot; implies `read_only`.
            threads: of DuckDB; by default ALIGNERY_THREADS, or one for each core.

        Raises:
            LakeUsageError: there is no lake to read, or it was made by a newer version; or a method's table
                lacks a column that may not be null.
            LakeFailure: its server does not answer.
        """
        where, schema = as_location(where), schema or default()
        reading = read_only or snapshot is not None
        if not reading:
            make_folders(where)
            with exclusive(where, COMMITS, "opening the lake"):
                lake = cls(where, schema, read_only=False, threads=threads)
                with lake.prepared() as connection:
                    there, changed = migrate.migrate(connection, where, schema)
                    statistics.complete(connection, changed)
                    lake.schema = migrate.define_compat_views(connection, schema, there)
            return lake
        if not where.on_postgres and not where.file.is_file():
            within = where.file.parent / ".alignery"  # of a project's folder
            nearby = (within / where.file.name).is_file()
            fix = f"there is one in {within}, give that folder" if nearby else "`alignery refresh` makes one"
            raise LakeUsageError(f"there is no lake in {where}; {fix}")
        lake = cls(where, schema, read_only=True, snapshot=snapshot, threads=threads)
        with lake.prepared() as connection:
            migrate.check(where, migrate.version(connection))
            lake.schema = migrate.define_compat_views(connection, schema, migrate.columns(connection))
        return lake

    @property
    def ledger(self) -> Ledger:
        """What is finished, and the only way to write rows."""
        return Ledger(self)

    def tables(self) -> list[Row]:
        """Tables and views: name, kind ('record' | 'ledger' | 'view'), rows, comment."""
        listed = [
            {"name": name, "kind": "record" if name in self.schema.records else "ledger", "comment": note(columns)}
            for name, columns in self.schema.tables.items()
        ]
        listed += [
            {"name": name, "kind": "view", "comment": self.schema.view_comment(name)} for name in self.schema.views
        ]
        counts = " UNION ALL ".join(
            f"SELECT '{item['name']}' AS name, count(*) AS n FROM {item['name']}" for item in listed
        )
        with self.cursor(views=self.schema.views) as cursor:
            # DuckLake takes some 10 ms to plan each reading of a table without files, and views read many of them: for
            # this cursor they are empty views. Rows that are written to one of them meanwhile are not counted yet.
            for name in self.schema.tables.keys() - filled_tables(cursor):
                cursor.execute(f"CREATE TEMP VIEW {name} AS {migrate.no_rows(self.schema.tables[name])}")
            self.read_consistent(cursor, lambda: cursor.execute(counts))
            found = {row["name"]: row["n"] for row in as_rows(cursor)}
        return [item | {"rows": found[item["name"]]} for item in listed]

    def columns(self, name: str) -> list[Row]:
        """Columns of a table or view: name, type, comment (empty for a view's)."""
        notes = {} if name in self.schema.views else {field.name: note(field) for field in self.schema.table(name)}
        described = self.rows(f"DESCRIBE {name}")
        return [
            {"name": row["column_name"], "type": row["column_type"], "comment": notes.get(row["column_name"], "")}
            for row in described
        ]

    def next_tag(self) -> str:
        """The first unused name of v1, v2, …"""
        numbers = self.rows("SELECT max(name[2:]::INT) AS n FROM tags WHERE regexp_full_match(name, 'v[0-9]{1,6}')")
        return f"v{(numbers[0]['n'] or 0) + 1}"

"""The lake: opened, read, and written to through one commit path.

A `Lake` may be used from several threads. Reads take a cursor of their own and never wait; every
write passes `commit`, which holds the lake's lock.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import duckdb

from alignery import effects
from alignery.untrusted import excerpt
from warehouse import ledger
from warehouse.database import errors
from warehouse.database.catalog_copy import catalog_copy
from warehouse.database.connection import CATALOG, LAKE, as_rows, connect, interruptible
from warehouse.database.location import LakeLocation, as_location, make_folders
from warehouse.database.lock import exclusive
from warehouse.ledger import Batch
from warehouse.query.select_only import checked
from warehouse.schema import migrate
from warehouse.schema import tables as schema
from warehouse.schema.migrate import VIEWS, view_comment
from warehouse.schema.tables import LakeFailure, LakeUsageError, Row, Rows

if TYPE_CHECKING:
    import pyarrow as pa

COMMITS = "lake"  # the lock that every commit holds
_MERGES = 50  # that may land between the beginning of a read and its end, before it is given up
_TRIES = 3  # of a commit that another, which did not hold the lock, came before
_SEARCH = f"SET search_path = 'memory.main,{LAKE}.main'"
# Views by name, and what lists them.
_MAY_NAME_VIEWS = re.compile(rf"\b(?:{'|'.join(VIEWS)}|show|describe|information_schema|duckdb_\w+)\b", re.IGNORECASE)
_T = TypeVar("_T")


class Lake:
    """One lake, open. Use `Lake.open` as a context manager."""

    def __init__(
        self, where: LakeLocation, *, read_only: bool, snapshot: int | None = None, threads: int | None = None
    ) -> None:
        self.place = where
        self.home = where.home
        self.read_only = read_only or snapshot is not None
        self._pinned = snapshot is not None
        self._copy = catalog_copy(where) if self.read_only else None
        copy = self._copy.file if self._copy else None
        self._db = connect(where, read_only=read_only, snapshot=snapshot, threads=threads, catalog=copy)
        self._checked = lru_cache(maxsize=64)(partial(checked, self._db))
        self._catalog = where.identity()
        self._writing, self._defining, self._defined = threading.Lock(), threading.Lock(), False

    @classmethod
    def open(
        cls,
        where: Path | LakeLocation,
        *,
        read_only: bool = False,
        snapshot: int | None = None,
        threads: int | None = None,
    ) -> Self:
        """Open the lake of a home folder or of another place; a writer makes or migrates it where that is due.

        Args:
            where: the folder that holds `catalog.sqlite` and `data/`, or the place of a lake that is elsewhere.
            read_only: never write; this works while another process writes.
            snapshot: read the lake as it stood at this snapshot; implies `read_only`.
            threads: of DuckDB; by default one for each core.

        Raises:
            LakeUsageError: there is no lake to read, or it was made by a newer version.
            LakeFailure: its server does not answer.
        """
        where = as_location(where)
        reading = read_only or snapshot is not None
        if not reading:
            make_folders(where)
            with exclusive(where, COMMITS, "opening the lake"):
                lake = cls(where, read_only=False, threads=threads)
                with lake._prepared():
                    migrate.migrate(lake._db, where)
            return lake
        if not where.on_postgres and not where.file.is_file():
            raise LakeUsageError(f"there is no lake in {where}; `alignery refresh` makes one")
        lake = cls(where, read_only=True, snapshot=snapshot, threads=threads)
        with lake._prepared():
            migrate.check(where, migrate.version(lake._db))
        return lake

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        if self._copy:
            self._copy.close()

    # Reading

    @contextmanager
    def cursor(self, *, views: bool = False, **given: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own to the same lake, in which tables go by their plain names.

        Args:
            views: whether its statements name views.
            given: tables that its statements may name beside the lake's.

        Raises:
            LakeFailure: the catalog or a data file is gone or damaged, or DuckDB failed otherwise in the block.
        """
        self._check_catalog("reading")
        with self._db.cursor() as cursor:
            try:
                if views:
                    self._define_views()
                # Before the lake is searched for names: else each would begin a transaction of it and end it.
                for name, rows in given.items():
                    cursor.register(name, rows)
                cursor.execute(_SEARCH)
                with interruptible(cursor):
                    yield cursor
            except duckdb.Error as error:
                raise errors.unreadable(self.place, error) from error

    @contextmanager
    def query(self, query: str, params: Sequence[Any] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
        """The cursor of one executed reading statement, for results that are streamed.

        Raises:
            LakeUsageError: it is not one reading statement, or DuckDB refuses it; for an unknown name, with the known.
            LakeFailure: the catalog or a data file is gone or damaged.
        """
        with self.cursor(views=_MAY_NAME_VIEWS.search(query) is not None) as cursor:
            try:
                statement = self._checked(query)
                # Bound values make DuckDB import pandas, a second that `alignery tables` need not spend.
                self.read_consistent(
                    cursor, lambda: cursor.execute(statement, list(params)) if params else cursor.execute(statement)
                )
                yield cursor
            except duckdb.InterruptException:
                raise
            except (duckdb.CatalogException, duckdb.BinderException) as error:
                known = f"tables {', '.join(schema.TABLES)}; views {', '.join(VIEWS)}"
                raise LakeUsageError(f"the query is refused: {excerpt(error)}; there are the {known}") from error
            except duckdb.Error as error:
                if errors.is_data_file_error(self.place, error):
                    raise errors.unreadable(self.place, error) from error
                raise LakeUsageError(f"the query failed: {excerpt(error)}; mend it, and ask again") from error

    def _define_views(self) -> None:
        """Once, when they are first named: they take a tenth of a second, and most work needs none."""
        with self._defining:
            if not self._defined:
                migrate.define_views(self._db)
                self._defined = True

    def read_consistent(self, cursor: duckdb.DuckDBPyConnection, read: Callable[[], Any]) -> None:
        """BEGIN, and read; again, where a merge of files landed between the two.

        On SQLite a transaction that began before a merge sees no row of the new files: the table would seem empty.
        """
        for _ in range(_MERGES):
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            if self.place.on_postgres or self._pinned:
                read()
                return
            (began,) = cursor.execute(f"SELECT id FROM ducklake_current_snapshot('{LAKE}')").fetchall()[0]
            read()
            with self._db.cursor() as other:
                merged = other.execute(
                    f"SELECT 1 FROM {CATALOG}.ducklake_snapshot_changes"
                    f" WHERE snapshot_id > {began} AND changes_made LIKE '%merge_adjacent%'"
                ).fetchone()
            if merged is None:
                return
            cursor.execute("ROLLBACK")
        raise LakeFailure(f"{self.place}: files were merged again and again while they were read; run again")

    def sql(self, query: str, params: Sequence[Any] = ()) -> pa.Table:
        """The result of one SELECT; views and tables by plain name. Raises LakeUsageError as `query` does."""
        with self.query(query, params) as cursor:
            return cursor.to_arrow_table()

    def rows(self, query: str, params: Sequence[Any] = ()) -> list[Row]:
        """The same as a list of dicts."""
        with self.query(query, params) as cursor:
            return as_rows(cursor)

    def snapshot(self) -> int:
        """The newest committed snapshot, or the one that this lake is pinned to."""
        return int(self.rows(f"SELECT id FROM ducklake_current_snapshot('{LAKE}')")[0]["id"])

    def tables(self) -> list[Row]:
        """Tables and views: name, kind ('record' | 'ledger' | 'view'), rows, comment."""
        listed = [
            {"name": name, "kind": "record" if name in schema.RECORDS else "ledger", "comment": schema.note(columns)}
            for name, columns in schema.TABLES.items()
        ]
        listed += [{"name": name, "kind": "view", "comment": view_comment(name)} for name in VIEWS]
        counts = " UNION ALL ".join(
            f"SELECT '{item['name']}' AS name, count(*) AS n FROM {item['name']}" for item in listed
        )
        found = {row["name"]: row["n"] for row in self.rows(counts)}
        return [item | {"rows": found[item["name"]]} for item in listed]

    def schema(self, name: str) -> list[Row]:
        """Columns of a table or view: name, type, comment (empty for a view's)."""
        notes = {field.name: schema.note(field) for field in schema.TABLES[name]} if name in schema.TABLES else {}
        if not notes and name not in VIEWS:
            schema.table(name)
        described = self.rows(f"DESCRIBE {name}")
        return [
            {"name": row["column_name"], "type": row["column_type"], "comment": notes.get(row["column_name"], "")}
            for row in described
        ]

    def next_tag(self) -> str:
        """The first unused name of v1, v2, …"""
        numbers = self.rows("SELECT max(name[2:]::INT) AS n FROM tags WHERE regexp_full_match(name, 'v[0-9]{1,6}')")
        return f"v{(numbers[0]['n'] or 0) + 1}"

    def pending(self, keys: Sequence[str]) -> set[str]:
        """Those work keys that no final attempt has settled."""
        return ledger.pending(self, keys)

    def replies(self, keys: Sequence[str]) -> dict[tuple[str, int], Row]:
        """What was answered to those requests: (request key, try number) → the attempt."""
        return ledger.replies(self, keys)

    def known(self) -> tuple[set[str], set[tuple[str, str]]]:
        """What it may have answers to: fingerprints, and (prompt hash, model): see `ledger.known`."""
        return ledger.known(self)

    def records(self, table: str, keys: Sequence[str]) -> list[Row]:
        """The records of those work keys, ordered by work key and id. Raises LakeUsageError for an unknown table."""
        return ledger.records(self, table, keys)

    # Writing

    def append(
        self,
        records: Mapping[str, Rows],
        attempts: Rows,
        *,
        run_id: str,
        step: str,
        fingerprint: str,
    ) -> int:
        """Commit what came of some calls of one step, once: see `append_all`."""
        return self.append_all([Batch(step, fingerprint, records, attempts)], run_id=run_id)

    def append_all(self, batches: Sequence[Batch], *, run_id: str) -> int:
        """Commit what came of some calls, once: see `ledger.append`. Returns how many attempts were new."""
        return ledger.append(self, batches, run_id=run_id)

    def write(self, table: str, rows: Sequence[Row], *, run_id: str, message: str) -> None:
        """Commit rows of runs, prompts, models, evals, decisions, tags or plans: see `ledger.write`."""
        self.write_all({table: rows}, run_id=run_id, message=message)

    def write_all(self, tables: Mapping[str, Sequence[Row]], *, run_id: str, message: str) -> None:
        """Commit rows of several of those tables, once: see `ledger.write`."""
        ledger.write(self, tables, run_id=run_id, message=message)

    def commit(self, who: str, body: Callable[[duckdb.DuckDBPyConnection], _T]) -> _T:
        """What `body` returns: it is given a cursor inside BEGIN, checks, inserts and commits, alone in the lake.

        It is called again where a commit that did not hold the lock came between, for its checks are then void.

        Raises:
            LakeFailure: nothing was committed, or the catalog was lost under way.
        """
        for left in reversed(range(_TRIES)):
            try:
                with self.transaction(who) as cursor:
                    return body(cursor)
            except errors.CommitConflict:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def transaction(self, who: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor inside BEGIN, alone in the lake: other threads, processes and hosts wait.

        What was not committed when the block ends is rolled back.
        """
        if self.read_only:
            raise LakeUsageError(f"{self.place}: the lake is open for reading only; open it without read_only to write")
        with self._writing, exclusive(self.place, COMMITS, who), self.cursor() as cursor:
            try:
                with effects.BEGIN:
                    cursor.execute("BEGIN")
                # A new file may have the number of the deleted one; from here on this one is open, and keeps it.
                if self._catalog_id(cursor) != self._id:
                    raise self._lost(who)
                newest = cursor.execute(f"SELECT max(version) FROM {LAKE}.versions").fetchone()
                migrate.check(self.place, newest[0] if newest else None)
                yield cursor
            except duckdb.Error as error:
                raise errors.failed(self.place, who, error) from error
            # Before anybody is told that it landed.
            self._check_catalog(who)

    def _check_catalog(self, who: str) -> None:
        """SQLite goes on writing to a deleted file, and nobody would ever find what it wrote."""
        if self.place.identity() != self._catalog:
            raise self._lost(who)

    def _lost(self, who: str) -> LakeFailure:
        what = f"{self.place}: the catalog" if self.place.on_postgres else f"{self.place.file}: the catalog"
        return LakeFailure(
            f"{what} was deleted or replaced under this process ({who}); nothing was committed: "
            "bring it back from a backup and run again; the Parquet files are still in the data folder, so delete "
            "none of them"
        )

    @staticmethod
    def _catalog_id(cursor: duckdb.DuckDBPyConnection) -> object:
        """What tells this catalog from any other."""
        return cursor.execute(f"SELECT schema_uuid FROM {CATALOG}.ducklake_schema ORDER BY schema_id").fetchone()

    @contextmanager
    def _prepared(self) -> Iterator[None]:
        """The block, then what an older lake lacks; where that fails, the lake is closed."""
        try:
            self._db.execute(_SEARCH)
            self._id = self._catalog_id(self._db)
            yield
            migrate.define_stand_ins(self._db)
        except duckdb.Error as error:
            self.close()
            todo = "see what `alignery doctor` says, or choose another place"
            raise LakeUsageError(f"{self.place}: not a lake of alignery: {excerpt(error)}; {todo}") from error
        except LakeUsageError:
            self.close()
            raise

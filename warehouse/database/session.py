"""One connection to a lake: reads with their own cursors, which never wait, and the single path of all commits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import duckdb

from alignery import effects
from alignery.untrusted import excerpt
from warehouse.database import errors
from warehouse.database.catalog_copy import catalog_copy
from warehouse.database.connection import CATALOG, LAKE, as_rows, connect, interruptible
from warehouse.database.location import LakeLocation
from warehouse.database.lock import exclusive
from warehouse.errors import LakeFailure, LakeUsageError
from warehouse.query.select_only import checked
from warehouse.schema import migrate
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.tables import Row

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa

COMMITS = "lake"  # the lock that every commit holds
_MERGES = 50  # that may be committed between the beginning and the end of a read, before it is given up
_TRIES = 3  # of a commit, after concurrent ones without the lock
READ = "BEGIN TRANSACTION READ ONLY"
_SEARCH = f"SET search_path = 'memory.main,{LAKE}.main'"
_T = TypeVar("_T")


class Session:
    """An open lake; it may be used from several threads.

    Args:
        schema: the tables and views that the caller knows; `schema` has those besides that only the lake has.
    """

    def __init__(
        self,
        where: LakeLocation,
        schema: LakeSchema,
        *,
        read_only: bool,
        snapshot: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.place = where
        self.home = where.home
        self.schema = schema
        self.read_only = read_only or snapshot is not None
        self._pinned = snapshot is not None
        self._copy = catalog_copy(where) if self.read_only else None
        copy = self._copy.file if self._copy else None
        self._db = connect(where, read_only=read_only, snapshot=snapshot, threads=threads, catalog=copy)
        self._checked = lru_cache(maxsize=64)(partial(checked, self._db))
        self._catalog = where.identity()
        self._writing, self._defining, self._defined = threading.Lock(), threading.Lock(), set[str]()

    @property
    def logs(self) -> Path:
        """The folder for what the libraries of engines print."""
        return self.home / "logs"

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
    def cursor(
        self, *, views: Collection[str] = (), begin: str = "", **given: pa.Table
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A separate connection to the same lake, with tables by their plain names.

        Args:
            views: those that its statements name.
            begin: the statement that begins its transaction; without one, each statement is a transaction.
            given: tables that its statements may name beside the lake's.

        Raises:
            LakeFailure: the catalog or a data file is gone or damaged, or DuckDB failed otherwise in the block.
        """
        self._check_catalog("reading")
        with self._db.cursor() as cursor:
            try:
                if views:
                    self._define(views)
                # Before names are searched in the lake: else each would begin and end a transaction of it.
                for name, rows in given.items():
                    cursor.register(name, rows)
                if begin:  # before the search path: setting that alone is a transaction of the lake
                    cursor.execute(begin)
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
        with self.cursor(views=self.schema.views_in(query), begin=READ) as cursor:
            try:
                statement = self._checked(query)
                # Bound values make DuckDB import pandas, a second that `alignery tables` need not spend.
                self.read_consistent(
                    cursor, lambda: cursor.execute(statement, list(params)) if params else cursor.execute(statement)
                )
                yield cursor
            except duckdb.InterruptException:
                raise
            except duckdb.BinderException as error:  # an unknown column: DuckDB names the ones that are near
                raise LakeUsageError(
                    f"the query is refused: {excerpt(error)}; `DESCRIBE TABLE` as a query lists a table's columns"
                ) from error
            except duckdb.CatalogException as error:
                known = f"tables {', '.join(self.schema.tables)}; views {', '.join(self.schema.views)}"
                raise LakeUsageError(f"the query is refused: {excerpt(error)}; expected one of: {known}") from error
            except duckdb.Error as error:
                if errors.is_data_file_error(self.place, error):
                    raise errors.unreadable(self.place, error) from error
                raise LakeUsageError(f"the query failed: {excerpt(error)}; correct it, and ask again") from error

    def _define(self, views: Collection[str]) -> None:
        """Define views, and those that they read, once, on first use: all of them take a tenth of a second."""
        with self._defining:
            missing = [name for name in self.schema.views_behind(views) if name not in self._defined]
            if missing:
                with self._db.cursor() as cursor:  # closing it ends what an error leaves open
                    cursor.execute(_SEARCH)
                    migrate.define_views(cursor, {name: self.schema.views[name] for name in missing})
                self._defined.update(missing)

    def read_consistent(self, cursor: duckdb.DuckDBPyConnection, read: Callable[[], Any]) -> None:
        """Read in the transaction that `READ` began; again in a new one, if a merge of files was committed meanwhile.

        On SQLite a transaction that began before a merge sees no row of the new files: the table would seem empty.
        """
        for _ in range(_MERGES):
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
            cursor.execute(READ)
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
        if self._pinned:
            return int(self.rows(f"SELECT id FROM ducklake_current_snapshot('{LAKE}')")[0]["id"])
        self._check_catalog("reading")
        try:
            with self._db.cursor() as cursor:  # asks the catalog alone, which is five times as fast
                found = cursor.execute(f"SELECT max(snapshot_id) FROM {CATALOG}.ducklake_snapshot").fetchone()
        except duckdb.Error as error:
            raise errors.unreadable(self.place, error) from error
        return int(found[0]) if found else 0

    # Writing

    def commit(self, who: str, body: Callable[[duckdb.DuckDBPyConnection], _T]) -> _T:
        """What `body` returns: it gets a cursor inside BEGIN, checks, inserts and commits, under the lake's lock.

        It is called again after a concurrent commit without the lock, because its checks are then void.

        Raises:
            LakeFailure: nothing was committed, or the catalog was lost meanwhile.
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
        """A cursor inside BEGIN, under the lake's lock: other threads, processes and hosts wait.

        What was not committed when the block ends is rolled back.
        """
        if self.read_only:
            raise LakeUsageError(f"{self.place}: the lake is open for reading only; open it without read_only to write")
        with self._writing, exclusive(self.place, COMMITS, who), self.cursor() as cursor:
            try:
                with effects.BEGIN:
                    cursor.execute("BEGIN")
                # A new file may get the inode number of the deleted one; from here on this one is open, and keeps it.
                if self._catalog_id(cursor) != self._id:
                    raise self._lost(who)
                newest = cursor.execute(f"SELECT max(version) FROM {LAKE}.versions").fetchone()
                migrate.check(self.place, newest[0] if newest else None)
                yield cursor
            except duckdb.Error as error:
                raise errors.failed(self.place, who, error) from error
            # Before the commit is acknowledged.
            self._check_catalog(who)

    def _check_catalog(self, who: str) -> None:
        """SQLite continues writing to a deleted file, and its rows would be lost."""
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
        """What identifies this catalog."""
        return cursor.execute(f"SELECT schema_uuid FROM {CATALOG}.ducklake_schema ORDER BY schema_id").fetchone()

    @contextmanager
    def prepared(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The block, with the connection. An error closes the lake."""
        try:
            self._db.execute(_SEARCH)
            self._id = self._catalog_id(self._db)
            yield self._db
        except duckdb.Error as error:
            self.close()
            todo = "see what `alignery doctor` says, or choose another place"
            raise LakeUsageError(f"{self.place}: not a lake of alignery: {excerpt(error)}; {todo}") from error
        except LakeUsageError:
            self.close()
            raise

"""The lake: opened, read, and written to through one commit path.

A `Lake` may be used from several threads. Reads take a cursor of their own and never wait; every
write passes `transaction`, which holds the lake's lock.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import duckdb

from warehouse import ledger, schema
from warehouse.connection import LAKE, as_rows, connect, exclusive, one_line, sign
from warehouse.schema import SCHEMA_VERSION, LakeError, Row

if TYPE_CHECKING:
    import pyarrow as pa

# In this order: a later view may read an earlier one.
VIEWS = ("revised", "sft", "preferences", "qac", "funnel", "rejects", "lineage")
_OPTIONS = {"data_inlining_row_limit": "0", "parquet_compression": "'zstd'", "require_commit_message": "true"}
_READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
# Table functions that write though they stand in a SELECT.
_WRITERS = re.compile(
    r"\b(ducklake_(?:add|cleanup|commit|delete|expire|flush|merge|rewrite|set)\w*|sqlite_(?:attach|query|scan))", re.I
)


class Lake:
    """One lake, open. Use `Lake.open` as a context manager."""

    def __init__(self, home: Path, *, read_only: bool, snapshot: int | None = None) -> None:
        self.home = home
        self.read_only = read_only or snapshot is not None
        self._db = connect(home, read_only=read_only, snapshot=snapshot)
        self._writing = threading.Lock()

    @classmethod
    def open(cls, home: Path, *, read_only: bool = False, snapshot: int | None = None) -> Self:
        """Open the lake of a home folder; a writer makes it if there is none.

        Args:
            home: the folder that holds `catalog.sqlite`, `data/` and `lake.lock`.
            read_only: never write; this works while another process writes.
            snapshot: read the lake as it stood at this snapshot; implies `read_only`.

        Raises:
            LakeError: there is no lake to read, or it was made by a newer version.
        """
        home = home.absolute()
        if read_only or snapshot is not None:
            if not (home / "catalog.sqlite").is_file():
                raise LakeError(f"there is no lake in {home}; `alignery refresh` makes one")
            lake = cls(home, read_only=True, snapshot=snapshot)
            lake._prepare()
        else:
            _make_folder(home / "data")
            with exclusive(home / "lake.lock", "opening the lake"):
                lake = cls(home, read_only=False)
                lake._prepare()
        return lake

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    # Reading

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own to the same lake, in which tables and views go by their plain names."""
        with self._db.cursor() as cursor:
            cursor.execute(f"SET search_path = 'memory.main,{LAKE}.main'")
            yield cursor

    @contextmanager
    def query(self, query: str, params: Sequence[Any] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
        """The cursor of one executed reading statement, for results that are streamed.

        Raises:
            LakeError: it is not one reading statement, or DuckDB refuses it; for an unknown name, with those there are.
        """
        with self.cursor() as cursor:
            try:
                _only_reads(query)
                cursor.execute("BEGIN TRANSACTION READ ONLY")
                # Bound values make DuckDB import pandas, a second that `alignery tables` need not spend.
                cursor.execute(query, list(params)) if params else cursor.execute(query)
                yield cursor
            except (duckdb.CatalogException, duckdb.BinderException) as error:
                known = f"tables {', '.join(schema.TABLES)}; views {', '.join(VIEWS)}"
                raise LakeError(f"the query is refused: {one_line(error)}; there are the {known}") from error
            except duckdb.Error as error:
                raise LakeError(f"the query failed: {one_line(error)}") from error

    def sql(self, query: str, params: Sequence[Any] = ()) -> pa.Table:
        """The result of one SELECT; views and tables by plain name. Raises LakeError as `query` does."""
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

    def records(self, table: str, keys: Sequence[str]) -> list[Row]:
        """The records of those work keys, ordered by work key and id. Raises LakeError for an unknown table."""
        return ledger.records(self, table, keys)

    # Writing

    def append(
        self,
        records: Mapping[str, Sequence[Row]],
        attempts: Sequence[Row],
        *,
        run_id: str,
        step: str,
        fingerprint: str,
    ) -> int:
        """Commit what came of some calls, once: see `ledger.append`. Returns how many attempts were new."""
        return ledger.append(self, records, attempts, run_id=run_id, step=step, fingerprint=fingerprint)

    def write(self, table: str, rows: Sequence[Row], *, run_id: str, message: str) -> None:
        """Commit rows of runs, prompts, models, evals or tags: see `ledger.write`."""
        ledger.write(self, table, rows, run_id=run_id, message=message)

    @contextmanager
    def transaction(self, who: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor inside BEGIN, alone in the lake: other threads and other processes wait.

        What was not committed when the block ends is rolled back.
        """
        if self.read_only:
            raise LakeError(f"{self.home}: the lake is open for reading only; open it without read_only to write")
        with self._writing, exclusive(self.home / "lake.lock", who), self.cursor() as cursor:
            try:
                cursor.execute("BEGIN")
                yield cursor
            except duckdb.Error as error:
                what = one_line(error)
                raise LakeError(f"{self.home}: {who}: nothing was committed: {what}") from error

    def _prepare(self) -> None:
        """Make the tables if this is a writer and there are none, check the schema's version, define the views."""
        try:
            with self._db.cursor() as cursor:
                if not self.read_only:
                    _make_tables(cursor)
                newest = cursor.execute(f"SELECT max(version) FROM {LAKE}.versions").fetchone()
                _check_version(self.home, newest[0] if newest else None)
                for name in VIEWS:
                    cursor.execute(f"CREATE VIEW memory.main.{name} AS {view_sql(name)}")
        except duckdb.Error as error:
            self.close()
            raise LakeError(f"{self.home}: not a lake of alignery: {one_line(error)}") from error
        except LakeError:
            self.close()
            raise


def _make_tables(cursor: duckdb.DuckDBPyConnection) -> None:
    """Make every table in one transaction, unless they are there; runs under the lock."""
    found = cursor.execute(
        f"SELECT count(*) FROM duckdb_tables() WHERE database_name = '{LAKE}' AND table_name = 'versions'"
    ).fetchone()
    if found != (0,):
        return
    for option, value in _OPTIONS.items():
        cursor.execute(f"CALL {LAKE}.set_option('{option}', {value})")
    cursor.execute("BEGIN")
    for statement in schema.ddl(LAKE):
        cursor.execute(statement)
    cursor.execute(f"INSERT INTO {LAKE}.versions VALUES ({SCHEMA_VERSION}, now())")
    sign(cursor, f"schema version {SCHEMA_VERSION}", {"schema_version": SCHEMA_VERSION})
    cursor.execute("COMMIT")


def view_sql(name: str) -> str:
    """The text of a view's file, its leading comment included."""
    return (Path(__file__).parent / "views" / f"{name}.sql").read_text(encoding="utf-8").strip().removesuffix(";")


def view_comment(name: str) -> str:
    """The first paragraph of a view's leading comment."""
    lines = [line.removeprefix("--").strip() for line in view_sql(name).splitlines() if line.startswith("--")]
    return " ".join(lines[: lines.index("")] if "" in lines else lines)


def _only_reads(query: str) -> None:
    statements = duckdb.extract_statements(query)
    if len(statements) != 1 or statements[0].type not in _READS:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise LakeError(f"the query holds {kinds}, expected one SELECT; the lake is written to by the flows alone")
    if writer := _WRITERS.search(query):
        raise LakeError(f"the query names {writer[1]}, which may write; queries only read")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise LakeError(f"{path}: a file stands where the lake's folder belongs; move it or choose another") from error
    except PermissionError as error:
        raise LakeError(f"{path}: the folder cannot be made: permission denied; choose another home") from error


def _check_version(home: Path, version: int | None) -> None:
    if version == SCHEMA_VERSION:
        return
    known = f"{home}: the lake has schema version {version}, this alignery knows {SCHEMA_VERSION}"
    raise LakeError(f"{known}; {'upgrade alignery' if version and version > SCHEMA_VERSION else 'make a new lake'}")

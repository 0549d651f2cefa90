"""The schema of a lake: the ledger's tables, and everything that follows from the declarations of installed methods.

DDL, comments, the check of every written row, views and their order, lineage and the shapes of exports: nothing is
listed twice. A table or a column of a method needs no schema version: a writer creates what a lake lacks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pyarrow as pa

from alignery.declarations import Column, Shape, Table
from warehouse.errors import LakeUsageError
from warehouse.schema.columns import CREATED, FLAG, INT, LONG, REAL, RUN, TEXT, TEXTS, declared, may, need
from warehouse.schema.tables import LEDGER, note, quoted, sql_type

_TYPES = {"text": TEXT, "flag": FLAG, "int": INT, "long": LONG, "real": REAL, "texts": TEXTS}
_VIEWS = Path(__file__).parent / "views"
_DERIVED = ("candidates", "lineage", "agreements")
_OWN = ("id", "parents", "attempt_id", "run_id", "created_at")  # columns of every record


class LakeSchema:
    """Tables, views and export shapes of a lake.

    Args:
        tables: of records, as methods declare them.
        views: name → SQL, its leading comment included; in any order.
        shapes: of exports.
        found: tables that the lake has and no installed method declares.

    Raises:
        LakeUsageError: two tables or views of one name, views that read each other in a circle, or a shape of no view.
    """

    def __init__(
        self,
        tables: Sequence[Table] = (),
        views: Mapping[str, str] | None = None,
        shapes: Sequence[Shape] = (),
        found: Mapping[str, pa.Schema] | None = None,
    ) -> None:
        self._given = (tables, dict(views or {}), shapes)
        self.declared = {table.name: table for table in tables}
        self.records = {table.name: _arrow(table) for table in tables} | dict(found or {})
        self.tables: dict[str, pa.Schema] = self.records | LEDGER
        shipped = {path.stem: path.read_text(encoding="utf-8") for path in sorted(_VIEWS.glob("*.sql"))}
        derived = {
            "candidates": self._candidates(),
            "lineage": self._lineage(),
            "agreements": _AGREEMENTS if {"compared", "revised"} <= self._given[1].keys() else _NO_AGREEMENTS,
        }
        for name in self._given[1]:
            if name in shipped or name in _DERIVED or name in self.tables:
                raise LakeUsageError(f"view {name}: the lake has a table or view of that name; rename it")
        if twice := [name for name in self.declared if name in LEDGER or name in shipped or name in _DERIVED]:
            raise LakeUsageError(f"table {twice[0]}: the lake has a table or view of that name; rename it")
        self.views = _ordered(shipped | derived | self._given[1])
        self.shapes = {shape.name: shape for shape in shapes}
        if unknown := [shape for shape in shapes if shape.view not in self.views]:
            raise LakeUsageError(
                f"shape {unknown[0].name}: there is no view {unknown[0].view!r}; add it, or name another"
            )

    def with_found(self, found: Mapping[str, pa.Schema]) -> LakeSchema:
        """The same with tables that a lake has and no method declares."""
        return LakeSchema(*self._given, found) if found else self

    def table(self, name: str) -> pa.Schema:
        """The schema of a table. Raises LakeUsageError naming the tables if it does not exist."""
        if name not in self.tables:
            raise LakeUsageError(f"the lake has no table {name!r}; its tables are {', '.join(self.tables)}")
        return self.tables[name]

    def shape(self, name: str) -> Shape:
        """Raises LakeUsageError naming the shapes if it does not exist."""
        if name not in self.shapes:
            raise LakeUsageError(f"got the shape {name!r}, expected one of {', '.join(self.shapes)}")
        return self.shapes[name]

    def label(self, table: str) -> str:
        """The label of a table's rows."""
        return self.declared[table].label if table in self.declared else table.removesuffix("s")

    def view_comment(self, name: str) -> str:
        """The first paragraph of a view's leading comment."""
        lines = [line.removeprefix("--").strip() for line in self.views[name].splitlines() if line.startswith("--")]
        return " ".join(lines[: lines.index("")] if "" in lines else lines)

    @cached_property
    def names(self) -> re.Pattern[str]:
        """Words in a query that may name views, or list them."""
        return re.compile(rf"\b(?:{'|'.join(self.views)}|show|describe|information_schema|duckdb_\w+)\b", re.IGNORECASE)

    def views_in(self, query: str) -> Collection[str]:
        """The views that a query may name; all of them if it may list them."""
        words = {word.lower() for word in self.names.findall(query)}
        return words if words <= self.views.keys() else self.views

    @cached_property
    def facts(self) -> list[str]:
        """Columns that a trace shows of any record."""
        declared = (column.name for table in self.declared.values() for column in table.columns if column.fact)
        return list(dict.fromkeys(declared))

    @cached_property
    def of_instructions(self) -> list[str]:
        """Tables whose rows name the instruction that they belong to."""
        return [name for name, schema in self.records.items() if "instruction_id" in schema.names]

    def text_column(self, table: str) -> str | None:
        """The column with the text of a table's rows."""
        if table in self.declared:
            return self.declared[table].text
        return next((name for name in ("text", "output", "raw_text") if name in self.tables[table].names), None)

    def read_by(self, query: str, view: str = "") -> list[str]:
        """The tables of records that a query (a view's name, say) reads, directly or through views.

        Args:
            view: where the query is that of a view, its name.
        """
        names = _named(query) - {view}
        found = names & self.records.keys()
        for other in names & self.views.keys():
            found |= set(self.read_by(self.views[other], other))
        return [name for name in self.records if name in found]

    def views_behind(self, names: Iterable[str]) -> list[str]:
        """These views and those that they read, each after what it reads."""
        found, left = set[str](), [*names]
        while left:
            if (name := left.pop()) not in found:
                found.add(name)
                left += _named(self.views[name]) & self.views.keys()
        return [name for name in self.views if name in found]

    def ddl(self, catalog: str) -> Iterator[str]:
        """The statements that make every table in an attached catalog, comments included."""
        for name in self.tables:
            yield self.create(catalog, name)
        yield from self.comments(catalog)

    def create(self, catalog: str, name: str) -> str:
        columns = ", ".join(
            f'"{field.name}" {sql_type(field)}{"" if field.nullable else " NOT NULL"}' for field in self.tables[name]
        )
        return f"CREATE TABLE {catalog}.{name} ({columns})"

    def comments(self, catalog: str, tables: Sequence[str] | None = None) -> Iterator[str]:
        """The statements that comment tables, all of them by default, and their columns."""
        for name in self.tables if tables is None else tables:
            yield f"COMMENT ON TABLE {catalog}.{name} IS {quoted(note(self.tables[name]))}"
            for field in self.tables[name]:
                yield f'COMMENT ON COLUMN {catalog}.{name}."{field.name}" IS {quoted(note(field))}'

    def _lineage(self) -> str:
        rows = "\n    UNION ALL ".join(
            f"SELECT '{name}' AS record_table, {', '.join(_OWN)} FROM {name}"
            for name, schema in self.records.items()
            if set(_OWN) <= set(schema.names)
        )
        return _LINEAGE.format(rows=rows or f"SELECT 'none' AS record_table, {', '.join(_OWN)} FROM attempts LIMIT 0")

    def _candidates(self) -> str:
        selects = [_candidates_of(table) for table in self.declared.values() if table.gate]
        empty = "SELECT step, id, raw_text AS text, state, reason, NULL::VARCHAR AS about, NULL::DOUBLE AS similarity,"
        empty += " NULL::VARCHAR AS nearest, parents, id AS attempt_id, run_id, created_at FROM attempts WHERE false"
        return _CANDIDATES + "\nUNION ALL BY NAME\n".join([*selects, empty])


def _arrow(table: Table) -> pa.Schema:
    """What every record has (who it is, what it is made from, the attempt that wrote it), and the table's columns."""
    return declared(
        table.comment,
        need("id", TEXT, "content hash of the work key and the place in its reply"),
        need("parents", TEXTS, "ids of the records it is made from; empty for a root"),
        may("attempt_id", TEXT, "the attempt that wrote it; null where no model was asked, as for a seed"),
        need("work_key", TEXT, "hash of everything that made it: step, prompt, model, sampling, inputs"),
        *(_field(column) for column in table.columns),
        RUN,
        CREATED,
    )


def _field(column: Column) -> pa.Field:
    return (need if column.required else may)(column.name, _TYPES[column.type], column.comment, column.unit)


def _candidates_of(table: Table) -> str:
    columns = {column.name for column in table.columns}
    step = re.sub(r"\{(\w+)\}", r"' || \1 || '", f"'{table.gate}'").removeprefix("'' || ")
    text = f"concat_ws(chr(10), nullif({table.before}, ''), {table.text})" if table.before else table.text or "NULL"
    judged = " WHERE origin <> 'seed'" if "origin" in columns else ""
    about = "instruction_id" if "instruction_id" in columns else "NULL::VARCHAR"
    more = "".join(f", {name}" for name in ("similarity", "nearest") if name in columns)
    return (
        f"SELECT {step} AS step, id, {text} AS text, state, reason, {about} AS about{more},"
        f" parents, attempt_id, run_id, created_at FROM {table.name}{judged}"
    )


def _named(sql: str) -> set[str]:
    """The words of a query that may be names, its comments left out."""
    return set(re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"--[^\n]*", "", sql)))


def _ordered(views: Mapping[str, str]) -> dict[str, str]:
    """The views, each after those that it reads. Raises LakeUsageError where they read each other in a circle."""
    reads = {name: sorted((_named(text) & views.keys()) - {name}) for name, text in views.items()}  # one order, always
    try:
        order = list(TopologicalSorter(reads).static_order())
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise LakeUsageError(f"view {error.args[1][0]}: reads itself ({circle}); change one of them") from error
    return {name: views[name].strip().removesuffix(";") for name in order}


_CANDIDATES = """\
-- What was read from replies and then judged piece by piece: instructions, topics and instances, with verdicts.
--
-- `step` names the gate, as 'self_instruct.gate'; `about` is the instruction that a candidate belongs to, if any, and
-- `nearest` the text that an instruction was too similar to.
"""
_AGREEMENTS = """\
-- Whether the judge of `compare` agrees with `preferences`: each last revision that it compared with the first answer.
--
-- `state` is 'accepted' where it found the revision better. Pairs of which it found the first answer better are in no
-- preferences; pairs of which it preferred neither are.
SELECT
    'preferences.judge' AS step, v.id, c.run_id, c.created_at,
    CASE WHEN c.p_a < 0.5 THEN 'accepted' ELSE 'rejected' END AS state,
    CASE
        WHEN c.p_a > 0.5 THEN 'the judge preferred the first answer'
        WHEN c.p_a = 0.5 THEN 'the judge preferred neither'
    END AS reason
FROM compared c
JOIN revised v ON v.id = c.b_id AND v.response_id = c.a_id
"""
_NO_AGREEMENTS = """\
-- Whether a judge agrees with preferences; of the methods here none compares them.
SELECT step, id, run_id, created_at, state, reason FROM attempts WHERE false
"""
_LINEAGE = """\
-- Who came from whom: one row for each record and parent, with what wrote the record.
--
-- A record without parents has one row whose `parent_id` is null.
WITH records AS (
    {rows}
),
edges AS (
    SELECT * EXCLUDE parents, unnest(CASE WHEN len(parents) = 0 THEN [NULL] ELSE parents END) AS parent_id
    FROM records
)
SELECT
    e.record_table, e.id AS record_id, e.parent_id, a.step, a.model, a.prompt_id, a.prompt_hash, a.seed,
    e.attempt_id, e.run_id, e.created_at
FROM edges e
LEFT JOIN attempts a ON a.id = e.attempt_id
"""

_default = LakeSchema()


def set_default(schema: LakeSchema) -> None:
    """Set the default schema of this process's lakes: that of the built-in methods and of installed packages."""
    global _default  # noqa: PLW0603  # one registry a process, as its entry points
    _default = schema


def default() -> LakeSchema:
    return _default

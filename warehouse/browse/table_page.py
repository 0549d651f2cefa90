"""One page of a table or view: filtered, searched, sorted; the next page begins after the last row of this one.

A page is a place in the order (keyset): a row that comes in does not move the rows of the next page, and the thousandth
page costs what the first does. Counts are taken over a bounded number of rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignery.untrusted import excerpt
from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.query.records import shortened
from warehouse.query.status import check_table
from warehouse.query.time_travel import versioned_tables
from warehouse.schema.tables import Row, quoted

SIZES = (25, 50, 100, 500)
CELL = 400  # characters of a text in a page of rows
COUNTED = 100_000  # rows that counts and facets look at
VALUES = 12  # of a facet
_KEY = 100  # characters of a text that rows are sorted by
# Operators of a column's filter, besides equality: `seed__gt=7`.
OPERATORS = ("not", "contains", "starts", "gt", "lt", "null")
FACETS = {
    *("state", "step", "reason", "model", "prompt_id", "finish_reason", "final", "flow", "preset", "recipe"),
    *("tag", "view", "suite", "metric", "alias", "decided_by", "principle_id", "kind", "source", "topic", "round"),
    *("run_id", "record_table", "aligner", "dimension"),
}
_NUMBERS = "regexp_replace({}, '[0-9]+', '…', 'g')"  # reasons that differ only in their numbers, as `rejects` has them
_MESSAGES = 'STRUCT("role" VARCHAR, "content" VARCHAR)[]'  # whose text a page shows
_LABELS = re.compile(r"(?:^|_)(?:id|hash|key|path|fingerprint|config|sampling|inputs)$")


@dataclass(frozen=True)
class Asked:
    """Which rows of a table or view.

    Args:
        filters: (column or column__operator, value); all of them must hold.
        search: words that must each occur in one of the row's texts, in capitals or not.
        sort: a column; with '-' before it the greatest first.
        after: the `next` of the page before.
        size: rows, at most 500.
        cell: characters of a text that are read.
        source: a query whose rows are taken in place of the table's; it has the table's columns.
    """

    name: str
    filters: tuple[tuple[str, str], ...] = ()
    search: str = ""
    sort: str = ""
    after: str = ""
    size: int = 50
    cell: int = CELL
    source: str = ""

    @property
    def relation(self) -> str:
        """What follows FROM."""
        return f"({self.source})" if self.source else self.name


Columns = Mapping[str, str]  # name → DuckDB's type, in the table's order


def columns_of(lake: Lake, name: str) -> dict[str, str]:
    """The columns of a table or view, and of a table the snapshot that brought each row.

    Raises:
        LakeUsageError: it does not exist.
    """
    check_table(lake, name)
    found = {row["column_name"]: row["column_type"] for row in lake.rows(f"DESCRIBE {name}")}
    return found | ({"snapshot_id": "BIGINT"} if name in versioned_tables(lake.schema) else {})


def table_page(lake: Lake, asked: Asked, columns: Columns) -> dict[str, Any]:
    """The rows of one page, the newest first unless they are sorted.

    Args:
        columns: of the table, from `columns_of`.

    Returns:
        rows (texts cut, nested values as text), next (of `Asked.after`; None at the end),
        sort, and query: the SQL of the page, with its texts whole.

    Raises:
        LakeUsageError: an unknown column or operator, or a value that its type does not take.
    """
    sort, down = _sort(asked, columns)
    key, tie = _key(sort, columns), _tie(lake, asked.name, columns)
    size = max(1, min(asked.size, SIZES[-1]))
    way = "DESC" if down else "ASC"
    tests = [*_where(asked, columns), *_later(asked, columns[sort], key, tie, down)]
    selected = ", ".join(f'"{name}"' for name in columns)
    source, cut = f"FROM {asked.relation}{_all(tests)}", f"LIMIT {size + 1}"
    place = f"ORDER BY __at {way} NULLS LAST, __tie {way}"
    shown = ", ".join(f'{_cell(name, type, asked.cell)} AS "{name}"' for name, type in columns.items())
    # Only texts of the rows shown are cut.
    rows = lake.rows(
        f"SELECT {shown}, CAST(__at AS VARCHAR) AS __text, __tie FROM (SELECT {selected}, {key} AS __at, {tie} AS __tie"
        f" {source} {place} {cut}) {place}"
    )
    last = rows[size - 1] if len(rows) > size else None
    return {
        "rows": [{name: row[name] for name in columns} for row in rows[:size]],
        "next": json.dumps([last["__text"], last["__tie"]]) if last else None,
        "sort": ("-" if down else "") + sort if asked.sort or sort == "created_at" else "",
        "query": f"SELECT * {source} ORDER BY {key} {way} NULLS LAST, {tie} {way} {cut}",
    }


def query_of(asked: Asked, columns: Columns) -> str:
    """The SQL of all rows that are asked for, in their order."""
    sort, down = _sort(asked, columns)
    order = f'ORDER BY "{sort}" {"DESC" if down else "ASC"} NULLS LAST'
    return f"SELECT * FROM {asked.relation}{_all(_where(asked, columns))} {order}"


def facets(lake: Lake, asked: Asked, columns: Columns) -> dict[str, Any]:
    """How many rows are asked for, and of which kinds: over at most `COUNTED` of them.

    Returns:
        count; more: whether there are more than were counted; facets: column → its commonest values, each with its
        count n, the commonest first; a column that has one value for all of them is left out.
    """
    facts = {name for name in lake.schema.facts if not _LABELS.search(name)}
    kinds = [name for name in columns if name in FACETS | facts]
    selected = ", ".join(f'CAST("{name}" AS VARCHAR) AS "{name}"' for name in kinds) or "1 AS one"
    part = f"SELECT {selected} FROM {asked.relation}{_all(_where(asked, columns))} LIMIT {COUNTED + 1}"
    each = [
        f"(SELECT '{name}' AS facet, \"{name}\" AS value, count(*) AS n FROM part GROUP BY ALL"
        f" ORDER BY n DESC, value LIMIT {VALUES})"
        for name in kinds
    ]
    rows = lake.rows(
        f"WITH part AS MATERIALIZED ({part}) SELECT NULL AS facet, NULL AS value, count(*) AS n FROM part"
        + "".join(f" UNION ALL {one}" for one in each)
    )
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["facet"] is not None:
            found.setdefault(row["facet"], []).append({"value": row["value"], "n": row["n"]})
    total = next(row["n"] for row in rows if row["facet"] is None)
    chosen = {column.partition("__")[0] for column, _ in asked.filters}
    return {
        "count": min(total, COUNTED),
        "more": total > COUNTED,
        "facets": {name: values for name, values in found.items() if len(values) > 1 or name in chosen},
    }


def texts_of(columns: Columns) -> list[str]:
    """The columns that are searched: texts, and not names, hashes or settings."""
    text_columns = (name for name, type in columns.items() if type == "VARCHAR" or "STRUCT" in type)
    return [name for name in text_columns if not _LABELS.search(name) and name not in FACETS]


def _cell(name: str, type: str, bound: int) -> str:
    if type == _MESSAGES:
        return shortened(f'array_to_string(list_transform("{name}", m -> m.content), chr(10) || chr(10))', bound)
    if type == "VARCHAR":
        return shortened(f'"{name}"', bound)
    return shortened(f'CAST("{name}" AS VARCHAR)', bound) if type.endswith("]") or "(" in type else f'"{name}"'


def _tie(lake: Lake, name: str, columns: Columns) -> str:
    """The SQL of what no two rows share, by which pages are delimited: the id, or a hash of the row.

    A ledger's table may have several rows of one id, and a summary has none. Sums are left out of the hash: DuckDB's
    threads add them up in another order each time.
    """
    ledger = name in lake.schema.tables and name not in lake.schema.records and name != "attempts"
    if "id" in columns and not ledger:
        return '"id"'
    hashed = ", ".join(f'"{column}"' for column, type in columns.items() if type != "DOUBLE")
    return f"md5(CAST(row({hashed}) AS VARCHAR))"


def _sort(asked: Asked, columns: Columns) -> tuple[str, bool]:
    """The column that rows are sorted by, and whether the greatest comes first."""
    if not asked.sort:
        timed = next((name for name in ("created_at", "started_at") if name in columns), None)
        return timed or next(iter(columns)), timed == "created_at"
    name = asked.sort.removeprefix("-")
    _check_column(asked.name, name, columns)
    return name, asked.sort.startswith("-")


def _later(asked: Asked, type: str, key: str, tie: str, down: bool) -> list[str]:
    """The condition of the rows after the last one of the page before."""
    if not asked.after:
        return []
    try:
        at, id = json.loads(asked.after)
    except (ValueError, TypeError) as error:
        raise LakeUsageError(
            f"after: got {excerpt(asked.after, 60)!r}, expected what the page before gave as next; begin again"
        ) from error
    sign = "<" if down else ">"
    later = f"{tie} {sign} {quoted(str(id))}"
    if key == tie:
        return [later]
    if at is None:
        return [f"{key} IS NULL AND {later}"]
    value = f"CAST({quoted(str(at))} AS {type})"
    if key == '"created_at"':  # which is never null: files of other times are not read
        return [f"{key} {sign}= {value}", f"({key} {sign} {value} OR {later})"]
    return [f"({key} {sign} {value} OR ({key} = {value} AND {later}) OR {key} IS NULL)"]


def _key(sort: str, columns: Columns) -> str:
    """What rows are sorted by: of a text its beginning, which a URL takes, without the NUL that no query takes."""
    if columns[sort] == "VARCHAR" and sort != "id":
        return f"replace(left(\"{sort}\", {_KEY}), chr(0), '')"
    return f'"{sort}"'


def _where(asked: Asked, columns: Columns) -> list[str]:
    tests = [_test(asked.name, column, value, columns) for column, value in asked.filters]
    texts = texts_of(columns)
    for word in asked.search.lower().split():
        within = (f'contains(lower(CAST("{name}" AS VARCHAR)), {quoted(word)})' for name in texts)
        tests.append(f"({' OR '.join(within) or 'false'})")
    return tests


def _test(table: str, asked: str, value: str, columns: Columns) -> str:
    name, _, operator = asked.rpartition("__") if asked.rpartition("__")[2] in OPERATORS else (asked, "", "")
    _check_column(table, name, columns)
    column, type, literal = f'"{name}"', columns[name], quoted(value)
    match operator:
        case "contains":
            return f"contains(lower(CAST({column} AS VARCHAR)), {quoted(value.lower())})"
        case "starts":
            return f"starts_with(CAST({column} AS VARCHAR), {literal})"
        case "null":
            return f"{column} IS {'NOT ' if value in ('0', 'false') else ''}NULL"
        case "gt" | "lt":
            return f"{column} {'>' if operator == 'gt' else '<'} CAST({literal} AS {type})"
    if type.endswith("[]"):
        return f"{'NOT ' if operator else ''}list_contains({column}, {literal})"
    if "…" in value and type == "VARCHAR":
        column = f"if({column} = {literal}, {column}, {_NUMBERS.format(column)})"
    typed = literal if type == "VARCHAR" else f"CAST({literal} AS {type})"
    return f"{column} IS {'' if operator else 'NOT '}DISTINCT FROM {typed}"


def _check_column(table: str, name: str, columns: Columns) -> None:
    if name not in columns:
        raise LakeUsageError(f"{table} has no column {excerpt(name, 60)!r}; it has {', '.join(columns)}")


def _all(tests: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(tests)}" if tests else ""

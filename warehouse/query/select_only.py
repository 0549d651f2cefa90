"""One SELECT and nothing else: which queries are allowed, decided on DuckDB's own parse tree.

DuckDB writes a statement as a tree only if it is a SELECT (DESCRIBE, SHOW, SUMMARIZE, PIVOT and VALUES are forms of
one), so no other statement passes, however it is spelled. A SELECT can then do nothing but call functions and read
relations: table functions pass if they are listed here as reading the lake or nothing at all, and a relation is a name
of the lake's, never a file's. What passes runs in a read-only transaction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from alignery.untrusted import excerpt
from warehouse.errors import LakeUsageError
from warehouse.schema.tables import quoted

# Table functions that read the lake and what DuckDB says of itself, or nothing at all.
TABLE_FUNCTIONS = {
    "range",
    "generate_series",
    "unnest",
    "repeat",
    "repeat_row",
    "json_each",
    "json_tree",
    "histogram",
    "histogram_values",
    "summary",
    "icu_calendar_names",
    "pg_timezone_names",
}
TABLE_FUNCTIONS |= {
    f"ducklake_{name}"
    for name in (
        "snapshots",
        "current_snapshot",
        "last_committed_snapshot",
        "list_files",
        "options",
        "table_info",
        "table_changes",
        "table_insertions",
        "table_deletions",
    )
}
TABLE_FUNCTIONS |= {
    f"duckdb_{name}"
    for name in (
        "columns",
        "constraints",
        "functions",
        "indexes",
        "keywords",
        "memory",
        "schemas",
        "settings",
        "tables",
        "temporary_files",
        "types",
        "views",
    )
}
TABLE_FUNCTIONS |= {f"pragma_{name}" for name in ("platform", "show", "table_info", "version")}
# They read the environment, bind an unchecked query, or have side effects.
_REFUSED_FUNCTIONS = {"getenv", "json_serialize_plan", "nextval", "write_log"}
# They show the catalog's URL, which may hold a password, or secrets' names.
_REFUSED_TABLES = frozenset(
    {"duckdb_databases", "duckdb_logs", "duckdb_secrets", "pg_database", "pragma_database_list"}
)
_SPACE = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)"
_EXPLAIN = re.compile(
    rf"{_SPACE}*EXPLAIN\b{_SPACE}*(?P<analyze>ANALYZE\b{_SPACE}*)?"
    rf"(?P<options>\({_SPACE}*(?:ANALYZE|FORMAT{_SPACE}+\w+|,|{_SPACE})+\))?",
    re.IGNORECASE | re.DOTALL,
)
_ONLY = "expected one SELECT (or EXPLAIN of one); only the flows write to the lake"


def checked(db: duckdb.DuckDBPyConnection, query: str) -> str:
    """The statement to execute: the query itself, checked to be one SELECT that only reads the lake.

    Raises:
        LakeUsageError: it is something else; the message says what.
    """
    if (explain := _EXPLAIN.match(query)) is None:
        _check(db, query)
        return query
    # Rebuilt, so that what is explained is exactly the text that was checked.
    inner = query[explain.end() :]
    _check(db, inner)
    options = " ".join(explain["options"].split()) if explain["options"] else ""
    return f"EXPLAIN {'ANALYZE ' if explain['analyze'] else ''}{options} {inner}"


def _check(db: duckdb.DuckDBPyConnection, query: str) -> None:
    tree = _tree(db, query)
    if tree.get("error"):
        if tree["error_type"] == "not implemented":
            kinds = _kinds(db, query)
            hint = "; a PIVOT must name its values: ON x IN (…)" if kinds == "CREATE, SELECT" else ""
            raise LakeUsageError(f"the query holds {kinds}, {_ONLY}{hint}")
        raise LakeUsageError(f"the query cannot be read: {excerpt(tree['error_message'])}; correct its SQL")
    statements = tree["statements"]
    if len(statements) != 1:
        raise LakeUsageError(f"the query holds {', '.join(['SELECT'] * len(statements)) or 'nothing'}, {_ONLY}")
    for fault in _faults(statements[0]):
        raise LakeUsageError(f"the query {fault}; a query reads the lake's tables and views, and nothing else")


def _tree(db: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    """DuckDB's parse tree of the text, or its error."""
    if "\0" in query or (not query.isascii() and query.encode(errors="replace").decode() != query):
        raise LakeUsageError("the query holds a character that is no text (NUL, or half of one); type it again")
    if not duckdb.tokenize(query):  # nothing, or only comments
        return {"statements": []}
    with db.cursor() as cursor:
        found = cursor.execute(f"SELECT json_serialize_sql({quoted(query)})").fetchone()
    assert found is not None
    try:
        tree: dict[str, Any] = json.loads(found[0])
    except RecursionError as error:
        raise LakeUsageError(
            "the query is nested too deeply to be checked; split it into CTEs or shorter terms"
        ) from error
    return tree


def _kinds(db: duckdb.DuckDBPyConnection, query: str) -> str:
    """The statements of the text, by DuckDB's names. For IMPORT it would read a file, if the connection may."""
    try:
        kinds = [statement.type.name for statement in db.extract_statements(query)]
    except duckdb.Error:
        return "a statement of another kind"
    # A PRAGMA that shows something is a SELECT by that name.
    return ", ".join(kinds) if kinds != ["SELECT"] else "PRAGMA"


def _faults(tree: Any) -> Iterator[str]:
    """What in the tree could do more than read the lake."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            todo += node.values()
            if fault := _fault(node):
                yield fault


def _fault(node: dict[str, Any]) -> str | None:
    if node.get("type") == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "")).lower()
        return None if name in TABLE_FUNCTIONS else f"calls {excerpt(name, 60)}(), which may write, or read elsewhere"
    if (name := str(node.get("function_name", "")).lower()) in _REFUSED_FUNCTIONS:
        return f"calls {name}(), which reaches outside of the lake"
    if node.get("type") == "BASE_TABLE":
        name = str(node.get("table_name", ""))
        if re.search(r"[./\\:*?\[]", name):
            return f"reads {excerpt(name, 60)!r} as a file"
        if name.lower() in _REFUSED_TABLES:
            return f"reads {name}, which shows how the lake is reached"
    return None

"""Any table or view, page by page; pairs side by side; and the reader's own SQL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignery.errors import UsageError
from alignery.untrusted import excerpt
from alignery.view.page_request import Page, PageRequest
from warehouse import Lake
from warehouse.browse.models import model
from warehouse.browse.story import BOUND
from warehouse.browse.table_page import FACETS, SIZES, Asked, facets, query_of, table_page, texts_of
from warehouse.browse.table_page import columns_of as table_columns
from warehouse.schema.tables import note

Row = dict[str, Any]
OWN = ("at", "format")  # parameters of every page
RESULT = 200  # rows of the reader's own query that are shown
# View → its prompt, the text before, and the text after.
PAIRS = {
    "preferences": ("prompt", "rejected", "chosen"),
    "qac": ("question", "answer", "correction"),
    "revised": ("prompt", "first_text", "final_text"),
}
_LEADING = ("text", "prompt", "question", "messages", "raw_text", "reason", "state", "step", "name", "id")


def tables(req: PageRequest) -> Page:
    """The tables and views, by kind."""
    schema = req.lake.schema
    listed = [{"name": name, "kind": "record" if name in schema.records else "ledger", "comment": note(columns)}
              for name, columns in schema.tables.items()]  # fmt: skip
    listed += [{"name": name, "kind": "view", "comment": schema.view_comment(name)} for name in sorted(schema.views)]
    return Page("rows/tables.html", "Tables and views", {"tables": listed}, ("SHOW TABLES",))


def rows(req: PageRequest, name: str) -> Page:
    """One page of a table or view, with counts by its kinds."""
    columns = columns_of(req, name)
    asked = asked_of(req, name)
    found = req.once("page", asked, count=lambda: table_page(req.lake, asked, columns))
    counted = req.once(
        "facets", name, asked.filters, asked.search, asked.source, count=lambda: facets(req.lake, asked, columns)
    )
    shown = list(columns) if req.get("_cols") == "all" else _shown(req, columns)
    data = {"name": name, "columns": columns, "comment": _comment(req, name), "sort": found["sort"]}
    data |= {"model": _trained(req, name) if req.get("_model") else None}
    data |= {"rows": found["rows"], "next": found["next"], "filters": asked.filters, "search": asked.search} | counted
    own = {"shown": shown, "texts": set(texts_of(columns)), "sizes": SIZES, "table": row_table(req, name)}
    return Page("rows/rows.html", name, data, (found["query"],), own | {"kinds": FACETS})


def pairs(req: PageRequest, name: str) -> Page:
    """Two texts of one row beside each other, with what differs between them."""
    prompt, before, after = pair_columns(req.lake, name)
    columns = columns_of(req, name)
    asked = asked_of(req, name, size=20, cell=BOUND)
    found = req.once("page", asked, count=lambda: table_page(req.lake, asked, columns))
    listed = [
        {"id": row["id"], "topic": row.get("topic"), "prompt": row[prompt], "before": row[before], "after": row[after]}
        for row in found["rows"]
    ]
    data = {"name": name, "labels": (before, after), "rows": listed, "next": found["next"], "search": asked.search}
    return Page("rows/pairs.html", f"Pairs of {name}", data, (found["query"],), {"views": PAIRS})


def pair_columns(lake: Lake, name: str) -> tuple[str, str, str]:
    """The columns of a view of pairs that have the prompt and the two texts. Raises UsageError if it has no pairs."""
    if name not in PAIRS or name not in lake.schema.views:
        raise UsageError(f"pairs: got {excerpt(name, 60)!r}, expected one of {', '.join(PAIRS)}")
    return PAIRS[name]


def sql(req: PageRequest) -> Page:
    """The result of the reader's own SELECT, which can read and never write."""
    query = req.get("q").strip()
    data: dict[str, Any] = {"query": query, "columns": [], "rows": [], "more": False}
    if query:
        with req.lake.query(query) as cursor:
            names = [column[0] for column in cursor.description or ()]
            taken = cursor.fetchmany(RESULT + 1)
        data |= {
            "columns": names,
            "rows": [[_bounded(value) for value in row] for row in taken[:RESULT]],
            "more": len(taken) > RESULT,
        }
    return Page("sql.html", "SQL", data, (query,) if query else ())


def _bounded(value: Any) -> Any:
    return value[:BOUND] + "…" if isinstance(value, str) and len(value) > BOUND else value


def asked_of(req: PageRequest, name: str, **more: int) -> Asked:
    """What a page of rows shows: a column's name is a filter, names with '_' before them are settings of the page."""
    filters = tuple((column, value) for column, value in req.params if not column.startswith("_") and column not in OWN)
    size = req.get("_size", str(more.pop("size", 50)))
    if not size.isdecimal():
        raise UsageError(f"_size: got {excerpt(size, 20)!r}, expected a number of rows up to {SIZES[-1]}")
    source = _trained(req, name)["rows"] if req.get("_model") else ""
    return Asked(
        name, filters, req.get("_search"), req.get("_sort"), req.get("_after"), min(int(size), SIZES[-1]),
        source=source, **more,
    )  # fmt: skip


def _trained(req: PageRequest, name: str) -> Row:
    """The model `_model`, which read its rows of this view at its tag and at no other snapshot."""
    id, now = req.get("_model"), req.lakes.now
    found: Row = req.lakes.once(now, now.snapshot(), ("model", id), lambda: model(now, id))
    if name != found["view"] or req.snapshot != found["snapshot_id"] or not found["rows"]:
        raise UsageError(
            f"_model: got {excerpt(id, 80)!r} with {name} at {excerpt(req.get('at') or 'now', 60)}, expected "
            f"{found['view']} at {found['tag']}, which it was trained on; follow the link on the model's page"
        )
    return found | {"name": Path(found["path"]).name}


def export_query(req: PageRequest, name: str) -> str:
    """The SQL of all rows that a page of rows asks for."""
    return query_of(asked_of(req, name), columns_of(req, name))


def columns_of(req: PageRequest, name: str) -> dict[str, str]:
    """The columns of a table or view. Raises LakeUsageError if it does not exist."""
    return req.once("columns", name, count=lambda: table_columns(req.lake, name))


def row_table(req: PageRequest, name: str) -> str | None:
    """The table in which the ids of a table or view are rows with a story; '' where it is not known."""
    if name in req.lake.schema.records or name == "attempts":
        return name
    return "" if name in req.lake.schema.views else None


def _shown(req: PageRequest, columns: Mapping[str, str]) -> list[str]:
    """The most informative columns: texts first, then what a row is; no hashes, no settings."""
    hidden = (
        "hash",
        "fingerprint",
        "work_key",
        "attempt_id",
        "request_key",
        "parents",
        "config",
        "sampling",
        "inputs",
        "snapshot",
    )
    names = [name for name in columns if not any(word in name for word in hidden)]
    names = [
        name for name in names if name == "id" or not name.endswith("_id") or name in ("prompt_id", "principle_id")
    ]
    names.sort(key=lambda name: _LEADING.index(name) if name in _LEADING else len(_LEADING))
    return names[:9] + (["created_at"] if "created_at" in names[9:] else [])


def _comment(req: PageRequest, name: str) -> str:
    schema = req.lake.schema
    return schema.view_comment(name) if name in schema.views else note(schema.tables[name])

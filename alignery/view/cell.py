"""What `import alignery` returns of a lake, as a notebook shows it: a trace, a funnel, pairs.

They are dictionaries and lists for all other use. Their HTML needs neither a style sheet nor a script; its colours suit
light and dark notebooks. All text in it is untrusted, so it is escaped and bounded.
"""

from __future__ import annotations

from typing import Any

from alignery.display import untypeset
from alignery.view import render
from alignery.view.pages.rows import pair_columns
from warehouse import Lake
from warehouse.browse.story import BOUND
from warehouse.browse.table_page import Asked, columns_of, table_page

NODES, SHOWN, STEPS = 60, 20, 200  # of a trace, pairs and a funnel, at most
TEXT = 1200  # characters of one text


class Trace(dict[str, Any]):
    """A row's ancestors and descendants; see `OpenLake.trace`."""

    def _repr_html_(self) -> str:
        return untypeset(render.part("cell/trace.html", found=self, depths=self._depths(), nodes=NODES, bound=TEXT))

    def _depths(self) -> dict[str, int]:
        """Id → the number of nodes above it."""
        depths: dict[str, int] = {}
        for node in self["nodes"]:  # parents come before children
            depths[node["id"]] = depths.get(node["under"], -1) + 1
        return depths


class Funnel(list[dict[str, Any]]):
    """The outcome of each step's work; see `OpenLake.funnel`."""

    def _repr_html_(self) -> str:
        most = max((step["rows_in"] for step in self), default=1) or 1
        return untypeset(render.part("cell/funnel.html", steps=self[:STEPS], more=len(self) - STEPS, most=most))


class Pair(dict[str, Any]):
    """Two texts of one prompt: id, prompt, before, after."""

    def _repr_html_(self) -> str:
        return Pairs([self])._repr_html_()


class Pairs(list[Pair]):
    """Pairs of texts; see `OpenLake.pairs`."""

    def _repr_html_(self) -> str:
        return untypeset(render.part("cell/pairs.html", pairs=self[:SHOWN], more=len(self) - SHOWN, bound=TEXT))


def pairs(lake: Lake, view: str, limit: int) -> Pairs:
    """The newest pairs of a view. Raises UsageError if the view is unknown."""
    prompt, before, after = pair_columns(lake, view)
    page = table_page(lake, Asked(view, size=limit, cell=BOUND), columns_of(lake, view))
    return Pairs(Pair(id=row["id"], prompt=row[prompt], before=row[before], after=row[after]) for row in page["rows"])

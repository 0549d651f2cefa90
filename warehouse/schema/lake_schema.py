"""The schema of a lake: the ledger's tables, and what the installed methods declare beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alignery.declarations import Shape, Table


@dataclass(frozen=True)
class LakeSchema:
    """Tables of records, views and export shapes, as methods declare them.

    Args:
        tables: in the order in which they are listed.
        views: name → SQL, its leading comment included; in any order.
        shapes: of exports.
    """

    tables: tuple[Table, ...] = ()
    views: Mapping[str, str] = field(default_factory=dict)
    shapes: tuple[Shape, ...] = ()


_default = LakeSchema()


def set_default(schema: LakeSchema) -> None:
    """Set what lakes of this process have that are opened without a schema of their own: that of the built-in methods
    and of the packages that are installed."""
    global _default  # noqa: PLW0603  # one registry a process, as its entry points
    _default = schema


def default() -> LakeSchema:
    return _default

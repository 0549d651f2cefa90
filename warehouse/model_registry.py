"""The registry: which model an alias is bound to, decided by the gate or by hand, each decision a row.

The newest row that bound a model names it. No row is changed, so a process that dies during a promotion leaves the old
model or the new one, and never half of either.
"""

from __future__ import annotations

from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.query import status
from warehouse.schema.tables import Row

# Decisions that put a model (or, where `model` is null, the preset's own) in its place.
IN_PLACE = ("promoted", "rolled back")


def decisions(lake: Lake, alias: str | None = None, at: int | None = None) -> list[Row]:
    """Every decision, or every one up to a snapshot; the oldest first."""
    where = "WHERE alias = coalesce(?, alias) AND snapshot_id <= coalesce(?, snapshot_id)"
    return status.own(lake, lake.rows(f"SELECT * FROM decisions {where} ORDER BY rowid", [alias, at]))


def current(lake: Lake, alias: str, at: int | None = None) -> Row | None:
    """The decision that bound the alias's current model, or the model at a snapshot; None if it is still the preset's
    own.

    Raises:
        LakeUsageError: the folder of the promoted model is not there.
    """
    in_place = [row for row in decisions(lake, alias, at) if row["state"] in IN_PLACE]
    return in_place[-1] if in_place and in_place[-1]["model"] else None


def before(lake: Lake, alias: str) -> Row | None:
    """The decision that bound the model before the current one; None if that was the preset's own.

    Raises:
        LakeUsageError: the alias has the preset's own model, so there is nothing to roll back.
    """
    stack: list[Row] = []
    for row in decisions(lake, alias):
        if row["state"] == "promoted":
            stack.append(row)
        elif row["state"] == "rolled back":
            stack.pop()
    if not stack:
        raise LakeUsageError(
            f"{alias}: no promoted model is in use, only the preset's own; there is nothing to roll back"
        )
    return stack[-2] if len(stack) > 1 else None


def find(lake: Lake, id: str) -> Row:
    """The trained model whose id, or last folder's name, begins like this.

    Raises:
        LakeUsageError: none does, or several do.
    """
    rows = status.own(lake, lake.rows("SELECT id, path, recipe, tag, base_id FROM models ORDER BY rowid"))
    found = [row for row in rows if row["id"].startswith(id) or str(row["path"]).rsplit("/", 1)[-1].startswith(id)]
    if len({row["id"] for row in found}) == 1:
        return found[-1]
    there = [str(row["path"]).rsplit("/", 1)[-1] for row in (found or rows)]
    what = "several models begin" if found else "no model begins"
    raise LakeUsageError(f"{what} with {id!r}; expected one of {', '.join(there) or '(none)'}")

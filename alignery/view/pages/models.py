"""The models: what trained them, their curves, figures and decisions; and two of them side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignery.view.page_request import Page, PageRequest
from warehouse import model_registry
from warehouse.browse import models as asked
from warehouse.query import trained_on

Row = dict[str, Any]
_LARGEST = 32 << 20  # bytes of a history that is read


def models(req: PageRequest) -> Page:
    """Every model that was trained or scored, with its figures; with `a` and `b` two of them and their answers."""
    trained = req.once("models", count=lambda: trained_on.models(req.lake))
    figures = req.once("figures", count=lambda: asked.figures(req.lake))
    names = dict.fromkeys([row["model"] for row in figures] + [row["id"] for row in trained])
    data: dict[str, Any] = {
        "models": [row | {"name": Path(row["path"]).name} for row in trained],
        "decisions": list(reversed(req.once("decisions", count=lambda: _decisions(req)))),
        "figures": figures,
        "compared": None,
    }
    if req.get("a") and req.get("b"):
        a, b, after = req.get("a"), req.get("b"), req.get("_after")
        answers = req.once("answers", a, b, after, count=lambda: asked.answers(req.lake, a, b, after))
        data["compared"] = {"a": a, "b": b} | answers
    queries = ("SELECT * FROM models", "SELECT * FROM evals", "SELECT * FROM decisions ORDER BY created_at DESC")
    return Page("models/models.html", "Models", data, queries, {"names": list(names), "called": _called(trained)})


def model(req: PageRequest, id: str) -> Page:
    """One trained model."""
    found = req.once("model", id, count=lambda: asked.model(req.lake, id))
    history = _history(Path(found["path"]))
    data = {
        "model": found | {"name": Path(found["path"]).name},
        "report": json.loads(found["metrics"] or "{}"),
        "history": history,
        "figures": [row for row in req.once("figures", count=lambda: asked.figures(req.lake)) if row["model"] == id],
        "decisions": [one for one in req.once("decisions", count=lambda: _decisions(req)) if one["model"] == id],
    }
    return Page("models/model.html", data["model"]["name"], data, (found["rows"],) if found["rows"] else ())


def _decisions(req: PageRequest) -> list[Row]:
    """Every decision, its figures read: of the gate a list with one entry an axis."""
    rows = model_registry.decisions(req.lake)
    return [row | {"axes": _axes(row["figures"])} for row in rows]


def _axes(figures: str | None) -> list[Row]:
    axes = json.loads(figures or "[]")
    return [one for one in axes if isinstance(one, dict) and "axis" in one] if isinstance(axes, list) else []


def _called(trained: list[Row]) -> dict[str, str]:
    """Model id → a name for people: its folder, or the end of its id."""
    return {row["id"]: Path(row["path"]).name for row in trained}


def _history(folder: Path) -> list[Row]:
    """Steps with their losses, as the training wrote them; empty where the folder is elsewhere."""
    path = folder / "history.json"
    try:
        if path.stat().st_size > _LARGEST:
            return []
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [
        {"step": one.get("step"), "loss": one["loss"]} for one in entries if isinstance(one, dict) and "loss" in one
    ]

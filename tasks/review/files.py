"""Marks as files of other tools: what both formats share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tasks.review.mark import Mark, MarkError, left_side, other_side
from tasks.step import Row

# An item is what a person is shown: target_id, other_id, dimension, prompt, first, second, p. A mark row is one of the
# view `current_marks`.
Name = Callable[[str], str]  # the id of a tool's user → the person's name
_SIDES = {"first": "left", "second": "right"}
OF_ROW, OF_PAIR = ("right", "wrong", "flag"), ("left", "right", "tie", "flag")


def shown(item: Row) -> dict[str, Any]:
    """An item as the fields that a person reads, and the ids that its marks are returned with.

    Which of a pair is on the left is drawn by a hash of the pair, so neither the place nor a name reveals the model.
    """
    about = {"dimension": item["dimension"]} if item.get("dimension") else {}
    if item["other_id"] is None:
        return {"prompt": item["prompt"] or "", "answer": item["first"] or "", "target_id": item["target_id"]} | about
    first_left = left_side(item["target_id"], item["other_id"], "") == "first"
    left, right = ("first", "second") if first_left else ("second", "first")
    ids = {"first": item["target_id"], "second": item["other_id"]}
    texts = {"prompt": item["prompt"] or "", "left": item[left] or "", "right": item[right] or ""}
    return texts | {"left_id": ids[left], "right_id": ids[right]} | about


def side(data: Mapping[str, Any], mark: Row) -> str | None:
    """A mark's verdict in the file's terms: of a pair left or right, as the file shows it."""
    verdict = mark["verdict"]
    if mark["other_id"] is not None and verdict in _SIDES:
        verdict = verdict if data["left_id"] == mark["target_id"] else other_side(verdict)
        return _SIDES[verdict]
    return verdict


def marked(where: str, ids: Mapping[str, str | None], values: Mapping[str, Any], **more: Any) -> Mark:
    """A mark from a file's values: ids {target_id} or {left_id, right_id}, values {verdict, score, text, note}.

    Raises:
        MarkError: with the place in the file.
    """
    pair = ids.get("left_id") is not None and ids.get("right_id") is not None
    if pair == (ids.get("target_id") is not None):
        raise MarkError(
            f"{where}: got {sorted(ids)}, expected target_id, or left_id and right_id; keep them as exported"
        )
    verdict, known = values.get("verdict"), OF_PAIR if pair else OF_ROW
    if verdict is not None and verdict not in known:
        raise MarkError(f"{where}: verdict: got {str(verdict)[:60]!r}, expected one of {', '.join(known)}; correct it")
    if pair:
        turned = {word: name for name, word in _SIDES.items()}
        values = {**values, "verdict": turned.get(str(verdict), verdict)}
    mark = Mark(
        target_id=str(ids["left_id"] if pair else ids["target_id"]),
        other_id=ids["right_id"] if pair else None,
        shown_left="first" if pair else None,
        **values,
        **more,
    )
    try:
        return mark.checked()
    except MarkError as error:
        raise MarkError(f"{where}: {error}") from error


def by_thing(items: Iterable[Row], marks: Iterable[Row]) -> list[tuple[Row, list[Row]]]:
    """Each item with its marks."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for mark in marks:
        found.setdefault(_thing(mark), []).append(mark)
    return [(item, found.get(_thing(item), [])) for item in items]


def _thing(row: Row) -> tuple[str, ...]:
    return (*sorted(id for id in (row["target_id"], row["other_id"]) if id), row["dimension"] or "")

"""Label Studio's JSON: a list of tasks, each with data, predictions and annotations.

Format: labelstud.io/guide/task_format. A result has the name of its control (`from_name`), its type and value. Ours are
`verdict` (choices), `score` (rating), `edit` and `note` (textarea); docs/marks.md has the labelling configuration. An
annotation that was skipped (`was_cancelled`) is no mark.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from alignery.validation import validated
from tasks.review.files import Name, by_thing, marked, shown, side
from tasks.review.mark import Mark, MarkError
from tasks.step import Row

# Our field → control, type, the key of the value, and whether that is a list.
_CONTROLS = {
    "verdict": ("verdict", "choices", "choices", True),
    "score": ("score", "rating", "rating", False),
    "text": ("edit", "textarea", "text", True),
    "note": ("note", "textarea", "text", True),
}


def tasks(items: Iterable[Row], marks: Iterable[Row]) -> list[dict[str, Any]]:
    """Items with their marks, as tasks: marks as annotations, and a judge's outcome as a prediction."""
    return [_task(item, given) for item, given in by_thing(items, marks)]


def _task(item: Row, marks: Iterable[Row]) -> dict[str, Any]:
    data = shown(item)
    task: dict[str, Any] = {"data": data, "annotations": [], "predictions": []}
    for mark in marks:
        values = {"verdict": side(data, mark), "score": mark["score"], "text": mark["text"], "note": mark["note"]}
        task["annotations"].append(
            {
                "completed_by": {"email": mark["marked_by"]},
                "created_at": mark["created_at"].isoformat(),
                "result": _results(values, data),
            }
        )
    if item.get("p") is not None and item["other_id"] is not None:
        better = "first" if item["p"] > 0.5 else "second" if item["p"] < 0.5 else "tie"
        values = {"verdict": side(data, item | {"verdict": better})}
        task["predictions"].append(
            {"model_version": "judge", "score": max(item["p"], 1 - item["p"]), "result": _results(values, data)}
        )
    return task


def _results(values: Row, data: Row) -> list[dict[str, Any]]:
    to = "answer" if "answer" in data else "left"
    return [
        {"from_name": name, "to_name": to, "type": kind, "value": {key: [values[field]] if several else values[field]}}
        for field, (name, kind, key, several) in _CONTROLS.items()
        if values.get(field) is not None
    ]


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore")  # a tool's own bookkeeping: ids, projects, times of its work


class _Data(_Loose):
    target_id: str | None = None
    left_id: str | None = None
    right_id: str | None = None
    dimension: str | None = None


class _User(_Loose):
    id: int | None = None
    email: str | None = None


class _Value(_Loose):
    choices: list[str] | None = Field(default=None, min_length=1, max_length=1)
    rating: float | None = None
    text: str | list[str] | None = None


class _Result(_Loose):
    from_name: str
    value: _Value


class _Annotation(_Loose):
    completed_by: int | str | _User
    created_at: datetime | None = None
    was_cancelled: bool = False
    result: list[_Result]


class _Task(_Loose):
    data: _Data
    annotations: list[_Annotation] = []


def marks(given: Any, where: str, name: Name) -> list[Mark]:
    """The marks of a file's JSON value.

    Args:
        where: names the file.
        name: a user's id or address → the person's name.

    Raises:
        MarkError: with task, annotation and field.
    """
    if not isinstance(given, list):
        raise MarkError(f"{where}: got a {type(given).__name__}, expected a list of tasks; export them as JSON")
    found = []
    for number, value in enumerate(given, 1):
        task = validated(_Task, value, f"{where}: task {number}", MarkError)
        ids = task.data.model_dump(exclude={"dimension"}, exclude_none=True)
        for place, one in enumerate(task.annotations):
            at = f"{where}: task {number}: annotations.{place}"
            if not one.was_cancelled:
                more = {"by": name(_user(one.completed_by, at)), "at": one.created_at, "origin": "label-studio"}
                found.append(marked(at, ids, _values(one.result, at), dimension=task.data.dimension, **more))
    return found


def _user(given: int | str | _User, where: str) -> str:
    found = (given.email or given.id) if isinstance(given, _User) else given
    if found is None:
        raise MarkError(f"{where}: completed_by: got neither email nor id, expected one; export the annotators too")
    return str(found)


def _values(results: Iterable[_Result], where: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for number, result in enumerate(results):
        place = f"{where}.result.{number}"
        field = next((field for field, (control, *_) in _CONTROLS.items() if control == result.from_name), None)
        if field is None or field in values:
            known = ", ".join(control for control, *_ in _CONTROLS.values())
            got = f"{result.from_name[:60]!r}{' again' if field else ''}"
            raise MarkError(f"{place}: from_name: got {got}, expected each of {known} once at most; drop it")
        _, _, key, several = _CONTROLS[field]
        value = getattr(result.value, key)
        if value is None:
            raise MarkError(f"{place}: value: got no {key!r}, expected one; correct it")
        values[field] = "\n".join(value) if several and isinstance(value, list) else value
    return values

"""Argilla's records as JSON (`dataset.records.to_json`): fields, metadata, suggestions and responses by question.

A response has a value and the id of a user, a UUID; the responses of one user to one record are one mark. Argilla's
file has no times. Its questions are `verdict` (label), `score` (rating), `edit` and `note` (text); docs/marks.md has
the settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, Field

from alignery.hashing import digest
from alignery.validation import validated
from tasks.review.files import Name, by_thing, marked, shown, side
from tasks.review.mark import Mark, MarkError
from tasks.step import Row

_QUESTIONS = {"verdict": "verdict", "score": "score", "edit": "text", "note": "note"}  # question → our field
_IDS = ("target_id", "left_id", "right_id", "dimension")


def user_id(name: str) -> str:
    """The UUID of a person's name."""
    return str(uuid5(NAMESPACE_URL, f"alignery:{name}"))


def records(items: Iterable[Row], marks: Iterable[Row]) -> list[dict[str, Any]]:
    """Items with their marks, as records: marks as responses, and a judge's outcome as a suggestion."""
    return [_record(item, given) for item, given in by_thing(items, marks)]


def _record(item: Row, marks: Iterable[Row]) -> dict[str, Any]:
    data = shown(item)
    responses: dict[str, list[Row]] = {}
    for mark in marks:
        values = {**mark, "verdict": side(data, mark)}
        for question, field in _QUESTIONS.items():
            if values[field] is not None:
                given = {"value": values[field], "user_id": user_id(mark["marked_by"])}
                responses.setdefault(question, []).append(given)
    suggestions = {}
    if item.get("p") is not None and item["other_id"] is not None:
        better = "first" if item["p"] > 0.5 else "second" if item["p"] < 0.5 else "tie"
        value = side(data, item | {"verdict": better})
        suggestions["verdict"] = {"value": value, "score": max(item["p"], 1 - item["p"]), "agent": "judge"}
    return {
        "id": digest({name: data.get(name) for name in _IDS}),
        "fields": {name: value for name, value in data.items() if name not in _IDS},
        "metadata": {name: data[name] for name in _IDS if name in data},
        "suggestions": suggestions,
        "responses": responses,
        "vectors": {},
    }


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore")  # a tool's own bookkeeping: vectors, ids of its server


class _Metadata(_Loose):
    target_id: str | None = None
    left_id: str | None = None
    right_id: str | None = None
    dimension: str | None = None


class _Response(_Loose):
    value: str | float
    user_id: str = Field(min_length=1)


class _Record(_Loose):
    metadata: _Metadata
    responses: dict[str, list[_Response]] = {}


def marks(given: Any, where: str, name: Name) -> list[Mark]:
    """The marks of a file's JSON value.

    Args:
        where: names the file.
        name: a user's id → the person's name.

    Raises:
        MarkError: with record, question and field.
    """
    if not isinstance(given, list):
        raise MarkError(f"{where}: got a {type(given).__name__}, expected a list of records; write it with to_json")
    found = []
    for number, value in enumerate(given, 1):
        at = f"{where}: record {number}"
        record = validated(_Record, value, at, MarkError)
        ids = record.metadata.model_dump(exclude={"dimension"}, exclude_none=True)
        for user, values in _by_user(record, at).items():
            more = {"dimension": record.metadata.dimension, "by": name(user), "origin": "argilla"}
            found.append(marked(f"{at}: responses of {user[:60]!r}", ids, values, **more))
    return found


def _by_user(record: _Record, where: str) -> dict[str, dict[str, Any]]:
    users: dict[str, dict[str, Any]] = {}
    for question, responses in record.responses.items():
        if question not in _QUESTIONS:
            known = ", ".join(_QUESTIONS)
            raise MarkError(f"{where}: responses: got {question[:60]!r}, expected some of {known}; drop it")
        field = _QUESTIONS[question]
        for response in responses:
            place = f"{where}: responses.{question}"
            if (field == "score") == isinstance(response.value, str):
                kind = "a number" if field == "score" else "a text"
                raise MarkError(f"{place}: got {str(response.value)[:60]!r}, expected {kind}; correct it")
            values = users.setdefault(response.user_id, {})
            if field in values:
                raise MarkError(f"{place}: got two of the user {response.user_id[:60]!r}, expected one; drop one")
            values[field] = response.value
    return users

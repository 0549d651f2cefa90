"""Marks to and from the files of Argilla and Label Studio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from alignery.pipeline.marks.marks import add_all
from alignery.textfiles import parse_json, read_text
from tasks.review import argilla, label_studio
from tasks.review.mark import Mark, MarkError
from tasks.step import Row
from warehouse import Lake
from warehouse.marks.things import describe

TOOLS = ("label-studio", "argilla")
_STATED = ("verdict", "score", "text", "note")


def as_file(lake: Lake, tool: str, items: Sequence[Row] | None = None) -> str:
    """A file's text: a JSON list, an item a line.

    Args:
        items: rows of a queue, to be marked; all that was marked, with its marks, if left out.

    Raises:
        MarkError: no such tool.
    """
    _check(tool)
    marks = lake.rows("SELECT * FROM current_marks ORDER BY target_id, other_id, dimension, marked_by")
    items = _marked(lake, marks) if items is None else items
    records = (label_studio.tasks if tool == "label-studio" else argilla.records)(items, marks)
    return "[\n" + ",\n".join(json.dumps(one, ensure_ascii=False) for one in records) + "\n]\n"


def _marked(lake: Lake, marks: Sequence[Row]) -> list[Row]:
    """What was marked, each once, as an item."""
    things = dict.fromkeys((mark["target_id"], mark["other_id"], mark["dimension"]) for mark in marks)
    described = describe(lake, [(one, other) for one, other, _ in things])
    return [
        {"target_id": one, "other_id": other, "dimension": dimension} | described[one, other]
        for one, other, dimension in things
        if (one, other) in described
    ]


def read_marks(lake: Lake, tool: str, path: Path, people: Mapping[str, str] | None = None) -> list[Mark]:
    """The marks in a file.

    Args:
        people: a user's id or address in that tool → the person's name. An id that is missing
            here is looked up among the annotators of this lake, by the ids of our own exports; else it is the name.

    Raises:
        MarkError, TextFileError: the file is not what it should be; with the place in it.
    """
    _check(tool)
    given = parse_json(read_text(path), str(path))
    known = {row["marked_by"] for row in lake.rows("SELECT DISTINCT marked_by FROM marks")}
    names = {argilla.user_id(name): name for name in known} | dict(people or {})
    read = label_studio.marks if tool == "label-studio" else argilla.marks
    return read(given, str(path), lambda user: names.get(user, user))


def bring_in(lake: Lake, marks: Sequence[Mark]) -> tuple[int, int]:
    """Commit marks that are new; importing a file again changes nothing.

    Returns:
        How many were added, and how many were there already.

    Raises:
        MarkError: one is on a row that the lake does not have; nothing is then committed.
    """
    current = {row["work_key"]: row for row in lake.rows("SELECT * FROM current_marks")}
    new = [mark for mark in marks if not _stands(mark, current.get(mark.key))]
    add_all(lake, new)
    return len(new), len(marks) - len(new)


def _stands(mark: Mark, row: Row | None) -> bool:
    """Whether a person's marks say that already."""
    return row is not None and all(getattr(mark, name) in (None, row[name]) for name in _STATED)


def _check(tool: str) -> None:
    if tool not in TOOLS:
        raise MarkError(f"got the tool {tool[:60]!r}, expected one of {', '.join(TOOLS)}; name one of those")

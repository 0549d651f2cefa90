"""Your own data: prompts of files or of another lake, with the answers, corrections or pairs that you have for them.

Prompts pass the gate of the instructions that a model writes, or, with `gate: off`, only the check that keeps
evaluation prompts out. What comes with them is a row of the usual table: an answer is a base answer, which is then not
requested; a correction is one of the Aligner's; a pair is a comparison whose outcome is known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, RootModel, model_validator

from alignery.errors import UsageError
from alignery.hashing import digest
from alignery.untrusted import excerpt, printable
from alignery.validation import Filled
from prompts import Library
from tasks.datafiles import DataRow
from tasks.methods.base import MethodConfig
from tasks.methods.prompts import templates
from tasks.methods.prompts.templates import Template, TemplatedRow
from tasks.stage import Context, Method, Stage
from tasks.step import Row

LONGEST = 100_000  # characters of a text; our choice
_HELD = 64 << 20  # characters that a batch holds, about; our choice
GIVEN = "given"  # the principle of a pair whose outcome the user knows
_ORIGIN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_NO_TEXT = re.compile("[\ud800-\udfff\0]")  # lone surrogates, and what no column holds
_TAKEN = ("seed", "self_instruct", "red_team")


class Entry(MethodConfig):
    """One file, folder or lake."""

    path: Path | None = None  # a .jsonl, .csv, .tsv or .parquet file, a folder of these, or one of `datasets`
    lake: Path | None = None  # the home of another lake
    tag: Filled | None = None  # of that lake; without one it is read as it is now
    table: Filled = "instructions"  # or view, of that lake
    field: Filled = "prompt"  # the column of the prompt; one of chat messages gives its first user turn
    topic: Filled = "own data"
    origin: Filled | None = None  # the name of their source; by default a file's stem, a lake's tag
    answers: Filled | None = None  # the column of answers; of chat messages, the first assistant turn
    corrections: Filled | None = None  # the column of corrected answers
    chosen: Filled | None = None  # the columns of a pair
    rejected: Filled | None = None
    gate: bool = True  # off: all but evaluation prompts are accepted
    templates: Path | None = None  # a file of templates that put each row into words, in place of its columns
    draw: Literal["all", "one"] = "all"  # the templates that a row is put into: all, or one that a hash draws

    @model_validator(mode="after")
    def _is_one_source(self) -> Entry:
        if (self.path is None) == (self.lake is None):
            raise ValueError("got both or neither of path and lake, expected one of them; give the one that is meant")
        if self.path and not os.path.exists(self.path):
            raise ValueError(
                f"path: got {excerpt(self.path)}, which is not there; expected a file or folder, correct the path "
                "(./ is the preset's folder)"
            )
        for name in ("tag", "table"):
            if name in self.model_fields_set and not self.lake:
                raise ValueError(f"{name}: got one without lake, of which it is; drop it, or name the lake")
        if (self.chosen is None) != (self.rejected is None):
            raise ValueError("got one of chosen and rejected, expected both; name the other column too")
        if self.corrections and not self.answers:
            raise ValueError("corrections: got them without answers; name the column of what is corrected")
        self._check_templates()
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", self.table):
            raise ValueError(f"table: got {excerpt(self.table, 60)!r}, expected a table's or view's name")
        if not _ORIGIN.fullmatch(self.name) or self.name in _TAKEN:
            raise ValueError(
                f"origin: got {excerpt(self.name, 60)!r}, expected lower-case letters, digits, '_', '-' or '.', and "
                f"none of {list(_TAKEN)}; name the data in such a word"
            )
        return self

    def _check_templates(self) -> None:
        if self.templates is None:
            if "draw" in self.model_fields_set:
                raise ValueError("draw: got one without templates, of which it draws; drop it, or name their file")
            return
        if both := sorted({"field", "answers", "corrections", "chosen", "rejected"} & self.model_fields_set):
            raise ValueError(f"{both[0]}: got one beside templates, which name the columns themselves; drop it")
        try:
            templates.load(self.templates)
        except UsageError as error:
            raise ValueError(f"templates: {error}") from error

    def read(self) -> tuple[Entry, tuple[Template, ...]]:
        """The entry prepared for reading, with its templates loaded."""
        if self.templates is None:
            return self, ()
        found = templates.load(self.templates)
        answers = templates.ANSWER if any(template.answer for template in found) else None
        return self.model_copy(update={"field": templates.QUESTION, "answers": answers}), found

    @property
    def name(self) -> str:
        """The origin of its rows."""
        if self.origin:
            return self.origin
        stem = self.path.stem if self.path else self.tag or (self.lake or Path()).name
        return re.sub(r"[^a-z0-9_.-]+", "-", stem.lower()).strip("-.") or "own"

    @property
    def brought(self) -> list[str]:
        """The columns of what comes beside the prompts."""
        return [column for column in (self.answers, self.corrections, self.chosen, self.rejected) if column]

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys([self.field, *self.brought]))


class Config(RootModel[tuple[Entry, ...]]):
    """The entries, which are read in their order."""

    root: tuple[Entry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _once_each(self) -> Config:
        names = [entry.name for entry in self.root]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"got two entries of the origin {twice[0]!r}; give one of them another `origin`")
        return self


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    """None: no model is asked for them."""
    return []


def instruction(row: DataRow, entry: Entry) -> Row:
    """A row as a candidate instruction; if it cannot be one, `reason` says why.

    The id is a hash of the prompt's text and its origin, so that a new line in a file changes no other.
    """
    text, fault = "", row.fault
    if not fault:
        text, fault = _text(row.values, entry.field, "user")
    fault = fault or _fault_of_brought(row, entry)
    source = {"source": excerpt(row.file, 200), "source_row": row.number}
    if fault:
        shown = text or excerpt(next(iter(row.values.values()), ""), 200)
        key = digest("prompts", entry.name, row.file, row.number, fault)
        return _record(key, entry, printable(shown)[:200] or "(nothing)", f"unreadable: {fault}") | source
    return _record(digest("prompts", entry.name, text), entry, text, None) | source


def companions(row: DataRow, entry: Entry, instruction: Row, template: str) -> dict[str, list[Row]]:
    """What a row has besides its prompt: table → records; for a templated row, its template.

    Args:
        instruction: its accepted record.
        template: the hash of the words that an Aligner is asked in, for corrections.
    """
    found: dict[str, list[Row]] = {}
    if isinstance(row, TemplatedRow) and row.template:
        found["templated"] = [_use(row, row.template, instruction)]
    if entry.answers:
        answer = _response(row, entry.answers, "base", instruction)
        found["responses"] = answer
        if entry.corrections and answer:
            found["corrections"] = _correction(row, entry.corrections, answer[0], template)
    if entry.chosen and entry.rejected:
        chosen, rejected = (_response(row, column, "sample", instruction) for column in (entry.chosen, entry.rejected))
        if chosen and rejected:
            found["responses"] = [*found.get("responses", []), *chosen, *rejected]
            found["comparisons"] = [_pair(chosen[0], rejected[0])]
    return found


def is_complete(row: DataRow, entry: Entry) -> bool:
    """Whether a row has all of the entry's columns; an empty cell is not an error, and adds nothing."""
    return all(_is_there(row, column) for column in entry.brought)


def _fault_of_brought(row: DataRow, entry: Entry) -> str | None:
    for column in entry.brought:
        if _is_there(row, column) and (fault := _given(row, column)[1]):
            return fault
    if not (entry.chosen and entry.rejected):
        return None
    chosen, rejected = (_given(row, column)[0] for column in (entry.chosen, entry.rejected))
    return f"{entry.chosen}: the same text as {entry.rejected}" if chosen and chosen == rejected else None


def start_row(record: Row, brought: dict[str, list[Row]]) -> Row:
    """The row with which the stages start; a given answer is not requested."""
    row = {"instruction_id": record["id"], "instruction": record["text"], "topic": record["topic"]}
    if pairs := [one for one in brought.get("comparisons", []) if one["principle_id"] == GIVEN]:
        texts = {one["id"]: one["text"] for one in brought["responses"]}
        good, bad = pairs[0]["a_id"], pairs[0]["b_id"]
        row["pair"] = {"good_id": good, "good": texts[good], "bad_id": bad, "bad": texts[bad]}
    answer = next((one for one in brought.get("responses", []) if one["kind"] == "base"), None)
    if answer is None:
        return row
    row |= {"response_id": answer["id"], "response": answer["text"], "target_id": answer["id"]}
    return row | {"target": answer["text"], "given": ("answer",)}


def _is_there(row: DataRow, field: str) -> bool:
    value = row.values.get(field)
    return bool(value.strip()) if isinstance(value, str) else value not in (None, [])


def _given(row: DataRow, field: str) -> tuple[str, str | None]:
    """The text of an answer, or why it is invalid."""
    text, fault = _text(row.values, field, "assistant")
    return ("" if fault else text), fault


def _text(values: dict[str, Any], field: str, role: str) -> tuple[str, str | None]:
    """The text of a field, or what is wrong with it."""
    if field not in values:
        return "", f"no field {field!r}"
    value = values[field]
    if isinstance(value, list):  # chat messages
        value = next((turn.get("content") for turn in value if isinstance(turn, dict) and turn.get("role") == role), "")
    if not isinstance(value, str):
        return "", f"{field}: got {'nothing' if value is None else type(value).__name__}, expected a text"
    text, fault = value.strip(), None
    if not text:
        fault = f"{field}: empty, or without a turn of the role {role!r}"
    elif len(text) > LONGEST:
        text, fault = text[:200], f"{field}: more than {LONGEST:,} characters"
    if _NO_TEXT.search(text):
        text, fault = "", f"{field}: bytes that are no UTF-8 text"
    return text, fault


def _record(key: str, entry: Entry, text: str, reason: str | None) -> Row:
    return {
        "id": key,
        "parents": [],
        "attempt_id": None,
        "work_key": key,
        "topic": entry.topic,
        "text": text,
        "origin": entry.name,
        "state": "rejected" if reason else "accepted",
        "reason": reason,
    }


def _response(row: DataRow, field: str, kind: str, instruction: Row) -> list[Row]:
    if not (text := _given(row, field)[0]):
        return []
    key = digest("prompts", instruction["id"], kind, text)
    return [
        _base_row(key, [instruction["id"]])
        | {"instruction_id": instruction["id"], "kind": kind, "text": text, "rules": [], "complete": True}
    ]


def _correction(row: DataRow, field: str, answer: Row, template: str) -> list[Row]:
    if not (text := _given(row, field)[0]):
        return []
    key = digest("prompts", answer["id"], "correction", text)
    owner = {"instruction_id": answer["instruction_id"], "response_id": answer["id"]}
    is_copy = text == answer["text"]
    return [_base_row(key, [*owner.values()]) | owner | {"template_id": template, "text": text, "is_copy": is_copy}]


def _use(row: DataRow, template: Template, instruction: Row) -> Row:
    key, answer = digest("prompts", instruction["id"], "template", template.name), row.values.get(templates.ANSWER)
    fields = {
        "template": template.name,
        "answer": answer,
        "choices": [*template.choices],
        "metrics": [*template.metrics],
    }
    return _base_row(key, [instruction["id"]]) | {"instruction_id": instruction["id"]} | fields


def _pair(chosen: Row, rejected: Row) -> Row:
    key = digest("prompts", chosen["id"], rejected["id"], "pair")
    row = _base_row(key, [chosen["instruction_id"], chosen["id"], rejected["id"]])
    row |= {"instruction_id": chosen["instruction_id"], "a_id": chosen["id"], "b_id": rejected["id"], "first": "a"}
    return row | {"principle_id": GIVEN, "principle_hash": GIVEN, "p_a": 1.0}


def _base_row(key: str, parents: Sequence[str]) -> Row:
    return {"id": key, "parents": list(parents), "attempt_id": None, "work_key": key}


def batches(rows: Iterator[DataRow], size: int) -> Iterator[list[DataRow]]:
    """The rows in lists of that size, or shorter ones where their texts are long."""
    batch: list[DataRow] = []
    buffered = 0
    for row in rows:
        batch.append(row)
        buffered += sum(len(value) for value in row.values.values() if isinstance(value, str | bytes | list))
        if len(batch) == size or buffered > _HELD:
            yield batch
            batch, buffered = [], 0
    if batch:
        yield batch


method = Method(
    "prompts",
    Config,
    stages,
    source=True,
    paper="your own data",
    tables=(templates.TEMPLATED,),
    views=Path(__file__).parent / "views",
)

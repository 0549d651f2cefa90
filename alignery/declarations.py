"""What a method declares of the lake: the tables that its records go to, and the shapes that its rows are exported in.

Plain data, from which the warehouse derives DDL, lineage, traces and exports; it needs neither DuckDB nor Arrow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from alignery.errors import UsageError

ColumnType = Literal["text", "flag", "int", "long", "real", "texts"]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class DeclarationError(UsageError):
    """A declaration is wrong, or contradicts another one; the message names both, and the fix."""


def check_name(what: str, name: str) -> None:
    """Raises DeclarationError if a name would need quotes in SQL."""
    if not _NAME.fullmatch(name):
        raise DeclarationError(f"{what}: got {name[:80]!r}, expected lower-case letters, digits and _; rename it")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        comment: what it holds, for readers of the table.
        unit: of a number.
        required: false allows null. A column that is added to a table that lakes have already must allow it.
        fact: whether a trace shows it beside the row: short values, as a kind, a round, a score.
    """

    name: str
    type: ColumnType
    comment: str
    unit: str = ""
    required: bool = True
    fact: bool = False

    def __post_init__(self) -> None:
        check_name("column", self.name)

    @property
    def optional(self) -> Column:
        return replace(self, required=False)

    @property
    def shown(self) -> Column:
        """The same as a fact."""
        return replace(self, fact=True)

    @classmethod
    def text(cls, name: str, comment: str) -> Column:
        return cls(name, "text", comment)

    @classmethod
    def texts(cls, name: str, comment: str) -> Column:
        return cls(name, "texts", comment)

    @classmethod
    def flag(cls, name: str, comment: str) -> Column:
        return cls(name, "flag", comment)

    @classmethod
    def integer(cls, name: str, comment: str, unit: str = "") -> Column:
        return cls(name, "int", comment, unit)

    @classmethod
    def real(cls, name: str, comment: str, unit: str = "") -> Column:
        return cls(name, "real", comment, unit)


# What rows of most tables are made from; the names are those of a row's fields.
INSTRUCTION_ID = Column.text("instruction_id", "the instruction it belongs to (instructions.id)").shown
RESPONSE_ID = Column.text("response_id", "the first answer it belongs to (responses.id)")


@dataclass(frozen=True)
class Table:
    """A table of records. Every one also has id, parents, attempt_id, work_key, run_id and created_at.

    Args:
        label: what one of its rows is called, as in a trace.
        text: the column that holds what a row says; None where it says nothing.
        before: the column whose text, if any, is shown before it, as an instance's input.
        gate: where its rows are candidates with a `state` and a `reason`: the step that judged them, as the funnel
            shows it; `{origin}` in it is replaced by that column.
    """

    name: str
    comment: str
    label: str
    columns: Sequence[Column]
    text: str | None = "text"
    before: str | None = None
    gate: str | None = None

    def __post_init__(self) -> None:
        check_name("table", self.name)
        names = [column.name for column in self.columns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DeclarationError(f"table {self.name}: two columns are called {twice[0]!r}; rename one")
        if self.text and self.text not in names:
            raise DeclarationError(f"table {self.name}: text: there is no column {self.text!r}; it has {names}")
        if self.gate and not {"state", "reason"} <= set(names):
            raise DeclarationError(f"table {self.name}: gate: it has no columns 'state' and 'reason'; add them")


@dataclass(frozen=True)
class Shape:
    """Rows of a view as a trainer takes them: one configuration of an exported data set.

    Args:
        about: what a row is, for the data set's card.
        columns: the trainer's own columns; all others of the view are provenance.
        prompt: the SQL of the prompt, from the view's columns; its hash decides on which side of the split a row is.
        answer: the SQL of the text that is learned, from the trainer's columns.
        view: whose rows they are; by default the view of the same name.
        select: the SQL of the trainer's columns, where they are not the view's own.
        hidden: columns of the view that `select` contains in another form, and that are not provenance.
    """

    name: str
    about: str
    columns: tuple[str, ...]
    prompt: str
    answer: str
    view: str = ""
    select: str = ""
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("shape", self.name)
        if not self.view:
            object.__setattr__(self, "view", self.name)

    @classmethod
    def of_messages(cls, name: str, about: str, view: str = "") -> Shape:
        """Rows with `messages`: a prompt and the answer to learn."""
        return cls(name, about, ("messages",), "messages[1].content", "messages[2].content", view)

    @classmethod
    def of_pairs(cls, name: str, about: str, more: tuple[str, ...] = ()) -> Shape:
        """Rows with `prompt`, `chosen` and `rejected`, each as messages."""
        return cls(name, about, ("prompt", "chosen", "rejected", *more), "prompt[1].content", "chosen[1].content")

    @classmethod
    def of_corrections(cls, name: str, about: str, more: tuple[str, ...] = ()) -> Shape:
        """Rows with `question`, `answer` and `correction`."""
        return cls(name, about, ("question", "answer", "correction", *more), "question", "correction")

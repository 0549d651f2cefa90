"""Templates over a user's own table: a row and a template make a question and, if the table has it, the answer.

Source: PromptSource (arXiv 2202.01279): a data set's rows are put into words by named templates, each with the metrics
that its answers are measured by and, where the answer is one of few, the choices. Departures:
1. Question and answer are two templates; PromptSource parts one by `|||`.
2. The small part of Jinja that prompts may have (`prompts.templates`): no calls, so no `choice()` or `tojson`.
3. Metrics are names that go with the rows, of which nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alignery.declarations import INSTRUCTION_ID, Column, Table
from alignery.hashing import digest
from alignery.textfiles import read_yaml
from alignery.untrusted import excerpt
from alignery.validation import Filled, validated
from prompts import PromptError
from prompts.templates import rendered, variables_of
from tasks.datafiles import DataRow

QUESTION, ANSWER = "question", "answer"  # the columns of a templated row


class Template(BaseModel):
    """One way to put a row into words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    question: Filled
    answer: Filled | None = None
    choices: tuple[Filled, ...] = ()  # all answers that there may be
    metrics: tuple[Filled, ...] = ()  # accuracy, rouge, …: what answers are to be measured by

    @model_validator(mode="after")
    def _can_be_filled(self) -> Template:
        if not variables_of(self.question):
            got = excerpt(self.question, 60)
            raise ValueError(f"question: got {got!r}, which names no column; write {{{{ column }}}}")
        variables_of(self.answer or "")
        return self

    @property
    def columns(self) -> set[str]:
        """The table's columns that it reads."""
        return variables_of(self.question) | variables_of(self.answer or "")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    templates: tuple[Template, ...] = Field(min_length=1)


@dataclass(frozen=True)
class TemplatedRow(DataRow):
    """A row in a template's words; its columns are question and, where the template has one, answer."""

    template: Template | None = None


TEMPLATED = Table(
    "templated",
    "Which template put a row of a user's table into words, with what it says of the answers",
    "template's use",
    (
        INSTRUCTION_ID,
        Column.text("template", "the template's name").shown,
        Column.text("answer", "the answer of the table, in the template's words; null where it has none").optional,
        Column.texts("choices", "all answers that there may be; empty where any may"),
        Column.texts("metrics", "names of what answers are to be measured by"),
    ),
    text="template",
)


def load(path: Path) -> tuple[Template, ...]:
    """The templates of a file.

    Raises:
        PromptError, TextFileError: it is not such a file, a template is wrong, or two have one name.
    """
    templates = validated(_File, read_yaml(path), str(path), PromptError).templates
    names = [template.name for template in templates]
    if twice := [name for name in names if names.count(name) > 1]:
        raise PromptError(f"{excerpt(path)}: templates: got {twice[0]!r} twice; rename one")
    return templates


def templated(rows: Iterator[DataRow], templates: Sequence[Template], one: bool) -> Iterator[DataRow]:
    """Each row in the words of each template, or of one that a hash draws."""
    for row in rows:
        # A hash of its values, so that a new row in the file changes no other's template.
        place = int(digest("template", repr(sorted(row.values.items()))), 16) % len(templates)
        for template in [templates[place]] if one else templates:
            yield _filled(row, template)


def _filled(row: DataRow, template: Template) -> DataRow:
    if row.fault:
        return row
    empty = [name for name in sorted(template.columns) if row.values.get(name) in (None, "", [])]
    if empty:
        return DataRow(row.file, row.number, row.values, f"template {template.name}: {empty[0]} is empty")
    try:
        values = {QUESTION: rendered(template.question, row.values)}
        values |= {ANSWER: rendered(template.answer, row.values).strip()} if template.answer else {}
    except PromptError as error:
        return DataRow(row.file, row.number, row.values, f"template {template.name}: {excerpt(error, 80)}")
    if template.choices and values.get(ANSWER) not in (None, *template.choices):
        fault = f"template {template.name}: the answer is none of its choices"
        return DataRow(row.file, row.number, row.values, fault)
    return TemplatedRow(row.file, row.number, values, None, template)

"""A stage: a step, the stages that its rows come from, and what its successors get. Methods declare theirs as data.

A stage sees one row at a time, and no other row: a join within a row is a chain (sample a → sample b → compare).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from alignery.declarations import Shape, Table
from alignery.hashing import digest
from prompts import Form, Library
from tasks.filters.contamination import Contamination
from tasks.step import Row, Step
from tasks.train.config import Recipe

GENERATOR = "generator"  # the default of every other alias
SOURCE = "instruction"  # the port of the rows that accepted instructions are
INSTRUCTION = ("instruction_id", "instruction")
SOURCE_FIELDS = (*INSTRUCTION, "topic")
NEW = "new"  # a field of rows whose instruction this run has made; a step that drops it costs look-ups
# What a first answer adds; the target is the newest text, which is criticised, corrected or rated.
ANSWER = ("response_id", "response", "target_id", "target")


def always(row: Row) -> bool:
    return True


def unchanged(row: Row) -> Row:
    return row


def accepted(row: Row, results: list[Row]) -> list[Row]:
    return results


def kept(row: Row, results: list[Row]) -> list[Row]:
    """The row itself if nothing was accepted: an answer whose correction was lost stays."""
    return results or [row]


@dataclass(frozen=True)
class Stage:
    """A step and its place in the graph.

    Args:
        name: unique in the graph; not part of any key.
        after: the stage, or the port, whose rows it gets; None where it has requests of its own and no rows.
        model: the alias of the model that is called.
        provides: the port that its rows become. The last method that provides a port has it, and its own stages that
            are after that port get the rows of the method before it.
        take: the row as this stage reads it; adds fields to it, which `adds` names too.
        when: whether the row, as taken, is sent; else it ends here, unless `skippable` passes it on.
        then: (row, rows made of its accepted records) → the rows that the successors get.
        needs: the fields that it reads of a row, before `take`.
        adds: the fields that its successors' rows have besides.
        texts: rows of the table `prompts`, besides the prompt's own: further texts of its requests.
        in_stack: whether its result replaces the answer (the row's target). Such a stage runs on held-out prompts
            too: the gate judges it together with the generator.
        before_answer: of a stage in the stack, whether its result is the prompt that the generator gets. Such a
            stage runs only in the stack: no refresh runs it.
    """

    name: str
    step: Step
    after: str | None
    model: str = GENERATOR
    provides: str | None = None
    take: Callable[[Row], Row] = unchanged
    when: Callable[[Row], bool] = always
    skippable: bool = False
    then: Callable[[Row, list[Row]], list[Row]] = accepted
    needs: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    texts: Sequence[Row] = ()
    in_stack: bool = False
    before_answer: bool = False

    def in_form(self, form: Form) -> Stage:
        """The stage for a model of that form."""
        step = self.step.in_form(form)
        return self if step is self.step else replace(self, step=step)

    def prompt_rows(self) -> list[Row]:
        """Rows of the table `prompts`: all texts of its requests."""
        prompt = self.step.prompt
        return [prompt_row(prompt.id, prompt.source, prompt.hash), *self.texts]


def prompt_row(id: str, source: str, hash: str | None = None) -> Row:
    """A row of the table `prompts`; the hash is that of the source unless another one is given."""
    return {"hash": hash or digest(source), "id": id, "source": source}


@dataclass(frozen=True)
class Context:
    """What a method's stages may depend on besides its own settings: those of the other methods that are run, by name,
    the evaluation prompts, and the aliases that have a model of their own."""

    configs: Mapping[str, Any]
    contamination: Contamination
    bound: Collection[str] = ()


def accept_any(config: Any, configs: Mapping[str, Any]) -> None:
    return None


def no_models(config: Any) -> Iterable[str]:
    return ()


@dataclass(frozen=True)
class Method:
    """A method: everything that the rest of the system knows about it.

    Args:
        name: used everywhere: the key of its settings in a preset's `line`, its folder, its prompts, its steps.
        config: its settings.
        stages: (library, settings, context) → its stages.
        models: aliases of the models that its stages call; one that a preset does not bind is the generator.
        named_models: settings → further aliases, which the settings name; a preset must bind these.
        scorers: settings → those of them that only score (`engine: reward`); a preset may list these under `follow` and
            leave them unbound, and the stages do without them until a model has been promoted.
        always: whether it is run if a preset does not name it.
        check: (settings, settings by method of all that are run) → None. Raises ValueError if they do not fit.
        source: whether it is a source of instructions; else each instruction runs through its stages.
        requests: of a source, (library, settings, round, instructions accepted by then) → the rows that its first stage
            is asked for in that round, none when it has no more; its settings are a `SourceConfig`, and the records,
            with text, topic and origin, go through the gate of all instructions.
        resolve_settings: (settings, name of a view → its newest rows) → the settings of one refresh, where these depend
            on what the lake has by then; None where they do not.
        paper: its source, for people.
        prompts: the folder of its own prompts: X.yaml in it is the prompt NAME/X.
        tables: of its records.
        views: the folder of its views: NAME.sql each, whose leading comment says what a row is.
        shapes: in which rows of its views are exported.
        published: whether a publication of a line with it includes these; those of your own methods always are.
        recipes: which train on them, by name.
    """

    name: str
    config: type[BaseModel]
    stages: Callable[[Library, Any, Context], Sequence[Stage]]
    models: tuple[str, ...] = (GENERATOR,)
    named_models: Callable[[Any], Iterable[str]] = no_models
    scorers: Callable[[Any], Iterable[str]] = no_models
    always: bool = False
    check: Callable[[Any, Mapping[str, Any]], None] = accept_any
    source: bool = False
    requests: Callable[[Library, Any, int, Sequence[Row]], list[Row]] | None = None
    resolve_settings: Callable[[Any, Callable[[str], list[Row]]], Any] | None = None
    paper: str = ""
    prompts: Path | None = None
    tables: Sequence[Table] = ()
    views: Path | None = None
    shapes: Sequence[Shape] = ()
    published: bool = False
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

"""Templates of prompts: data, with a small subset of Jinja.

Variables, their attributes, `if`, `for` over a variable and cheap filters; no calls, no macros, no other files. So a
template can neither reach Python nor take longer than its values are long. Jinja's sandbox is a second defence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.meta
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alignery.errors import UsageError
from alignery.untrusted import excerpt

MOST_CHARACTERS = 16 << 20  # of one rendered turn
_FILTERS = (
    *("capitalize", "default", "first", "int", "join", "last", "length", "list", "lower", "replace", "reverse"),
    *("round", "string", "title", "trim", "upper"),
)
_TESTS = ("defined", "undefined", "none", "string", "number", "even", "odd", "eq", "ne", "in")
_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const),
    *(nodes.If, nodes.CondExpr, nodes.For, nodes.Filter, nodes.Test, nodes.Getattr, nodes.Getitem, nodes.Slice),
    *(nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand, nodes.Add, nodes.Sub, nodes.Neg, nodes.Concat),
    *(nodes.List, nodes.Tuple, nodes.Keyword),
)
_GROWING = {"join", "replace", "string"}  # each may make a text many times as long; a chain of them, of any length
_LOOPS = 1  # within each other: two over one long text would take its square
_RENDERING = (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)

_JINJA = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
_JINJA.globals.clear()
_JINJA.filters = {name: _JINJA.filters[name] for name in _FILTERS}
_JINJA.tests = {name: _JINJA.tests[name] for name in _TESTS}


class PromptError(UsageError):
    """A prompt file or its use is wrong; the message says what was got, what was expected, and the fix."""


def variables_of(text: str) -> set[str]:
    """The variables of a template; it is compiled too, so that errors are found before it is used.

    Raises:
        PromptError: it is not a template, or contains what a prompt may not; without the file's name.
    """
    try:
        parsed = _JINJA.parse(text)
        _refuse(parsed)
        used = jinja2.meta.find_undeclared_variables(parsed)
        _template(text)
        if not used:  # it is rendered once, and may be now
            rendered(text, {})
    except jinja2.TemplateSyntaxError as error:
        raise PromptError(f"line {error.lineno} of a template: {excerpt(error.message)}; fix the template") from error
    except (RecursionError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, PromptError):
            raise
        # The parser, or Python's compiler, at something that is nested too deep, or at a number of 5,000 digits.
        raise PromptError(
            f"a template: got one that cannot be compiled ({excerpt(error, 80)}); make it simpler"
        ) from error
    return used


def rendered(text: str, values: Mapping[str, Any]) -> str:
    """The template with its values. Raises PromptError, without the file's name."""
    try:
        if (fixed := _fixed(text)) is not None:
            return fixed
        template = _template(text)
        return _bounded(template.generate(values)) if "{%" in text else template.render(values)
    except _RENDERING as error:
        raise PromptError(f"a template cannot be filled: {excerpt(error)}; fix the template") from error


def _bounded(pieces: Iterator[str]) -> str:
    """A loop over a long value may repeat it in each turn."""
    parts, left = [], MOST_CHARACTERS
    for piece in pieces:
        parts.append(piece)
        if (left := left - len(piece)) < 0:
            raise ValueError(f"it makes more than {MOST_CHARACTERS:,} characters")
    return "".join(parts)


@lru_cache(maxsize=256)
def _template(text: str) -> jinja2.Template:
    template = _JINJA.from_string(text)
    template.globals = dict(template.globals)  # a chain of maps, which each rendering would walk
    return template


@lru_cache(maxsize=256)
def _fixed(text: str) -> str | None:
    """A turn without variables (a worked example), rendered once for all requests; None for any other."""
    return None if jinja2.meta.find_undeclared_variables(_JINJA.parse(text)) else _template(text).render()


def _refuse(parsed: nodes.Template) -> None:
    """What would access more than the values, or cost more than their length."""
    for node, loops in _walk(parsed, 0):
        problem = None
        if not isinstance(node, _ALLOWED):
            problem = f"got {type(node).__name__}, expected variables, if, for, and filters without calls"
        elif isinstance(node, nodes.For) and (loops > _LOOPS or not _is_variable(node.iter) or node.recursive):
            problem = "got a loop over something else than a variable, or a loop within a loop"
        elif isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            problem = f"got the attribute {excerpt(node.attr, 40)}, expected one without '_'"
        elif isinstance(node, nodes.Filter) and not _is_plain(node):
            problem = f"got the filter {excerpt(node.name, 40)} with a variable, expected fixed arguments"
        elif isinstance(node, nodes.Filter) and node.name in _GROWING and _grows(node.node):
            problem = f"got the filter {node.name} on what another one made, expected at most one of {sorted(_GROWING)}"
        if problem:
            raise PromptError(f"line {node.lineno} of a template: {problem}; write it with these")


def _walk(node: nodes.Node, loops: int) -> Iterator[tuple[nodes.Node, int]]:
    """Each node, and the number of loops around it, its own included."""
    loops += isinstance(node, nodes.For)
    yield node, loops
    for child in node.iter_child_nodes():
        yield from _walk(child, loops)


def _is_variable(node: nodes.Node) -> bool:
    while isinstance(node, nodes.Getattr | nodes.Getitem | nodes.Filter):
        if node.node is None:
            return False
        node = node.node
    return isinstance(node, nodes.Name | nodes.List | nodes.Tuple)


def _grows(node: nodes.Node | None) -> bool:
    """Whether a filter in it may make a text many times as long."""
    return node is not None and any(isinstance(one, nodes.Filter) and one.name in _GROWING for one, _ in _walk(node, 0))


def _is_plain(node: nodes.Filter) -> bool:
    """A filter's arguments are constants: else `join` would multiply one value by another."""
    given: Collection[nodes.Node] = [*node.args, *(keyword.value for keyword in node.kwargs)]
    return all(isinstance(one, nodes.Const) for one in given) and not (node.dyn_args or node.dyn_kwargs)

"""A template fills in its values, and can neither reach further than these nor cost more than they are long."""

from __future__ import annotations

from typing import Any

import pytest

from prompts import PromptError, templates
from prompts.templates import rendered, variables_of


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ x }}\n", "<b> & 'c'\n"),  # no HTML, and the last line break stays
        ("{% for c in y %}{{ loop.index }}{{ c }}{% else %}none{% endfor %}", "1a2b"),
        ("{% for c in y %}{% if c == 'a' %}{{ c }}{% endif %}{% endfor %}{% for c in y %}{{ c }}{% endfor %}", "aab"),
        ("{% if x is defined and y | length > 1 %}{{ y[-1] ~ z.name[:2] }}{% endif %}", "bna"),
        ("{{ x | replace('b', 'i') | upper }}", "<I> & 'C'"),
        ("{{ y | join(', ') }}; {{ y | join(d='/') }}", "a, b; a/b"),
        ("{{ y | length + 1 - 2 }}{{ 'three' if z.none is none else x }}", "1three"),
        ("fixed {{ 'words' | title }} {# unsaid #}{{ 1 + 1 }}", "fixed Words 2"),
        ("{{ x | default('none') }}{{ [x, y] | length }}", "<b> & 'c'2"),
    ],
)
def test_what_a_template_may_say(text: str, made: str) -> None:
    values = {"x": "<b> & 'c'", "y": ["a", "b"], "z": {"name": "nano", "none": None}}
    assert variables_of(text) <= values.keys()
    assert rendered(text, values) == made


def test_its_variables_are_those_that_it_asks_for() -> None:
    assert variables_of("{% for c in y %}{{ c }}{{ loop.index }}{{ x.a }}{% endfor %}{{ 'z' }}") == {"x", "y"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\n{{ x() }}", "line 2 of a template: got Call"),
        ("{{ range(9) }}", "got Call"),
        ("{% set a = x %}", "got Assign"),
        ("{% macro m() %}{% endmacro %}", "got Macro"),
        ("{% include 'other' %}", "got Include"),
        ("{% extends 'other' %}", "got Extends"),
        ("{% import 'other' as o %}", "got Import"),
        ("{% block b %}{% endblock %}", "got Block"),
        ("{{ x * 9 }}", "got Mul"),
        ("{{ 9 ** 9 }}", "got Pow"),
        ("{{ x % 9 }}", "got Mod"),
        ("{{ {'a': x} }}", "got Dict"),
        ("{{ x.__class__ }}", "got the attribute __class__"),
        ("{{ (x | first)._a }}", "got the attribute _a"),
        ("{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}", "a loop within a loop"),
        ("{% for a in x %}{% if a %}{% for b in a %}{% endfor %}{% endif %}{% endfor %}", "a loop within a loop"),
        ("{% for a in x recursive %}{{ a }}{% endfor %}", "a loop over something else"),
        ("{% for a in x ~ x %}{% endfor %}", "a loop over something else"),
        ("{% for a in 'text' | list %}{% endfor %}", "a loop over something else"),
        ("{{ y | join(x) }}", "the filter join with a variable"),
        ("{{ y | join(d=x) }}", "the filter join with a variable"),
        ("{{ y | join(*x) }}", "the filter join with a variable"),
        ("{{ y | join(**x) }}", "the filter join with a variable"),
        ("{{ x" + " | replace('a', 'aaaaaaaaaa')" * 9 + " }}", "the filter replace on what another one made"),
        ("{{ 'a'" + " | replace('a', 'aaaaaaaaaa')" * 99 + " }}", "the filter replace on what another one made"),
        ("{{ (y | join('aa') | upper ~ 'b') | join('aa') }}", "the filter join on what another one made"),
        ("{{ x | list | string | list | string }}", "the filter string on what another one made"),
        ("{{ x | map('upper') }}", "No filter named 'map'"),
        ("{{ x | format }}", "No filter named 'format'"),
        ("{{ x | center(99) }}", "No filter named 'center'"),
        ("{{ x is callable }}", "No test named 'callable'"),
        ("{{ x", "unexpected end of template"),
        ("{% if x %}", "Unexpected end of template"),
        ("{{ " + "(" * 5000 + "x" + ")" * 5000 + " }}", "cannot be compiled"),
        ("{{ " + "-" * 5000 + "x }}", "cannot be compiled"),
        ("{{ x + " + "9" * 5000 + " }}", "cannot be compiled"),
        # Without variables it is the same for all requests, and its faults show before the first.
        ("{{ 'a' + 1 }}", "cannot be filled: can only concatenate"),
        ("{{ [1][3] }}", "cannot be filled: list object has no element 3"),
    ],
)
def test_what_it_may_not_is_refused_before_it_is_filled(text: str, problem: str) -> None:
    with pytest.raises(PromptError) as refused:
        variables_of(text)
    assert problem in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ x['__class__'] }}", "'__class__'"),
        ("{{ x.gone }}", "gone"),
        ("{{ x + 1 }}", "can only concatenate"),
        ("{{ x | round }}", "__round__"),
        ("{% for a in n %}{% endfor %}", "not iterable"),
        ("{{ x.format }}{{ x['format'].a }}", "has no attribute 'a'"),
    ],
)
def test_values_that_do_not_fit_are_one_sentence(text: str, problem: str) -> None:
    variables_of(text)
    with pytest.raises(PromptError, match="a template cannot be filled: ") as refused:
        rendered(text, {"x": "words", "n": 7})
    assert problem in str(refused.value)


def test_a_loop_makes_no_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "{% for a in x %}{{ x }}{% endfor %}"
    monkeypatch.setattr(templates, "MOST_CHARACTERS", 100)
    assert rendered(text, {"x": "t" * 10}) == "t" * 100
    with pytest.raises(PromptError, match="makes more than 100 characters"):
        rendered(text, {"x": "t" * 11})


def test_what_is_said_of_a_template_holds_no_command_to_a_terminal() -> None:
    for text in ("{{ x | \x1b[2J }}", "{{ x._\u202ea }}", "{{ '\x1b[2J' + 1 }}"):
        with pytest.raises(PromptError) as refused:
            variables_of(text)
        assert str(refused.value).isprintable()


def test_a_template_keeps_nothing_of_an_earlier_filling() -> None:
    values: dict[str, Any] = {"x": ["a"]}
    assert rendered("{{ x | join }}", values) == "a"
    values["x"].append("b")
    assert rendered("{{ x | join }}", values) == "ab"
    assert rendered("{{ x | reverse | join }}", values) == "ba"
    assert values == {"x": ["a", "b"]}

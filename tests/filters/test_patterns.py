"""A pattern that is compiled when it is first used is the pattern that `re` would have compiled."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

from tasks import patterns
from tasks.patterns import LazyPattern, lazy_pattern

SOURCE, TEXT = r"^(?P<word>[a-z]+)(?:\s|$)", "Rain falls\nand ends"


@pytest.mark.parametrize("flags", [0, re.IGNORECASE, re.IGNORECASE | re.MULTILINE])
def test_it_finds_what_the_compiled_pattern_finds(flags):
    lazy, compiled = lazy_pattern(SOURCE, flags), re.compile(SOURCE, flags)
    for _ in range(2):
        assert [found.span("word") for found in lazy.finditer(TEXT)] == [
            found.span("word") for found in compiled.finditer(TEXT)
        ]
        assert (lazy.sub("x", TEXT), lazy.split(TEXT)) == (compiled.sub("x", TEXT), compiled.split(TEXT))
    assert (lazy.pattern, lazy.flags, lazy.groupindex) == (SOURCE, compiled.flags, compiled.groupindex)


def test_it_is_compiled_once_and_not_before_its_use(monkeypatch):
    calls = []
    monkeypatch.setattr(patterns.re, "compile", lambda *given: calls.append(given) or re._compiler.compile(*given))
    lazy = lazy_pattern("rain", re.IGNORECASE)
    assert not calls
    assert [bool(lazy.search(text)) for text in ("Rain", "sun")] == [True, False]
    assert lazy.match("RAIN")
    assert calls == [("rain", re.IGNORECASE)]


def test_a_mistake_is_raised_where_it_is_used():
    lazy = lazy_pattern("(")
    with pytest.raises(re.error, match="missing \\)"):
        lazy.search("rain")


def test_every_one_of_a_reader_is_a_pattern():
    packages = [importlib.import_module(f"tasks.{name}") for name in ("evaluate", "filters", "methods")]
    modules = ["tasks.normalise"]
    modules += [m.name for each in packages for m in pkgutil.walk_packages(each.__path__, f"{each.__name__}.")]
    values = [value for name in modules for value in vars(importlib.import_module(name)).values()]
    values += [value for each in values if isinstance(each, dict) for value in each.values()]
    lazy = [value for value in values if isinstance(value, LazyPattern)]
    assert len(lazy) > 50
    assert all(isinstance(value.compiled, re.Pattern) for value in lazy)

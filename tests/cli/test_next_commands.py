"""Every command that a sentence of ours names is one that there is, with options that it takes.

That it gets the home and the preset of the command that names it is in `test_render`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from alignery.cli import main  # noqa: F401  # registers the verbs
from alignery.cli.options import app

ROOT = Path(__file__).parents[2]
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
PACKAGES = ("alignery", "flows", "tasks", "warehouse", "prompts", "nano")
# A command in a sentence: its words up to what ends it there; of the words those that are verbs and options.
NAMED = re.compile(r"(?<![\w./-])alignery ((?:[a-z]+)(?: (?:--?[a-z-]+|[a-z]+|[A-Z]+|'[^']*'))*)")
PROSE = {"alone", "here", "knows"}  # "the alignery here", "no alignery knows"


def sentences(package: str) -> Iterator[tuple[str, str]]:
    """(file, text) of every string in a package's code, docstrings left out."""
    for path in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                yield str(path.relative_to(ROOT)), node.value


def commands() -> Iterator[tuple[str, list[str]]]:
    for package in PACKAGES:
        for file, text in sentences(package):
            for found in NAMED.finditer(text):
                words = found[1].split()
                if words[0] not in PROSE:
                    yield file, words


def fault(words: list[str]) -> str | None:
    """What is wrong with a command's verb or options."""
    verb, *rest = words
    if verb not in VERBS:
        return f"no verb {verb}"
    command = VERBS[verb]
    below = getattr(command, "commands", {})
    if below and rest and rest[0] in below:
        command = below[rest[0]]
    taken = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    wrong = [word for word in rest if word.startswith("-") and word not in taken | {"--help"}]
    return f"{verb} takes no {wrong[0]}" if wrong else None


def test_each_is_there_and_takes_its_options() -> None:
    found = list(commands())
    assert len({words[0] for _, words in found}) >= 15, "the sentences name most verbs"
    assert [f"{file}: {' '.join(words)}: {wrong}" for file, words in found if (wrong := fault(words))] == []


@pytest.mark.parametrize(
    ("words", "wrong"), [(["refesh"], "no verb refesh"), (["plan", "--comparee"], "plan takes no --comparee")]
)
def test_a_wrong_one_is_seen(words: list[str], wrong: str) -> None:
    assert fault(words) == wrong

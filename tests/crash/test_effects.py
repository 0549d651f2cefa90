"""No durable effect without a name: wherever files are written, renamed or deleted, a fault can strike."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from alignery import effects

ROOT = Path(__file__).parent.parent.parent
SOURCES = [
    path
    for folder in ("warehouse", "flows", "alignery", "tasks/train")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
_OS = ("replace", "rename", "unlink", "remove", "rmdir", "fsync", "ftruncate", "truncate", "write")
CALLS = {f"os.{name}" for name in _OS} | {
    f"shutil.{name}" for name in ("rmtree", "move", "copytree", "copy", "copyfile")
}
METHODS = {"unlink", "rename", "rmdir", "touch", "write_text", "write_bytes", "save_pretrained"}
# What holds nothing of the lake's: Prefect's own folder, and a copy in the system's temporary folder.
ELSEWHERE = {
    "flows/prefect_server.py",
    "flows/shared_server.py",
    "flows/prefect_server_process.py",
    "alignery/cli/serve.py",
    "alignery/config/project.py",  # a folder that the user asked for
    "alignery/monitor/prometheus.py",  # counts, in a temporary folder of `serve`'s
    "alignery/fetching.py",  # a model beside all lakes, which is there whole or not
    "warehouse/database/catalog_copy.py",
}


def unnamed(source: str) -> list[int]:
    """The lines of durable calls that are in no effect's block."""
    found: list[int] = []

    def visit(node: ast.AST, named: bool) -> None:
        if isinstance(node, ast.With):
            named = named or any(ast.unparse(item.context_expr).startswith("effects.") for item in node.items)
        if isinstance(node, ast.Call) and not named and _is_durable(node):
            found.append(node.lineno)
        for child in ast.iter_child_nodes(node):
            visit(child, named)

    visit(ast.parse(source), False)
    return found


def _is_durable(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    if name in CALLS or (isinstance(call.func, ast.Attribute) and call.func.attr in METHODS):
        return True
    statements = [one.value for one in call.args if isinstance(one, ast.Constant)]
    return name.endswith(".execute") and "COMMIT" in statements


@pytest.mark.parametrize(
    "line",
    ["os.replace(a, b)", "path.unlink()", "shutil.rmtree(x)", "cursor.execute('COMMIT')", "a.rename(x)", "os.fsync(f)"],
)  # fmt: skip
def test_an_unnamed_effect_is_found_and_a_named_one_is_not(line: str) -> None:
    assert unnamed(f"def f():\n    {line}") == [2]
    assert unnamed(f"def f():\n    with effects.COMMIT:\n        {line}") == []


def test_every_durable_effect_has_a_name() -> None:
    wrong = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if str(path.relative_to(ROOT)) not in ELSEWHERE and (lines := unnamed(path.read_text(encoding="utf-8")))
    }
    assert not wrong, "put each of these lines into a block of alignery.effects, and into the scenario of tests/crash"


def test_each_name_stands_for_one_effect_that_is_used() -> None:
    assert len(set(effects.NAMES)) == len(effects.NAMES)
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    declared = [name for name, value in vars(effects).items() if isinstance(value, effects.Effect)]
    assert [name for name in declared if f"effects.{name}" not in text] == []


def test_an_observer_is_called_before_and_after_and_not_after_a_failure() -> None:
    messages: list[tuple[str, str]] = []

    def fail() -> None:
        with effects.BEGIN:
            raise OSError

    with effects.observed(lambda *one: messages.append(one)):
        with effects.COMMIT:
            messages.append(("in", "it"))
        with pytest.raises(OSError):  # noqa: PT011
            fail()
    with effects.COMMIT:
        pass
    assert messages == [("commit", "before"), ("in", "it"), ("commit", "after"), ("begin", "before")]

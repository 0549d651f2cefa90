"""The house rules that a machine can check: who imports whom, how long files are, and what the README says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("alignery", "flows", "tasks", "prompts", "warehouse", "nano")
FORBIDDEN = {
    "alignery": {"flows", "tasks", "prompts", "warehouse", "nano", "prefect", "duckdb", "torch", "transformers"},
    "tasks": {"prefect", "duckdb", "flows", "warehouse", "nano"},
    "warehouse": {"torch", "transformers", "vllm", "trl", "peft", "accelerate", "prefect", "tasks", "flows", "nano"},
    "prompts": {"flows", "tasks", "warehouse", "nano", "prefect", "duckdb", "torch", "transformers"},
}
HEAVY = {"torch", "transformers", "vllm", "trl", "peft", "prefect", "datasets", "ray"}


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no sources in {package}"
    return found


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_arrows_run_one_way(package: str) -> None:
    wrong = {str(path): bad for path in sources(package) if (bad := imported(path) & FORBIDDEN[package])}
    assert not wrong


@pytest.mark.parametrize(
    "module",
    ["tasks.step", "tasks.engines", "tasks.generate.constitutional", "tasks.train", "tasks.evaluate.held_out",
     "warehouse", "flows.cli", "flows.line", "prompts", "nano.oracle"],
)  # fmt: skip
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = set(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
                 .stdout.split())  # fmt: skip
    assert module.split(".", maxsplit=1)[0] in loaded
    assert not loaded & HEAVY


def test_files_are_short() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for package in (*PACKAGES, "tests", "bench")
               for path in (ROOT / package).rglob("*.py")}  # fmt: skip
    assert not {path: length for path, length in lengths.items() if length > 350}


def test_functions_are_short() -> None:
    long = []
    for path in (path for package in PACKAGES for path in sources(package)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 60:
                    long.append(f"{path}:{node.lineno} {node.name} ({length})")
    assert not long


def test_every_file_that_the_docs_name_is_there() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    named = re.findall(r"`([\w]+/[\w/]+\.py)", text)
    assert len(named) > 15
    assert not [path for path in named if not (ROOT / path).is_file()]


def test_readme_tree_is_the_disk() -> None:
    """Every path that the README's tree names is there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text.split("<!-- tree -->")[1].split("```")[1]
    named = [line.split()[0] for line in tree.splitlines() if line.strip() and not line.startswith("text")]
    assert len(named) > 15
    assert not [name for name in named if not (ROOT / name).exists()]

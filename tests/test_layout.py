"""The house rules that a machine can check: who imports whom, how long files are, and what the README says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("alignery", "flows", "tasks", "prompts", "warehouse", "nano")
# What each package may import of ours; `alignery` alone means the modules directly in that folder.
ARROWS = {
    "alignery": set(),
    "prompts": {"alignery"},
    "tasks": {"prompts"},
    "warehouse": {"alignery"},
    "alignery.config": {"tasks", "warehouse"},
    "alignery.pipeline": {"alignery.config", "nano"},  # of nano its oracle, an evaluator like any other
    "alignery.view": {"alignery.pipeline"},
    "alignery.lake_reader": {"alignery.view"},
    "alignery.api": {"alignery.lake_reader"},
    "alignery.hub": {"alignery.pipeline"},
    "flows": {"alignery.pipeline"},
    "alignery.cli": {"flows", "alignery.api", "alignery.view", "alignery.hub"},
    "nano": {"prompts"},
}
# Who knows Prefect, DuckDB, and the terminal.
OUTSIDE = {
    "prefect": {"flows", "alignery.cli"},
    "duckdb": {"warehouse"},
    "rich": {"alignery.cli", "alignery.pipeline", "flows"},
    "typer": {"alignery.cli"},
}
HEAVY = {"torch", "transformers", "vllm", "trl", "peft", "prefect", "datasets", "ray"}


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no sources in {package}"
    return found


def package_of(module: str) -> str:
    """The package whose arrows a module obeys."""
    first, *rest = module.split(".")
    return f"{first}.{rest[0]}" if rest and f"{first}.{rest[0]}" in ARROWS else first


def imported(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it; a name that is imported from a package may be a module of it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def reachable(package: str) -> set[str]:
    return {package}.union(*(reachable(below) for below in ARROWS[package]))


@pytest.mark.parametrize("package", ARROWS)
def test_arrows_run_one_way(package: str) -> None:
    wrong = []
    for path in sources(package.split(".", maxsplit=1)[0]):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if package_of(module) != package or module == "alignery.__init__":  # the public API hands on what lies below
            continue
        for name in imported(path):
            ours = name.split(".")[0] in PACKAGES and package_of(name) not in reachable(package)
            if ours or package not in OUTSIDE.get(name.split(".")[0], {package}):
                wrong.append(f"{module} imports {name}")
    assert not wrong


def test_no_circles() -> None:
    """No two modules import each other, by whatever way, wherever in them."""
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
               for package in PACKAGES for p in sources(package)}  # fmt: skip
    edges = {}
    for module, path in modules.items():
        names = {name if name in modules else name.rpartition(".")[0] for name in imported(path)}
        edges[module] = names & modules.keys() - {module}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module not in done:
            for below in edges[module]:
                visit(below, (*above, module))
            done.add(module)

    for module in modules:
        visit(module, ())


def test_no_folder_is_crowded() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = Counter(str(Path(name).parent) for name in listed)
    del folders["docs/methods"], folders["presets"]  # a page a method, a preset a family of methods
    assert not {folder: count for folder, count in folders.items() if count > 15}


@pytest.mark.parametrize(
    "module",
    ["tasks.step", "tasks.engines", "tasks.methods.constitutional.method", "tasks.train", "tasks.evaluate.held_out",
     "warehouse", "alignery.cli.main", "alignery.pipeline.refresh", "prompts", "nano.oracle"],
)  # fmt: skip
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = set(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
                 .stdout.split())  # fmt: skip
    assert module.split(".", maxsplit=1)[0] in loaded
    assert not loaded & HEAVY
    if module == "alignery.cli.main":  # of it, a completion and `--help` wait for every import
        assert not loaded & {"numpy", "pyarrow", "duckdb", "pydantic", "jinja2", "yaml", "prompts"}


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


def test_the_tree_of_the_docs_is_the_disk() -> None:
    """Every path that the tree of docs/architecture.md names is there."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    tree = text.split("<!-- tree -->")[1].split("```")[1]
    named = [line.split()[0] for line in tree.splitlines() if line.strip() and not line.startswith("text")]
    assert len(named) > 15
    assert not [name for name in named if not (ROOT / name).exists()]

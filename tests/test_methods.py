"""The tables of docs/methods: each test that they name is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


PAGES = sorted(set((ROOT / "docs" / "methods").glob("*.md")) - {ROOT / "docs/methods/index.md"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"[`:](test_\w+)`", page.read_text(encoding="utf-8"))
    assert len(named) > 5
    assert not [name for name in named if f"def {name}(" not in TESTS]


def test_the_table_of_all_methods_is_that_of_the_methods_that_are_built_in() -> None:
    from alignery.cli.methods import _described, markdown
    from tasks.methods.registry import built_in

    table = markdown([_described(one, full=True) for one in built_in().installed.values()])
    page = (ROOT / "docs/methods/index.md").read_text(encoding="utf-8")
    assert f"\n{table}\n" in page, "alignery methods --markdown prints it"


def test_the_readme_names_each_method_that_is_built_in_once() -> None:
    from tasks.methods.registry import built_in

    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Methods\n")[1].split("\n\n[")[0]
    assert sorted(re.findall(r"`(\w+)`", section)) == sorted(built_in().installed)


def test_a_method_is_shown_as_yaml_with_the_same_values_as_its_json() -> None:
    from alignery.cli.main import app
    from tasks.methods.registry import built_in

    for name in built_in().installed:
        shown, as_json = (CliRunner().invoke(app, ["methods", name, *more]).stdout for more in ([], ["--json"]))
        assert yaml.safe_load(shown) == json.loads(as_json)[0]
    sampling = yaml.safe_load(CliRunner().invoke(app, ["methods", "aligner"]).stdout)["settings"]["sampling"]
    assert (sampling["temperature"], sampling["top_k"]) == (0.3, 10)

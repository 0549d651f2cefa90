"""README and docs: their links lead somewhere, and their commands and options are ones that there are."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from alignery.cli import (
    hints,
    main,  # noqa: F401  # registers the verbs
)
from alignery.cli.options import app
from alignery.config.preset import SHIPPED, load

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "presets/init/README.md"])
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each command of ours in a page's shell blocks."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;", line):
                words = shlex.split(part, comments=True)
                if "alignery" in words and words[0] != "pip":
                    yield words[words.index("alignery") + 1 :]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(file), f"{target}: no such heading"


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """The commands below one, each with its options."""
    if below := getattr(command, "commands", None):
        for key, each in below.items():
            yield from leaves(each, f"{path} {key}".strip())
    else:
        yield path, {option for each in command.params for option in each.opts}


def section(page: str, begin: str, end: str) -> str:
    """The words of a page from one phrase to another."""
    return (ROOT / page).read_text(encoding="utf-8").split(begin)[1].split(end)[0]


@pytest.fixture(autouse=True)
def options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "_options", {})


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_is_one_that_there_is(page: Path) -> None:
    for arguments in commands(page):
        verb, *rest = arguments
        if verb in ("--version", "--help", "--install-completion"):
            continue
        assert verb in VERBS, arguments
        VERBS[verb].make_context(verb, list(rest))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name)
def test_every_verb_in_a_sentence_is_one_that_there_is(page: Path) -> None:
    named = re.findall(r"`alignery ([a-z][\w-]*)[^`]*`", page.read_text(encoding="utf-8"))
    assert not set(named) - set(VERBS)


def test_the_pages_say_which_commands_lack_an_option_and_which_have_it() -> None:
    found = list(leaves(typer.main.get_command(app)))
    stated = {
        "--json": section("docs/guides/look.md", "Every command takes `--json`, except", "."),
        "--preset": section("docs/guides/hosts.md", "Every command but", " takes `--preset`"),
    }
    for option, words in stated.items():
        assert set(re.findall(r"`([^`]+)`", words)) == {verb for verb, has in found if option not in has}
    having = section("docs/guides/look.md", "`--at` (of", ")")
    assert set(re.findall(r"`([^`]+)`", having)) == {verb for verb, has in found if "--at" in has}


def test_the_help_has_the_exit_codes_of_the_page() -> None:
    table = section("docs/guides/operate.md", "## Exit codes", "\n## ")
    codes = re.findall(r"(?m)^\| (\d+) \|", table)
    assert len(codes) == 5
    assert codes == re.findall(r"(?:: |· )(\d+) ", str(app.info.epilog))


def test_the_tables_that_the_guide_lists_are_there() -> None:
    schema = load("nano").lake_schema
    rows = section("docs/guides/look.md", "| table or view | holds |\n|---|---|\n", "\n\n").splitlines()
    named = {each for row in rows for each in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert len(named) > 30
    assert not named - set(schema.tables) - set(schema.views)


def test_the_table_of_nano_presets_has_every_one() -> None:
    table = (ROOT / "docs/concepts.md").read_text(encoding="utf-8").partition("<!-- nano presets -->")[2]
    assert sorted(re.findall(r"(?m)^\|[^|]*\| `([\w-]+)` \|", table)) == sorted(
        path.stem for path in SHIPPED.glob("nano*.yaml")
    )


def test_the_site_builds_strictly_and_has_every_page(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    named = set(re.findall(r"([\w/-]+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]))
    assert named == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    html = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="https?://(?!localhost)[^"]*\.(?:js|css|woff2?)"', html), "nothing is fetched"


def test_the_pages_have_commands_and_a_wrong_one_is_seen(tmp_path: Path) -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 20
    page = tmp_path / "page.md"
    page.write_text("```sh\nA=b alignery refresh --presett nano   # comment\n```\n")
    (arguments,) = commands(page)
    assert arguments == ["refresh", "--presett", "nano"]
    with pytest.raises(Exception, match="No such option"):
        VERBS["refresh"].make_context("refresh", arguments[1:])

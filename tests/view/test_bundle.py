"""The pages as files: a folder whose links lead to its own files, and a report that needs no other file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import alignery, sentence

from alignery.errors import UsageError
from alignery.view.bundle import bundle, report
from alignery.view.lakes import Lakes

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def folder(lakes: Lakes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bundle") / "pages"
    assert bundle(lakes, made, "v1", most=14) == 14
    return made


def test_every_link_leads_to_a_file_of_the_folder(folder: Path) -> None:
    pages = list(folder.glob("*.html"))
    assert len(pages) == 14
    for page in pages:
        text = page.read_text()
        assert "<script" not in text
        assert 'name="q"' not in text, "nothing can be asked"
        for link in re.findall(r'href="([^"#]+)"', text):
            assert (folder / link).is_file(), f"{page.name}: {link}"
    assert "Results by step" in (folder / "index.html").read_text()
    assert any("Trace of an instruction" in page.read_text() for page in pages)


def test_a_folder_with_something_in_it_is_left_alone(folder: Path, lakes: Lakes) -> None:
    with pytest.raises(UsageError, match="holds something"):
        bundle(lakes, folder)


def test_a_report_is_one_file(lakes: Lakes, tmp_path: Path) -> None:
    text = report(lakes, tmp_path / "report.html", "run-1").read_text()
    assert "<style>" in text
    assert "too long: … tokens" in text
    assert not re.findall(r'(?:href|src)="(?!#)', text), "it loads nothing and leads nowhere"
    assert "<img" not in text, "the poison among its samples is text"
    with pytest.raises(UsageError, match="there already"):
        report(lakes, tmp_path / "report.html")


def test_the_command_writes_both(lake_home: Path, tmp_path: Path) -> None:
    done = alignery("view", "--report", str(tmp_path / "r.html"), home=lake_home)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.html").is_file()
    assert "holds something" in sentence(alignery("view", "--bundle", str(tmp_path), home=lake_home))
    assert "there is no lake" in sentence(alignery("view", home=tmp_path / "none"))
    assert "no preset" in sentence(alignery("view", "no-such-preset", home=lake_home))

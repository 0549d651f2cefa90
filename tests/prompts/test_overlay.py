"""A file of an overlay that nothing reads is named, with the nearest name that is read; what tools leave is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prompts import Library, PromptError
from prompts.overlay import check

KNOWN = ("respond/answer.yaml", "squad/helpful.yaml", "self_instruct/seeds.jsonl")
VARIANTS = ("full", "nano")


@pytest.fixture
def overlay(tmp_path: Path):
    """Makes an overlay of files with these names."""

    def made(*names: str) -> Path:
        for name in names:
            path = tmp_path / "words" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        return tmp_path / "words"

    return made


def read(folder: Path, variant: str = "full") -> list[str]:
    return [path.relative_to(folder).as_posix() for path in check(folder, variant, VARIANTS, KNOWN)]


def test_the_files_that_are_read_are_those_of_the_variant(overlay):
    both = overlay("respond/answer.yaml", "respond/answer.nano.yaml", "self_instruct/seeds.jsonl")
    assert read(both) == ["respond/answer.yaml", "self_instruct/seeds.jsonl"]
    (both / "self_instruct/seeds.jsonl").unlink()
    assert read(both, "nano") == ["respond/answer.nano.yaml"]


@pytest.mark.parametrize(
    ("name", "variant", "fix"),
    [
        ("respond/answer.nano.yaml", "full", "respond/answer.yaml"),
        ("respond/answer.yaml", "nano", "respond/answer.nano.yaml"),
        ("self_instruct/seeds.jsonl", "nano", "self_instruct/seeds.nano.jsonl"),
        ("answer.yaml", "full", "respond/answer.yaml"),
        ("self_instruct/answer.yaml", "full", "respond/answer.yaml"),
        ("squads/helpful.yaml", "full", "squad/helpful.yaml"),
        ("respond/answr.yaml", "full", "respond/answer.yaml"),
        ("answr.yml", "full", "respond/answer.yaml"),
        ("respond/answer/deep.yaml", "full", "respond/answer.yaml"),
        ("zzz", "full", r"one of \['respond/answer.yaml', "),
    ],
)
def test_a_file_that_nothing_reads_is_named_with_the_nearest_that_is(overlay, name, variant, fix):
    folder = overlay(name)
    with pytest.raises(PromptError, match=f"which nothing reads under the variant '{variant}'; rename it to {fix}"):
        read(folder, variant)


def test_a_folder_within_a_folder_is_named_and_not_searched(overlay):
    folder = overlay("respond/old/answer.yaml")
    with pytest.raises(PromptError, match=r"got .*/respond/old, which nothing reads"):
        read(folder)


def test_what_people_and_their_tools_leave_is_passed_over(overlay):
    left = (".git/config", ".answer.yaml.swp", "respond/answer.yaml~", "respond/#answer.yaml#", "README", "notes.md")
    more = ("respond/answer.yaml.bak", "respond/answer.yaml.orig", "__pycache__/x.pyc", "LICENSE.txt", "a.rej", "b.tmp")
    assert read(overlay(*left, *more, "respond/answer.yaml")) == ["respond/answer.yaml"]


def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_refused_and_not_waited_for(overlay):
    folder = overlay("squad/helpful.yaml")
    (folder / "respond").mkdir()
    os.mkfifo(folder / "respond/answer.yaml")
    with pytest.raises(PromptError, match=r"answer\.yaml: got no regular file, expected a text file; replace it"):
        read(folder)
    (folder / "respond/answer.yaml").unlink()
    (folder / "respond/answer.yaml").mkdir()
    with pytest.raises(PromptError, match="got no regular file"):
        read(folder)


def test_a_folder_that_cannot_be_listed_is_one_sentence(tmp_path):
    with pytest.raises(PromptError, match=r"words\.overlay: .*gone cannot be listed: No such file or directory; give"):
        read(tmp_path / "gone")


def test_a_name_made_to_be_printed_is_printable(overlay):
    with pytest.raises(PromptError) as refused:
        read(overlay("respond/\x1b[2J.yaml"))
    assert str(refused.value).isprintable()


def test_a_library_checks_what_its_overlay_holds(overlay):
    """Names that a preset gives are read, too; and each file that is read has its form looked at."""
    folder = overlay("judge/kind.yaml")
    library = Library(overlay=folder)
    with pytest.raises(PromptError, match="which nothing reads"):
        library.check()
    (folder / "judge/kind.yaml").write_text("id: judge/kind\nabout: x\nvariables: []\ntext: 'Is it {{ kind }}?'")
    with pytest.raises(PromptError, match=r"variables says \[\], the template uses \['kind'\]"):
        library.check(["judge/kind"])
    (folder / "judge/kind.yaml").write_text("id: judge/kind\nabout: x\nvariables: []\ntext: 'Is it kind?'")
    library.check(["judge/kind"])
    (folder / "self_instruct").mkdir()
    (folder / "self_instruct/topics.yaml").write_text("topics: [a, a]")
    with pytest.raises(PromptError, match="occurs twice"):
        library.check(["judge/kind"])

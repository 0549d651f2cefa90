"""`alignery marks`: what a person types, and the loop at a real terminal."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from command import alignery, sentence
from lake_rows import fill

from alignery.cli.render.marks import review
from alignery.pipeline.marks import queue
from warehouse import Lake


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Path:
    home = shutil.copytree(empty, tmp_path_factory.mktemp("marks") / "home")
    with Lake.open(home) as lake:
        fill(lake, 4, revised="a revision")
    return home


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    return shutil.copytree(filled, tmp_path / "home")


def asked(*words: str, home: Path):
    done = alignery("marks", *words, "--json", home=home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_mark_is_added_queued_around_exported_and_counted(home: Path, tmp_path: Path) -> None:
    asked("add", "b-i0", "--with", "v-i0", "--verdict", "second", "--by", "ada", home=home)
    asked("add", "b-i0", "--with", "v-i0", "--verdict", "second", "--by", "bob", home=home)
    asked("add", "c-i1", "--edit", "as it should be", "--by", "ada", home=home)
    assert len(asked("queue", "pairs", "--order", "random", "--by", "ada", home=home)) == 3
    found = asked("agreement", home=home)
    assert (found["pairs"]["marked_twice"], found["pairs"]["alike"], found["rows"]["things"]) == (1, 1.0, 0)
    file = alignery("marks", "export", "label-studio", home=home)
    assert file.returncode == 0
    (tmp_path / "marks.json").write_text(file.stdout)
    assert asked("import", "label-studio", str(tmp_path / "marks.json"), home=home) == {"added": 0, "known": 3}
    shown = alignery("trace", "c-i1", home=home).stdout
    assert "mark" in shown
    assert "ada" in shown
    assert "as it should be" in shown
    assert "4 to mark" in alignery("marks", "queue", "--order", "random", "--by", "eve", home=home).stdout
    assert "ada" in alignery("marks", "agreement", home=home).stdout


def test_a_mistake_is_one_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIGNERY_BY", raising=False)
    monkeypatch.setenv("USER", "root")
    output = sentence(alignery("marks", "add", "b-i0", "--verdict", "right", home=home))
    assert '--by: got no name; give yours, or once for all: export ALIGNERY_BY="$USER"' in output
    assert "no record or attempt whose id" in sentence(
        alignery("marks", "add", "nowhere", "--verdict", "right", "--by", "a", home=home)
    )
    assert "verdict: got 'good'" in sentence(
        alignery("marks", "add", "b-i0", "--verdict", "good", "--by", "a", home=home)
    )
    assert "there is no terminal here" in sentence(alignery("marks", "review", "--by", "a", home=home))
    assert "expected one of pairs, answers" in sentence(alignery("marks", "queue", "x", "--by", "a", home=home))
    assert "expected ID=NAME" in sentence(alignery("marks", "import", "argilla", "x", "--person", "x", home=home))


def test_the_loop_turns_keys_into_marks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Lake.open(home, read_only=True) as lake:
        items = queue(lake, "pairs", "random", 4, by="ada")
        rows = queue(lake, "qac", "random", 4, by="ada")
    saved: list = []
    keys = iter("x1" + "n2" + "5" + "q")
    assert review(items, "ada", lambda: next(keys), lambda question: "a note", saved.append) == 2
    left = items[0]["left"]
    assert (saved[0].verdict, saved[0].shown_left, saved[0].note) == (left, left, None)
    assert (saved[1].verdict, saved[1].note) == ("second" if items[1]["left"] == "first" else "first", "a note")
    keys = iter("e1" + "e5" + "2" + "3")
    answers = iter(("two\\nlines", " "))
    assert review(rows, "ada", lambda: next(keys), lambda question: next(answers), saved.append) == 3
    assert [(one.verdict, one.text) for one in saved[2:]] == [("right", "two\nlines"), ("wrong", None), ("flag", None)]
    shown = capsys.readouterr().out
    assert "1 left · 2 right · 3 tie" in shown
    assert "kind" not in shown, "the principle would tell who revised what"


def waits_for_a_key(terminal: int) -> bool:
    """Whether the terminal hands on each key as it comes; one that is sent before is thrown away."""
    return not termios.tcgetattr(terminal)[3] & termios.ICANON


def test_at_a_terminal_each_key_is_a_row(home: Path) -> None:
    ours, theirs = pty.openpty()
    code = "from alignery.cli.main import main; main()"
    words = ["marks", "review", "--order", "random", "--by", "ada", "--home", str(home)]
    with subprocess.Popen([sys.executable, "-c", code, *words], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        for number, key in enumerate((b"1", b"3", b"q"), 1):
            shown = b""
            while f"{number} of 4".encode() not in shown or b"q leave" not in shown.split(b" of 4")[-1]:
                shown += os.read(ours, 65536)
            while not waits_for_a_key(ours):
                assert process.poll() is None
                time.sleep(0.01)
            os.write(ours, key)
        os.close(theirs)
        assert process.wait(60) == 0
    os.close(ours)
    with Lake.open(home, read_only=True) as lake:
        verdicts = [row["verdict"] for row in lake.rows("SELECT verdict FROM marks ORDER BY created_at")]
    assert verdicts[0] in ("first", "second")
    assert verdicts[1:] == ["tie"]

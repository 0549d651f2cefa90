"""What an engine's libraries print goes to a file in the lake's home; what anyone else prints stays where it is."""

from __future__ import annotations

import asyncio
import io
import logging
import multiprocessing
import os
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.engines import open_engine
from tasks.engines.output import logged_to, named, printed_to, warned_to
from tasks.methods.registry import installed
from tasks.train import __main__ as training
from tasks.train.config import Report, TrainingFailed

NANO = {"engine": "transformers", "model": str(Path(__file__).parent.parent.parent / "nano/checkpoint"), "threads": 1}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_prints_of_the_thread_and_of_the_processes_that_it_starts_are_in_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    with printed_to(tmp_path / "logs/a.log", "model"):
        print("from here")
        print("an error", file=sys.stderr)
        process = multiprocessing.get_context(method).Process(target=os.write, args=(2, b"from a process\n"))
        process.start()
        process.join()
    print("after it")
    os.write(2, b"a descriptor\n")
    logged = (tmp_path / "logs/a.log").read_text()
    assert all(line in logged for line in ("model\n", "from here\n", "an error\n", "from a process\n"))
    assert capfd.readouterr() == ("after it\n", "a descriptor\n")


def test_other_threads_and_handlers_that_hold_a_stream_print_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = io.StringIO()
    handler = logging.StreamHandler(held)
    logging.getLogger("of.a.user").addHandler(handler)
    with printed_to(tmp_path / "a.log", "model"):
        other = threading.Thread(target=print, args=("from a thread",))
        other.start()
        other.join()
        logging.getLogger("of.a.user").warning("a warning")
    logging.getLogger("of.a.user").removeHandler(handler)
    assert capsys.readouterr().out == "from a thread\n"
    assert held.getvalue() == "a warning\n"


def warn(text: str) -> None:
    """From another thread, as an engine's worker does."""
    thread = threading.Thread(target=warnings.warn, args=(text, FutureWarning))
    thread.start()
    thread.join()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings that were printed."""
    texts: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: texts.append(str(message)))
    warnings.simplefilter("always")
    return texts


def test_warnings_of_any_thread_are_in_the_file_while_a_block_is_open(tmp_path: Path, shown: list[str]) -> None:
    first, second = warned_to(tmp_path / "logs/a.log"), warned_to(tmp_path / "b.log")
    first.__enter__()
    warn("of the first")
    second.__enter__()
    warn("of the second")
    first.__exit__(None, None, None)  # engines close in any order
    warn("of the second again")
    second.__exit__(None, None, None)
    with warned_to(None):
        warn("shown")
    assert shown == ["shown"]
    assert "FutureWarning: of the first\n" in (tmp_path / "logs/a.log").read_text()
    assert (tmp_path / "b.log").read_text().count("FutureWarning: of the second") == 2


def test_an_open_engine_logs_warnings(tmp_path: Path, shown: list[str]) -> None:
    async def opened() -> None:
        async with open_engine(NANO, tmp_path):
            warn("past_key_values is deprecated")

    asyncio.run(opened())
    assert not shown
    assert "past_key_values is deprecated" in (tmp_path / "transformers.log").read_text()


def test_a_training_logs_warnings(tmp_path: Path, shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object) -> Report:
        warn("gradient_checkpointing is deprecated")
        raise TrainingFailed("enough")

    (tmp_path / "train-0.parquet").touch()
    recipe = SimpleNamespace(config=installed().recipes["sft"].config, train=train)
    monkeypatch.setattr(training, "_recipe", lambda *_: recipe)
    monkeypatch.setattr(training, "check_folders", lambda *_: None)
    arguments = ["sft", "--data", str(tmp_path), "--model", "m", "--out", "o", "--log", str(tmp_path / "train.log")]
    assert training.main(arguments) == 1
    assert not shown
    assert "gradient_checkpointing is deprecated" in (tmp_path / "train.log").read_text()


def test_an_error_comes_out_and_the_streams_are_back(tmp_path: Path) -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(ValueError, match="broken"), printed_to(tmp_path / "a.log", "model"):
        raise ValueError("broken")
    assert (sys.stdout, sys.stderr) == before


def test_a_library_s_own_handler_writes_to_the_file_from_then_on(tmp_path: Path) -> None:
    logger = logging.getLogger("a.library")
    own = logging.StreamHandler(io.StringIO())
    own.setFormatter(logging.Formatter("LIB %(message)s"))
    logger.addHandler(own)
    for name in ("a.log", "b.log"):  # of one lake, then of another
        logged_to(tmp_path / name, "a.library")
        logger.warning("a line for %s", name)
    assert (tmp_path / "a.log").read_text() == "LIB a line for a.log\n"
    assert (tmp_path / "b.log").read_text() == "LIB a line for b.log\n"
    assert str(tmp_path / "b.log") in named(tmp_path / "b.log")


def test_an_engine_has_a_log_where_it_is_given_a_folder_and_none_otherwise(tmp_path: Path) -> None:
    async def opened(logs: Path | None) -> None:
        async with open_engine(NANO, logs):
            pass

    asyncio.run(opened(None))
    assert list(tmp_path.iterdir()) == []
    asyncio.run(opened(tmp_path / "logs"))
    assert "nano/checkpoint" in (tmp_path / "logs/transformers.log").read_text()


def test_what_is_made_in_the_block_prints_as_before_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with printed_to(tmp_path / "a.log", "a model"):
        made = logging.StreamHandler()
        made.flush = sys.stderr.flush  # type: ignore[method-assign]  # as transformers does on its import
        made.emit(logging.makeLogRecord({"msg": "while it loads"}))
    made.emit(logging.makeLogRecord({"msg": "after it"}))
    assert "while it loads" in (tmp_path / "a.log").read_text()
    err = capsys.readouterr().err
    assert "after it" in err
    assert "Logging error" not in err


def test_a_users_own_file_is_left_alone(tmp_path: Path) -> None:
    logger = logging.getLogger("another.library")
    own = logging.FileHandler(tmp_path / "own.log")
    logger.addHandler(own)
    logged_to(tmp_path / "ours.log", "another.library")
    assert logger.handlers == [own]
    own.close()

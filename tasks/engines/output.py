"""Sends the output of an engine's or a training's libraries to a file: the terminal shows a run's progress."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any, TextIO

_ONE_AT_A_TIME = threading.RLock()  # what is redirected is the whole process's
_LOGS_OF_WARNINGS: list[Path] = []  # of the blocks of `warned_to` that are open, the newest last
_CHANGING_LOGS = threading.Lock()
_show_warning = warnings.showwarning  # as it was before the first of them


@contextmanager
def printed_to(log: Path | None, title: str) -> Iterator[None]:
    """Append to a file what this thread prints in the block, and what processes print that are started in it.

    Streams that are already held by something, such as a logging handler or a progress line, are not redirected.

    Args:
        log: the file; its folder is made. None leaves everything as it is.
        title: of what is loaded, for the line before its output.
    """
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with _ONE_AT_A_TIME, log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        print(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, process {os.getpid()}: {title}", file=file, flush=True)
        here: list[Any] = [_OfThread(file, stream) for stream in (sys.stdout, sys.stderr)]
        with redirect_stdout(here[0]), redirect_stderr(here[1]), _processes_print_to(file):
            yield


class _OfThread:
    """The file for the thread that made it; the previous stream for all others, which may print a user's own lines."""

    def __init__(self, file: IO[str], before: IO[str]) -> None:
        self._thread, self._file, self._before = threading.get_ident(), file, before

    # Chosen at each call: a handler of logging that is made in the block may keep this, or a method of it, for ever.
    def write(self, text: str) -> int:
        return self._now().write(text)

    def flush(self) -> None:
        self._now().flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now(), name)

    def _now(self) -> IO[str]:
        is_file = threading.get_ident() == self._thread and not self._file.closed
        return self._file if is_file else self._before


@contextmanager
def _processes_print_to(file: IO[str]) -> Iterator[None]:
    """A process inherits descriptors 1 and 2, so they point to the file while it is started, for all threads."""
    start = BaseProcess.start

    def start_there(process: BaseProcess) -> None:
        terminal = os.dup(1), os.dup(2)
        try:
            for own in (1, 2):
                os.dup2(file.fileno(), own)
            start(process)
        finally:
            for own, saved in zip((1, 2), terminal, strict=True):
                os.dup2(saved, own)
                os.close(saved)

    BaseProcess.start = start_there  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        BaseProcess.start = start  # type: ignore[method-assign]


@contextmanager
def warned_to(log: Path | None) -> Iterator[None]:
    """Append to a file what Python's `warnings` would print in the block, in any thread; blocks end in any order.

    Args:
        log: the file; its folder is made. None leaves everything as it is.
    """
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    global _show_warning
    with _CHANGING_LOGS:
        if not _LOGS_OF_WARNINGS:
            _show_warning, warnings.showwarning = warnings.showwarning, _write_warning
        _LOGS_OF_WARNINGS.append(log)
    try:
        yield
    finally:
        with _CHANGING_LOGS:
            _LOGS_OF_WARNINGS.remove(log)
            if not _LOGS_OF_WARNINGS:
                warnings.showwarning = _show_warning


def _write_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    with suppress(OSError), _LOGS_OF_WARNINGS[-1].open("a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(warnings.formatwarning(message, category, filename, lineno, line))


def logged_to(log: Path | None, name: str) -> None:
    """A library's logger, which printed through the library's own handler, writes to the file from here on."""
    if log is None:
        return
    logger = logging.getLogger(name)
    for handler in [one for one in logger.handlers if _prints(one)]:
        instead = _LogFile(log, encoding="utf-8", delay=True)
        instead.setFormatter(handler.formatter)
        instead.setLevel(handler.level)
        logger.removeHandler(handler)
        handler.close()
        logger.addHandler(instead)


class _LogFile(logging.FileHandler):
    """The handler that `logged_to` makes; the next engine has another file."""


def _prints(handler: logging.Handler) -> bool:
    """Whether a handler prints, or belongs to an earlier engine; a user's own files are not touched."""
    return type(handler) in (logging.StreamHandler, _LogFile)


def named(log: Path | None) -> str:
    """The file's name for an error message."""
    return f"its log {log}" if log else "its own output"

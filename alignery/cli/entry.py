"""The outermost layer of the command: arguments as they come from a shell, and what ends the process."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Sequence

import typer

from alignery.cli.options import INTERRUPTED, app, handle_errors
from alignery.errors import UsageError
from alignery.untrusted import excerpt

_BadUsage: type[Exception] = typer.BadParameter.__mro__[1]  # click's UsageError, of typer's own copy


def main(arguments: Sequence[str]) -> int:
    """Run a verb; its exit code. A mistake in the arguments is one sentence on standard error."""
    open_streams()
    _lenient_streams()
    try:
        _check(arguments)
        with handle_errors():
            code = app(list(arguments) or ["--help"], prog_name="alignery", standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    except UsageError as error:
        return _fail(str(error), error.exit_code)
    except _BadUsage as error:
        return _fail(_sentence(error), UsageError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; what was committed is kept", INTERRUPTED)
    return code if isinstance(code, int) else 0


def open_streams() -> None:
    """A stream that was closed (`>&-`) is the null device: else the next file, maybe of data, gets its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            raw = io.FileIO(number, "w" if number else "r", closefd=False)
            buffered = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
            setattr(sys, name, io.TextIOWrapper(buffered, encoding="utf-8"))


def _lenient_streams() -> None:
    """Characters that the console cannot encode are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _check(arguments: Sequence[str]) -> None:
    """Python passes bytes that are not UTF-8 as lone surrogates, which no file and no database accepts."""
    try:
        where = os.getcwd()
    except FileNotFoundError as error:
        raise UsageError("the working folder is gone; change to one that is there") from error
    for what, text in (("the working folder", where), *((f"argument {n}", a) for n, a in enumerate(arguments, 1))):
        if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            raise UsageError(f"{what}: got '{excerpt(text, 100)}', expected UTF-8; write it in UTF-8, or rename it")


def _sentence(error: Exception) -> str:
    """Click's error message, which it would draw in a box of several lines."""
    message = getattr(error, "format_message", error.__str__)().rstrip(".").replace("Input should be", "expected")
    context = getattr(error, "ctx", None)
    verb = context.command_path if context else "alignery"
    file = re.search(r"unexpected extra argument.*?\(([^() ]+\.ya?ml)\)", message)
    fix = f"; give a preset as --preset {file[1]}" if file else ""
    return f"{message}{fix}; see {verb} --help"


def _fail(text: str, code: int) -> int:
    print(f"alignery: {excerpt(text, 600)}", file=sys.stderr)
    return code


class Sentences(logging.Formatter):
    """A record as one printable sentence."""

    def format(self, record: logging.LogRecord) -> str:
        return f"alignery: {excerpt(super().format(record), 600)}"

"""A process that has everything imported and no thread of its own, and forks one for each piece of work."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """Does each piece of work in a process forked for it, which may die of it; those cost milliseconds."""

    def __init__(self) -> None:
        self._ours, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, work: Callable[..., Any], *given: Any) -> tuple[int, Any]:
        """The exit code, and what `work` returned, if it did. What it raises is raised here, as an AssertionError."""
        self._ours.send((work, given))
        code, found = self._ours.recv()
        if isinstance(found, AssertionError):
            raise found
        return code, found

    def close(self) -> None:
        self._ours.close()
        self._process.join()


def _serve(theirs: Connection) -> None:
    import pandas  # noqa: F401  # DuckDB imports it for the first bound value
    import psycopg  # noqa: F401

    import warehouse.database.connection

    logging.getLogger("warehouse").setLevel(logging.ERROR)
    # The signatures of two extensions take longer to check than all the rest of a case.
    warehouse.database.connection._OFF["allow_unsigned_extensions"] = "true"
    while True:
        try:
            work, given = theirs.recv()
        except EOFError:
            return
        theirs.send(_forked(work, given))


def _forked(work: Callable[..., Any], given: tuple[Any, ...]) -> tuple[int, Any]:
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        try:
            found: Any = work(*given)
        except BaseException as error:  # noqa: BLE001  # raised again where the result is waited for
            found = AssertionError("".join(traceback.format_exception(error)))
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(found, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), pickle.loads(answer) if answer else None

"""Pools of the near-duplicate gate: filled late, or divided among processes; each decides as one `RougePool` does."""

from __future__ import annotations

import multiprocessing
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Protocol

from alignery.errors import AligneryError, UsageError
from alignery.untrusted import excerpt
from tasks.filters.rouge import Nearest, RougePool

PROCESSES = "ALIGNERY_GATE_PROCESSES"
_BLOCK = 4096  # texts in a row that one process has


class GateDied(AligneryError, RuntimeError):
    """A process that holds a part of the pool has died: that part cannot be compared with."""


class Pool(Protocol):
    """What a gate needs of a pool."""

    def add(self, text: str) -> None: ...

    def compare(self, texts: Sequence[str], above: float = 0.0) -> list[Nearest]: ...


class LatePool:
    """A pool that is filled when it is first needed; used by one thread at a time.

    It is divided among ALIGNERY_GATE_PROCESSES processes, by default only this one.

    Raises:
        UsageError: ALIGNERY_GATE_PROCESSES is not a number of processes.
    """

    def __init__(self, texts: Callable[[], Iterable[str]]) -> None:
        self._texts, self._processes = texts, _processes()
        self._pool: RougePool | DividedPool | None = None

    def _filled(self) -> RougePool | DividedPool:
        if self._pool is None:
            self._pool = RougePool() if self._processes == 1 else DividedPool(self._processes)
            for text in self._texts():
                self._pool.add(text)
        return self._pool

    def add(self, text: str) -> None:
        self._filled().add(text)

    def compare(self, texts: Sequence[str], above: float = 0.0) -> list[Nearest]:
        return self._filled().compare(texts, above)

    def close(self) -> None:
        """End the processes, if there are any."""
        if isinstance(self._pool, DividedPool):
            self._pool.close()


class DividedPool:
    """A pool whose texts are divided among processes, in blocks by turns.

    Raises:
        GateDied: one of them was killed.
    """

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit locks of threads that it does not have
        self._pipes: list[Connection] = []
        self._waiting: list[list[str]] = [[] for _ in range(processes)]  # texts that are not sent yet
        self._size = 0
        self.processes = []
        for _ in range(processes):
            mine, other = context.Pipe()
            self.processes.append(context.Process(target=_serve, args=(other,), daemon=True))
            self.processes[-1].start()
            other.close()
            self._pipes.append(mine)
        # A process ends with its pipe.
        self.close = weakref.finalize(self, _closed, self._pipes)

    def __len__(self) -> int:
        return self._size

    def add(self, text: str) -> None:
        number = self._size // _BLOCK % len(self._pipes)
        self._waiting[number].append(text)
        self._size += 1
        if self._size % _BLOCK == 0:
            self._send(number)

    def compare(self, texts: Sequence[str], above: float = 0.0) -> list[Nearest]:
        for number in range(len(self._pipes)):
            self._send(number, (list(texts), above))
        found = [Nearest() for _ in texts]
        for number, pipe in enumerate(self._pipes):
            try:
                answers: list[Nearest] = pipe.recv()
            except (EOFError, OSError) as error:
                raise _died(number) from error
            for place, near in enumerate(answers):
                found[place] = _together(found[place], replace(near, place=self._place(number, near.place)))
        return found

    def _send(self, number: int, asked: tuple[list[str], float] | None = None) -> None:
        added, self._waiting[number] = self._waiting[number], []
        try:
            self._pipes[number].send((added, asked))
        except OSError as error:
            raise _died(number) from error

    def _place(self, number: int, place: int) -> int:
        """The place in the whole pool of a place in a process' part."""
        block, within = divmod(place, _BLOCK)
        return (block * len(self._pipes) + number) * _BLOCK + within


def _together(one: Nearest, other: Nearest) -> Nearest:
    return replace(one.nearer(other), mean=one.merged(other).mean, size=one.size + other.size)


def _closed(pipes: Sequence[Connection]) -> None:
    for pipe in pipes:
        pipe.close()


def _serve(pipe: Connection) -> None:
    """One process: texts to add and texts to compare, until the pipe is closed."""
    pool = RougePool(threads=1)
    while True:
        try:
            added, asked = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        for text in added:
            pool.add(text)
        if asked:
            pipe.send(pool.compare(*asked))


def _died(number: int) -> GateDied:
    return GateDied(
        f"process {number + 1} of the near-duplicate gate is gone, killed or out of memory; what was answered is kept: "
        f"run again, with fewer processes in {PROCESSES} or more memory"
    )


def _processes() -> int:
    given = os.environ.get(PROCESSES, "1")
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= 1024):
        raise UsageError(
            f"{PROCESSES}: got '{excerpt(given, 60)}', expected a number of processes, 1 to 1024; correct it"
        )
    return int(given)

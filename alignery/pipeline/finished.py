"""What is finished under a configuration: recorded in the lake, so that it is not looked up request by request.

An instruction is finished under a walk key once it went through every stage, and a round of a source under that
source's key once all its requests are finished. Either key is a hash of all that determines the requests: stages,
prompts, models, settings, evaluation prompts, and the code itself. So after an edit, or in another version, one refresh
looks up every request, and the record is never wrong. It is committed with the last record that it covers, or later; if
it is lost, the next refresh finds the same answers again.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import prompts
import tasks
from alignery.config.preset import Preset
from alignery.hashing import digest
from alignery.pipeline.executor import Executor
from prompts import Library
from tasks.methods.registry import BUILT_IN
from tasks.stage import NEW, SOURCE_FIELDS, Method
from tasks.step import Row
from warehouse.query import finished
from warehouse.query.finished import Round

_CODE = (tasks.__path__[0], prompts.__path__[0], str(Path(__file__).parent))
_SOURCES = ("*.py", "*.yaml", "*.jsonl")
_TARGETS = {"accept", "max_candidates"}  # they determine how many requests there are, not their content


class FinishedWork:
    """What one configuration has finished.

    Args:
        stages: of each stage its name, place and fingerprint.
        held_out: the evaluation prompts.
        used: whether finished work is skipped and recorded; a plan looks at all of it.
    """

    def __init__(
        self, preset: Preset, executor: Executor, stages: Sequence[Any], held_out: Sequence[str], used: bool
    ) -> None:
        self._executor, self._used = executor, used
        methods = [one.method for one in preset.registry.installed.values() if one.origin != BUILT_IN]
        self._base = digest(_code(), _words(preset.library()), _code_of(methods), list(held_out))
        self._configs = {
            name: config.model_dump(mode="json", exclude=_TARGETS)
            for name, config in preset.line.configs.items()
            if name != "prompts"
        }
        self.walk_key = digest(self._base, self._configs, stages)

    def source_key(self, name: str, *parts: Any) -> str:
        """The key of a source's rounds. `parts` are what its requests depend on beside all settings."""
        return digest(self._base, self._configs, name, *parts)

    async def rounds(self, source_key: str) -> list[Round]:
        """The finished rounds of a source, the first ones without a gap."""
        return await asyncio.to_thread(finished.rounds, self._executor.lake, source_key) if self._used else []

    def finish_round(
        self, source_key: str, number: int, found: Round, topics: Sequence[str], ids: Iterable[str]
    ) -> None:
        """Record that a round of a source is finished, with the ids that it accepted."""
        if self._used and not self._executor.spent:
            row = {"source_key": source_key, "round": number, "topics": list(topics), "accepted": list(ids)}
            counts = {"requests": found.requests, "candidates": found.candidates}
            self._executor.remember("rounds", row | counts)

    def finish(self, row: Row, requests: int) -> None:
        """Record that a row with which the stages start went through all of them."""
        if self._used and not self._executor.spent:
            record = {"instruction_id": row["instruction_id"], "walk_key": self._key(row), "requests": requests}
            self._executor.remember("finished", record)

    async def unfinished(self, source_key: str, rounds: int, most: int) -> AsyncIterator[list[Row]]:
        """Of the first `most` instructions that those rounds accepted, the records with something left to do."""
        lake, asked = self._executor.lake, (source_key, rounds)
        rows, requests = await asyncio.to_thread(finished.requests, lake, *asked, self.walk_key, most)
        self._executor.tally.saved += requests
        self._executor.progress.finished_before(rows)
        found = finished.unfinished(lake, *asked, self.walk_key, most)
        while some := await asyncio.to_thread(next, found, None):
            yield some

    async def without_finished(self, rows: Sequence[Row]) -> list[Row]:
        """Those of some rows that are not finished."""
        if not (self._used and rows):
            return list(rows)
        ids = [row["instruction_id"] for row in rows]
        known = await asyncio.to_thread(finished.known, self._executor.lake, ids)
        keys = [(row["instruction_id"], self._key(row)) for row in rows]
        self._executor.tally.saved += sum(known.get(key, 0) for key in keys)
        self._executor.progress.finished_before(sum(key in known for key in keys))
        return [row for row, key in zip(rows, keys, strict=True) if key not in known]

    def _key(self, row: Row) -> str:
        """The walk key of a row; fields beyond the instruction are part of it."""
        brought = {name: value for name, value in row.items() if name != NEW}
        return self.walk_key if brought.keys() <= set(SOURCE_FIELDS) else digest(self.walk_key, brought)


@cache
def _code() -> list[str]:
    """The code and the shipped words, as they are installed."""
    return [_of_files(Path(folder), *(f"**/{kind}" for kind in _SOURCES)) for folder in _CODE]


def _code_of(methods: Sequence[Method]) -> list[str]:
    """The code beside that of methods from outside."""
    parts = [each for method in methods for each in (method.stages, method.config, method.requests)]
    modules = {sys.modules.get(getattr(part, "__module__", "")) for part in parts}
    files = {file for module in modules if module and (file := getattr(module, "__file__", None))}
    return sorted(_of_files(folder, "*.py") for folder in {Path(file).parent for file in files})


def _words(library: Library) -> list[str]:
    """The words that are not shipped: of the overlay, and of methods from outside."""
    folders = [library.overlay, *(folder for _, folder in library.of_methods)]
    return [_of_files(folder, *(f"**/{kind}" for kind in _SOURCES)) for folder in folders if folder]


def _of_files(folder: Path, *patterns: str) -> str:
    """The content of files, wherever their folder is."""
    files = sorted(file for pattern in patterns for file in folder.glob(pattern) if file.is_file())
    return digest([(file.relative_to(folder).as_posix(), sha256(file.read_bytes()).hexdigest()) for file in files])

"""Batched cache lookups: requests that arrive during a query are coalesced into the next."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from tasks.stage import NEW
from tasks.step import Replies, Request, Row
from warehouse import Lake


@dataclass(frozen=True)
class CacheHit:
    """`records` of finished work, else None; `replies` to the same request, if it is not finished."""

    records: list[Row] | None
    replies: Replies


NOTHING = CacheHit(None, {})
Known = tuple[set[str], set[tuple[str, str]]]  # committed fingerprints; (prompt hash, model) of requests


@dataclass
class _Batch:
    asks: list[Request] = field(default_factory=list)
    answer: asyncio.Task[dict[str, CacheHit]] | None = None


class ResultCache:
    """Finds finished work and earlier replies, without a query where that is possible."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._open: _Batch | None = None
        self._turn = asyncio.Lock()
        self._known: Known | None = None
        self._again = False

    def invalidate(self) -> None:
        """The lake has grown since: look again, also for what was new at the start."""
        self._known, self._again = None, True

    async def find(self, ask: Request) -> CacheHit:
        """What the lake has of this work."""
        if (self._known is not None and not _maybe(self._known, ask)) or (not self._again and _is_new(ask)):
            return NOTHING
        batch = self._open = self._open or _Batch()
        batch.asks.append(ask)
        if batch.answer is None:
            batch.answer = asyncio.create_task(self._answer(batch))
        # Shared by many rows, of which one may be cancelled.
        return (await asyncio.shield(batch.answer)).get(ask.key, NOTHING)

    async def _answer(self, batch: _Batch) -> dict[str, CacheHit]:
        async with self._turn:
            self._open = None
            return await asyncio.to_thread(self._query, batch.asks)

    def _query(self, asks: list[Request]) -> dict[str, CacheHit]:
        # Read once for the whole query, because it runs in a thread while `invalidate` may be called.
        if (known := self._known) is None:
            known = self._known = self._lake.ledger.cache_summary()
        by_key = {ask.key: ask for ask in asks if _maybe(known, ask)}
        if not by_key:
            return {}
        pending = self._lake.ledger.unfinished(list(by_key))
        tables = defaultdict(list)
        for key, ask in by_key.items():
            if key not in pending:
                tables[ask.step.table].append(key)
        records: dict[str, list[Row]] = {key: [] for keys in tables.values() for key in keys}
        for table, keys in tables.items():
            for record in self._lake.ledger.records(table, keys):
                records[record["work_key"]].append(record)
        replayable = [ask for key, ask in by_key.items() if key in pending and _request(ask) in known[1]]
        replies = self._lake.ledger.cached_replies([ask.request_key for ask in replayable]) if replayable else {}
        return {key: CacheHit(records.get(key), replies if key in pending else {}) for key in by_key}


def _maybe(known: Known, ask: Request) -> bool:
    """Whether the lake may have something of this work."""
    return ask.fingerprint in known[0] or _request(ask) in known[1]


def _is_new(ask: Request) -> bool:
    """Whether it belongs to an instruction of this run, so that the lake cannot have it."""
    return NEW in ask.row and ask.row["instruction_id"] in ask.step.inputs(ask.row).values()


def _request(ask: Request) -> tuple[str, str]:
    return ask.step.prompt.hash, ask.engine.identity

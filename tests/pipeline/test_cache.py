"""What the lake has is asked for many rows at once, and not at all where nothing can be there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from works import Works

from alignery.pipeline.cache import NOTHING, ResultCache
from tasks.engines import ScriptedEngine
from tasks.methods.respond import method as respond
from tasks.step import Request
from warehouse import Lake
from warehouse.ledger import Ledger


class Watched:
    """A lake whose ledger counts the queries it is asked; `meanwhile` is called in the middle of each."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self.asked = lake, list[int]()
        self.meanwhile = lambda: None

    @property
    def ledger(self) -> Any:
        return self

    def unfinished(self, keys: Sequence[str]) -> set[str]:
        self.asked.append(len(keys))
        self.meanwhile()
        return self._lake.ledger.unfinished(keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake.ledger if hasattr(Ledger, name) else self._lake, name)


@pytest.fixture
def watched(works: Works) -> Iterator[Watched]:
    asyncio.run(works.walk())
    with Lake.open(Path(works.home), read_only=True) as lake:
        yield Watched(lake)


def asks(works: Works, engine: ScriptedEngine) -> list[Request]:
    """The line's own answers, which the lake has."""
    step = respond.respond(works.preset.library(), works.preset.line.respond)
    rows = works.rows("SELECT id AS instruction_id, text AS instruction FROM instructions WHERE state = 'accepted'")
    return [Request(step, row, engine) for row in rows]


def test_rows_that_ask_together_are_one_question(works: Works, watched: Watched) -> None:
    async def main() -> list[Any]:
        lookup = ResultCache(watched)  # type: ignore[arg-type]
        return await asyncio.gather(*(lookup.find(ask) for ask in asks(works, works.engine)))

    found = asyncio.run(main())
    assert watched.asked == [len(found)]
    assert sum(one.records is not None for one in found) == 12


def test_of_a_model_that_was_never_asked_nothing_is_looked_for(works: Works, watched: Watched) -> None:
    async def main() -> list[Any]:
        lookup = ResultCache(watched)  # type: ignore[arg-type]
        stranger = ScriptedEngine(["x"], identity="stranger")
        return [await lookup.find(ask) for ask in asks(works, stranger)]

    assert set(map(id, asyncio.run(main()))) == {id(NOTHING)}
    assert watched.asked == []


def test_to_forget_while_a_question_is_asked_does_it_no_harm(works: Works, watched: Watched) -> None:
    """A chunk that is tried again forgets, whatever another chunk's rows are asking just then."""

    async def main() -> list[Any]:
        lookup = ResultCache(watched)  # type: ignore[arg-type]
        watched.meanwhile = lookup.invalidate
        return await asyncio.gather(*(lookup.find(ask) for ask in asks(works, works.engine)))

    assert sum(one.records is not None for one in asyncio.run(main())) == 12

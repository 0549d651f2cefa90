"""What a run may spend: tokens and minutes. Once it is spent nothing is sent; requests in flight are completed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prompts import Message
from tasks.answer import countable
from tasks.engines import Completion, Engine, Sampling


class BudgetSpent(Exception):
    """The run's budget is spent: its remaining requests are left for the next run."""


@dataclass
class Budget:
    """Tokens (prompt and reply together) and minutes of one run; None is without a limit."""

    max_tokens: int | None = None
    max_minutes: float | None = None
    tokens: int = 0
    clock: Callable[[], float] = time.monotonic
    begun: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    @property
    def limited(self) -> bool:
        return self.max_tokens is not None or self.max_minutes is not None

    def check(self) -> None:
        """Raise BudgetSpent, with what was spent, once a limit is reached."""
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            raise BudgetSpent(f"{self.tokens} tokens of {self.max_tokens} (line.max_tokens)")
        minutes = (self.clock() - self.begun) / 60
        if self.max_minutes is not None and minutes >= self.max_minutes:
            raise BudgetSpent(f"{minutes:.1f} minutes of {self.max_minutes:g} (line.max_minutes)")


class MeteredEngine:
    """An engine under a budget, which is checked when a request is sent, not when it is queued.

    Args:
        places: how many requests may be in flight at once, and so by how many the budget may be exceeded.
    """

    def __init__(self, engine: Engine, budget: Budget, places: int) -> None:
        self.identity = engine.identity
        self._engine, self._budget, self._places = engine, budget, asyncio.Semaphore(places)

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        async with self._places:
            self._budget.check()
            completion = await self._engine.generate(prompt, sampling)
            self._budget.tokens += countable(completion.tokens_in) + countable(completion.tokens_out)
            return completion

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        async with self._places:
            self._budget.check()
            return await self._engine.choose(prompt, options)

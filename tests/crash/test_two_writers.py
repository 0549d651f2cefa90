"""Two writers cut into steps, interleaved at random, against a model of what must be in the lake."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from two_writers import Died, Pair, batch, without

from warehouse import Lake, LakeLocation
from warehouse.database import connection
from warehouse.recovery import recover, waiting

KEYS = ("k0", "k1", "k2")
_EXAMPLES = count()  # all in one lake, each with keys of its own
WRITERS = st.sampled_from([0, 1])


@contextmanager
def opened(place: Path | LakeLocation) -> Iterator[Pair]:
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(connection._OFF, {"allow_unsigned_extensions": "true"}))
        yield Pair([stack.enter_context(Lake.open(place, threads=1)) for _ in range(3)])


@pytest.fixture(scope="module")
def pair(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with opened(shutil.copytree(empty, tmp_path_factory.mktemp("two") / "home")) as pair:
        yield pair


def machine(pair: Pair) -> type[RuleBasedStateMachine]:
    class TwoWriters(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.prefix = f"e{next(_EXAMPLES)}-"
            self.doing: dict[int, set[str]] = {0: set(), 1: set()}
            self.journalled: set[str] = set()  # answered, and so to be in the lake in the end
            self.left: set[str] = set()  # journalled by one that died, and so readable once that is taken in
            self.landed: set[str] = set()  # committed, and so readable from then on
            self.looked = True
            self.watching = pair.watched()
            self.watching.__enter__()
            pair.overlaps = 0

        @precondition(lambda self: not all(writer.working for writer in pair.writers))
        @rule(which=WRITERS, keys=st.sets(st.sampled_from(KEYS), min_size=1))
        def begin(self, which: int, keys: set[str]) -> None:
            number = self.one(which, [not writer.working for writer in pair.writers])
            writer = pair.writers[number]
            self.doing[number] = {self.prefix + key for key in keys}
            writer.begin(batch(sorted(self.doing[number]), writer.name))
            pair.settle()
            self.note()

        @precondition(lambda self: any(writer.at for writer in pair.writers))
        @rule(which=WRITERS, steps=st.integers(1, 9))
        def go(self, which: int, steps: int) -> None:
            number = self.one(which, [bool(writer.at) for writer in pair.writers])
            writer = pair.writers[number]
            for _ in range(steps):
                if passed := writer.at:
                    writer.go()
                    pair.settle()
                    self.note()
                    if passed == "commit":
                        self.landed |= self.doing[number]
                        self.looked = False

        @precondition(lambda self: any(writer.at for writer in pair.writers))
        @rule(which=WRITERS)
        def die(self, which: int) -> None:
            number = self.one(which, [bool(writer.at) for writer in pair.writers])
            writer = pair.writers[number]
            writer.go(die=True)
            pair.settle()
            assert isinstance(writer.error, Died)
            self.left |= self.doing[number] if writer.acknowledged else set()

        @precondition(lambda self: not any(pair.holds(writer) for writer in pair.writers))
        @precondition(lambda self: waiting(pair.lake.home))
        @rule()
        def recover(self) -> None:
            recover(pair.lake)
            self.landed |= self.left
            self.looked = False

        @invariant()
        def what_was_committed_is_there_once(self) -> None:
            if not self.looked:
                self.looked = True
                assert pair.doubled(self.prefix) == []
                assert self.landed <= pair.readable(self.prefix) <= self.journalled

        @staticmethod
        def one(which: int, fit: list[bool]) -> int:
            """This writer, or the other one where it alone is fit."""
            return which if fit[which] else 1 - which

        def note(self) -> None:
            for number, writer in enumerate(pair.writers):
                self.journalled |= self.doing[number] if writer.acknowledged else set()

        def teardown(self) -> None:
            pair.finish()
            self.watching.__exit__(None, None, None)
            self.note()
            recover(pair.lake)
            assert all(writer.error is None or isinstance(writer.error, Died) for writer in pair.writers)
            assert pair.doubled(self.prefix) == []
            assert pair.readable(self.prefix) == self.journalled
            assert waiting(pair.lake.home) == 0
            assert pair.overlaps == 0

    return TwoWriters


def examples(number: int) -> settings:
    return settings(
        max_examples=number,
        stateful_step_count=24,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.flow
def test_two_writers_in_any_order_land_each_answer_once(pair: Pair) -> None:
    run_state_machine_as_test(machine(pair), settings=examples(8))


@pytest.mark.flow
@pytest.mark.long
def test_so_they_do_in_many_orders(pair: Pair) -> None:
    run_state_machine_as_test(machine(pair), settings=examples(60))


def race(pair: Pair, prefix: str) -> None:
    """Both have the same key to commit; each goes on as soon as it can, in turns."""
    pair.overlaps = 0
    with pair.watched():
        for writer in pair.writers:
            writer.begin(batch([f"{prefix}key"], writer.name))
        pair.finish()


def test_a_race_over_one_key_lands_it_once(pair: Pair) -> None:
    race(pair, "fair-")
    assert (pair.overlaps, pair.doubled("fair-"), pair.readable("fair-")) == (0, [], {"fair-key"})


def test_without_the_lock_two_are_inside_at_once_and_only_the_catalogs_own_check_is_left(pair: Pair) -> None:
    with without("lock", pair):
        race(pair, "unlocked-")
    # The catalog refuses the second COMMIT, and `Lake.commit` checks again: one wall is gone, and the other one holds.
    # (On SQLite it always does: to a transaction that began before another's COMMIT the database is locked.)
    assert (pair.overlaps > 0, pair.doubled("unlocked-")) == (True, [])


def test_without_the_fence_a_key_is_doubled(pair: Pair) -> None:
    with without("fence", pair):
        race(pair, "unfenced-")
    assert pair.doubled("unfenced-") == ["unfenced-key"]


@pytest.mark.flow
@pytest.mark.parametrize("what", ["lock", "fence", "journal"])
def test_the_machine_fails_when_a_safeguard_is_taken_away(pair: Pair, what: str) -> None:
    with without(what, pair), pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(machine(pair), settings=examples(20))


@pytest.mark.flow
def test_on_postgres_without_the_lock_and_that_check_a_key_is_doubled(database: str, tmp_path: Path) -> None:
    with opened(LakeLocation(tmp_path / "home", database)) as pair:
        race(pair, "fair-")
        with without("lock", pair):
            race(pair, "unlocked-")
            assert (pair.overlaps > 0, pair.doubled("unlocked-")) == (True, [])
            with without("conflict", pair):
                race(pair, "bare-")
        assert (pair.doubled("fair-"), pair.doubled("bare-")) == ([], ["bare-key"])


@pytest.mark.flow
def test_on_postgres_two_writers_in_many_orders_land_each_answer_once(database: str, tmp_path: Path) -> None:
    with opened(LakeLocation(tmp_path / "home", database)) as pair:
        run_state_machine_as_test(machine(pair), settings=examples(20))

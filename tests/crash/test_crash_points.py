"""Whatever strikes at a durable effect: nothing that was journalled is lost, nothing is doubled or half there."""

from __future__ import annotations

from pathlib import Path

import pytest
from points import Point, cases, distinct, lay, strike

from alignery import effects

# Those of the last commit of a refresh: to die before each is to die after the one before it.
COMMIT_PATH = ("journal append", "begin", "insert", "ledger row", "commit", "lock released", "journal removed")


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Point]]]:
    folder = tmp_path_factory.mktemp("crash") / "base"
    return folder, lay(folder)


Laid = tuple[Path, dict[str, list[Point]]]


def last(laid: Laid, phase: str, name: str, side: str) -> Point:
    return [point for point in laid[1][phase] if (point.name, point.side) == (name, side)][-1]


def test_a_process_that_dies_on_the_way_of_a_commit_loses_and_doubles_nothing(laid: Laid, tmp_path: Path) -> None:
    for name in COMMIT_PATH:
        verdict = strike(laid[0], last(laid, "refresh", name, "before"), "die", tmp_path / "case")
        assert verdict.sound, (name, verdict)


def test_the_checks_notice_when_the_journal_is_taken_away(laid: Laid, tmp_path: Path) -> None:
    point = last(laid, "refresh", "commit", "before")
    # Without its own effects there are fewer before this one.
    mine = [p for p in laid[1]["refresh"] if not p.name.startswith("journal")]
    number = [n for n, p in enumerate(mine) if (p.name, p.side) == (point.name, point.side)][-2]
    moved = Point(point.phase, number, point.name, point.side)
    assert strike(laid[0], moved, "die", tmp_path / "case", "journal").lost > 0


def test_the_checks_notice_when_the_fence_is_taken_away(laid: Laid, tmp_path: Path) -> None:
    # What had landed when the process died, before its journal was dropped, then comes in twice.
    removed = [p for p in laid[1]["refresh"] if (p.name, p.side) == ("journal removed", "before")]
    verdicts = [strike(laid[0], point, "die", tmp_path / "case", "fence") for point in removed[-1:]]
    assert sum(verdict.doubled for verdict in verdicts) > 0


def test_the_scenario_passes_every_effect_that_it_can(laid: Laid) -> None:
    met = {point.name for points in laid[1].values() for point in points}
    elsewhere = {"journal truncate", "journal fsync", "temporary files removed", "export replaced"}  # after a fault
    elsewhere |= {"model written", "picture written"}  # a real training, an evaluation
    assert met == set(effects.NAMES) - elsewhere


@pytest.mark.flow
def test_each_kind_of_effect_under_each_fault(laid: Laid, tmp_path: Path) -> None:
    unsound = {}
    for point, fault in distinct(laid[1]):
        verdict = strike(laid[0], point, fault, tmp_path / "case")
        if not verdict.sound:
            unsound[point, fault] = verdict
    assert not unsound


def test_the_faults_are_those_that_make_sense(laid: Laid) -> None:
    found = {(point.name, fault) for point, fault in cases(laid[1])}
    assert ("journal append", "ENOSPC") in found
    assert ("commit", "reply lost") in found
    assert ("lock released", "EIO") not in found

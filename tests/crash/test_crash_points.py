"""Whatever strikes at a durable effect: nothing that was journalled is lost, nothing is doubled or half there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from judge import QUICK, Verdict
from points import Point, Points, cases, distinct, lay, strike
from worker import Worker

from alignery import effects

# To die after one of these is to die before the next.
COMMIT_PATH = (
    "journal open", "journal append", "lock taken", "begin", "insert", "ledger row", "commit", "lock released",
    "journal removed",
)  # fmt: skip
EFFECTS_AFTER_A_FAULT = {"journal truncate", "journal fsync", "temporary files removed", "export replaced"}
EFFECTS_OF_OTHERS = {"model written", "picture written", "log written", "hub push"}  # a training, an evaluation, a hub


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


class Refresh:
    """Cases at the last commit of a refresh."""

    def __init__(self, worker: Worker, folder: Path) -> None:
        self._worker, self._folder = worker, folder
        self.points = lay(worker, folder / "base", phases=("make", "refresh"))

    def point(self, name: str, side: str) -> Point:
        points = self.points["refresh"]
        (ledger,) = [n for n, point in enumerate(points) if (point.name, point.side) == ("ledger row", "before")][-1:]
        after = [point for point in points[ledger:] if (point.name, point.side) == (name, side)]
        before = [point for point in points[:ledger] if (point.name, point.side) == (name, side)]
        return after[0] if name in ("ledger row", "commit", "lock released", "journal removed") else before[-1]

    def strike(self, name: str, side: str, fault: str, sabotage: str = "") -> Verdict:
        case = self._folder / "case"
        return strike(self._worker, self._folder / "base", self.point(name, side), fault, case, sabotage=sabotage)


@pytest.fixture(scope="module")
def refresh(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Refresh:
    return Refresh(worker, tmp_path_factory.mktemp("crash"))


POINTS = [*((name, "before") for name in COMMIT_PATH), ("journal removed", "after")]
DECISIVE = {"ledger row", "commit", "lock released"}  # around what makes rows last


@pytest.mark.parametrize(
    ("name", "side"),
    [pytest.param(*point, marks=() if point[0] in DECISIVE else pytest.mark.flow) for point in POINTS],
)
def test_a_process_that_dies_on_the_way_of_a_commit_loses_and_doubles_nothing(
    refresh: Refresh, name: str, side: str
) -> None:
    verdict = refresh.strike(name, side, "die")
    assert verdict.sound, verdict


@pytest.mark.parametrize(
    ("name", "side", "fault"),
    [
        ("journal append", "before", "ENOSPC"),
        ("commit", "before", "EIO"),
        ("ledger row", "after", "lock lost"),
        ("commit", "after", "reply lost"),
        ("commit", "before", "power cut"),
    ],
)
def test_no_other_fault_on_that_way_does_either(refresh: Refresh, name: str, side: str, fault: str) -> None:
    verdict = refresh.strike(name, side, fault)
    assert verdict.sound, verdict


@pytest.mark.flow
def test_the_checks_notice_when_the_journal_is_taken_away(refresh: Refresh) -> None:
    assert refresh.strike("commit", "before", "die", "journal").lost > 0


@pytest.mark.flow
def test_the_checks_notice_when_the_fence_is_taken_away(refresh: Refresh) -> None:
    # What was committed when the process died, before its journal was dropped, is then committed twice.
    assert refresh.strike("journal removed", "before", "die", "fence").duplicated > 0


@pytest.mark.flow
def test_the_checks_notice_when_the_fsync_is_taken_away(refresh: Refresh) -> None:
    # (That they notice nothing while it is there, a case above says.)
    assert refresh.strike("commit", "before", "power cut", "fsync").lost > 0


@pytest.mark.flow
def test_the_checks_notice_a_fault_that_never_struck(refresh: Refresh) -> None:
    # Else every case would pass once a point has another name.
    assert refresh.strike("lock released", "before", "die", "lock").wrong == ["the point was never met"]


def test_the_faults_are_those_that_make_sense(refresh: Refresh) -> None:
    found = {(point.name, point.side, fault) for point, fault in cases(refresh.points)}
    assert ("journal append", "before", "ENOSPC") in found
    assert ("commit", "after", "reply lost") in found
    assert ("lock released", "before", "EIO") not in found
    assert ("insert", "after", "die") not in found


@pytest.fixture(scope="module")
def whole(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Points]:
    folder = tmp_path_factory.mktemp("crash") / "base"
    return folder, lay(worker, folder)


@pytest.mark.flow
def test_the_scenario_passes_every_effect_that_it_can(whole: tuple[Path, Points]) -> None:
    met = {point.name for points in whole[1].values() for point in points}
    assert met == set(effects.NAMES) - EFFECTS_AFTER_A_FAULT - EFFECTS_OF_OTHERS


@pytest.mark.flow
@pytest.mark.parametrize("each", ["effect", pytest.param("phase and side", marks=pytest.mark.long)])
def test_each_kind_of_effect_under_each_fault(
    worker: Worker, whole: tuple[Path, Points], tmp_path: Path, each: str
) -> None:
    """Of a disk's two errors each side of an effect meets one; bench/crash.py has both."""
    unsound, other = {}, {"before": "EIO", "after": "ENOSPC"}
    struck = [(point, fault) for point, fault in distinct(whole[1]) if fault != other[point.side]]
    if each == "effect":  # each fault at the last of its points
        struck = list({(point.name, fault): (point, fault) for point, fault in struck}.values())
    for point, fault in struck:
        verdict = strike(worker, whole[0], point, fault, tmp_path / "case", examined=QUICK)
        if not verdict.sound:
            unsound[point, fault] = verdict
    assert not unsound

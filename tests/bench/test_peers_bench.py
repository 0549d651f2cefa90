"""The peers' bench in its short form: what its tables say of our side and of the bare client is counted right."""

from __future__ import annotations

import pytest

from bench.peers.load import IN_FLIGHT, is_bad, place_of, prompt, reply
from bench.peers.run import OURS, SCENARIOS, SIDES, measure
from bench.peers.tables import table

BARE = next(side for side in SIDES if side.name == "bare")
SMALL = {name: scenario.small() for name, scenario in SCENARIOS.items()}
GOOD = sum(not is_bad(row) for row in range(100))


def test_a_step_without_the_one_before_it_does_not_count_as_that_step() -> None:
    """The server numbers a reply by what its prompt holds, so a broken chain cannot look whole."""
    fields = {"instruction": "#00007.0 Say it.", "answer": reply(7, 1), "critique": reply(7, 2)}
    assert [place_of(prompt(step, fields)) for step in range(3)] == [(7, 1), (7, 2), (7, 3)]
    assert place_of(prompt(2, fields | {"answer": "", "critique": ""})) == (7, 1)
    assert place_of("Are you there?") is None


@pytest.mark.flow
def test_a_bare_client_is_counted() -> None:
    chained, refused = measure(BARE, SMALL["b"]), measure(BARE, SMALL["c"])
    assert (chained.ended, chained.rows, chained.seen, chained.answered) == ("yes", 100, 300, 300)
    assert chained.work_s is not None
    assert SMALL["b"].ideal_s() <= chained.work_s < chained.process_s
    assert (refused.rows, refused.blank, refused.seen, refused.reasons) == (GOOD, 100 - GOOD, 100, 100 - GOOD)
    line = table("c", {"bare": [refused]}, 100, "bare").splitlines()[-1]
    assert line.startswith(f"| bare | {refused.version} | yes | {GOOD} | 0 | 100 | {100 - GOOD} | ")


@pytest.mark.flow
def test_a_killed_process_is_started_again_and_what_it_sends_twice_is_counted() -> None:
    found = measure(BARE, SMALL["d"])
    assert (found.ended, found.rows) == ("yes", 100)
    # Each answer is written as it is read: only what was on its way, or not read yet, is sent again.
    assert found.asked_again <= found.seen - 100 <= IN_FLIGHT


@pytest.mark.long
def test_our_side_walks_all_scenarios() -> None:
    chained, refused, killed = (measure(OURS, SMALL[name]) for name in ("b", "c", "d"))
    assert (chained.ended, chained.rows, chained.blank, chained.seen) == ("yes", 100, 0, 300)
    assert (refused.ended, refused.rows, refused.seen, refused.reasons) == ("yes", GOOD, 100, 100 - GOOD)
    assert (killed.ended, killed.rows, killed.blank) == ("yes", 100, 0)
    assert killed.seen <= 200

"""The arithmetic of a plan, by hand; and its intervals, by what they hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.estimate import StageLoad, StepCost, Throughput, Unmeasured, Writing, compared, estimate, fit
from tasks.prices import Price

NONE = Writing(missing=0, requests=10, left=1000, candidates=20, passed=10)
TOPICS = Writing(missing=0, requests=7, left=0, candidates=20, passed=10)
# Two seconds for ten tokens, whatever the load: 0.2 s a token.
PACE = {"m": Throughput(places=4, requests=[(10.0, 1.0, 2.0), (10.0, 5.0, 2.0), (20.0, 3.0, 4.0)])}


def measure(rows: int = 10, accepted: int = 10, calls: float = 1.0, sd: float = 0.0) -> StepCost:
    return StepCost(rows, accepted, (calls, 0.0), (100.0, sd), (10.0, sd))


def stage(name: str, after: int | None = 0, pending: int = 0, **fields: object) -> StageLoad:
    given = {"measure": measure(), "model": "m", "saved": 0} | fields
    before = () if after is None else (after,)
    return StageLoad(name=name, after=before, pending=pending, **given)  # type: ignore[arg-type]


WRITER = stage("write", None, writing=NONE)


def test_rows_flow_down_the_line_as_they_are_accepted() -> None:
    stages = [
        WRITER,
        stage("answer", pending=40, measure=measure(accepted=5, calls=1.5)),
        stage("revise", after=1, pending=3),
        stage("revise", after=2),
    ]
    rows = {row["step"]: row for row in estimate(stages, PACE)}
    # 40 asked with half a retry each, half of them accepted: 20 and the 3 that wait, and all of these once more.
    assert [rows[step]["calls"] for step in ("write", "answer", "revise", "total")] == [0, 60, 46, 106]
    assert (rows["revise"]["tokens_in"], rows["revise"]["tokens_out"]) == (4600, 460)
    # 46 replies of 10 tokens at 0.2 s, four at a time.
    assert rows["revise"]["minutes"] == pytest.approx(46 * 2 / 4 / 60)
    # All that the engine does, and once through the line: three replies one after the other.
    assert rows["total"]["minutes"] == pytest.approx((46 + 40) * 2 / 4 / 60 + 3 * 2 / 60)


def test_whole_rounds_are_written_until_the_gate_has_accepted_enough() -> None:
    # Two candidates a request, half of them accepted: one instruction a request.
    writing = Writing(missing=25, requests=10, left=1000, candidates=20, passed=10)
    stages = [stage("write", None, pending=4, writing=writing), stage("answer")]
    rows = {row["step"]: row for row in estimate(stages, PACE)}
    assert (rows["write"]["calls"], rows["answer"]["calls"]) == (34, 25)
    # Jeffreys' 90 % of 10 in 20 is 0.32 to 0.68: 25 instructions take 18 to 39 requests, in rounds of ten after four.
    assert (rows["write"]["calls_low"], rows["write"]["calls_high"]) == (24, 44)
    few = replace(stages[0], writing=replace(writing, left=20))
    short = estimate([few, stages[1]], PACE)
    assert (short[0]["calls"], short[1]["calls"]) == (14, 14)


def test_what_each_writer_brings_goes_down_the_same_line() -> None:
    first = Writing(missing=25, requests=10, left=1000, candidates=20, passed=10)  # one instruction a request
    second = Writing(missing=8, requests=4, left=1000, candidates=20, passed=5, hints=50)  # half of one
    stages = [
        stage("write", None, writing=first),
        stage("topics", None, pending=7, writing=TOPICS),
        stage("ask", 1, writing=second),
        stage("answer", pending=2),
    ]
    rows = {row["step"]: row for row in estimate(stages, PACE)}
    assert [rows[step]["calls"] for step in ("write", "topics", "ask", "answer")] == [30, 7, 16, 35]
    assert rows["answer"]["calls_low"] <= 35 <= rows["answer"]["calls_high"]


def test_no_more_is_asked_than_there_are_hints() -> None:
    # Seven requests of two topics, half of them accepted: seven hints come to the five that are known, two a request.
    asks = Writing(missing=100, requests=4, left=1000, candidates=20, passed=10, hints=5, count=2)
    stages = [
        WRITER,
        stage("topics", None, pending=7, writing=TOPICS),
        stage("ask", 1, pending=3, writing=asks),
        stage("answer"),
    ]
    rows = {row["step"]: row for row in estimate(stages, PACE)}
    assert [rows[step]["calls"] for step in ("topics", "ask", "answer")] == [7, 6, 6]
    assert rows["ask"]["calls_low"] < 6 < rows["ask"]["calls_high"]


def test_a_round_that_is_begun_is_asked_whole() -> None:
    rows = estimate([stage("write", None, pending=4, writing=NONE), stage("answer")], PACE)
    assert [row["calls"] for row in rows] == [4, 0, 4]


def test_a_stage_that_takes_a_part_of_its_rows_is_asked_for_that_part() -> None:
    stages = [
        WRITER,
        stage("classify", pending=80),
        stage("left", after=1, pending=2, due=(3, 4)),
        stage("right", after=1, due=(1, 4), passed_on=(2, 4)),
        replace(stage("answer"), after=(2, 3)),
    ]
    rows = {row["step"]: row for row in estimate(stages, PACE)}
    assert [rows[step]["calls"] for step in ("left", "right", "answer")] == [62, 20, 72]
    assert rows["right"]["calls_low"] < 20 < rows["right"]["calls_high"]


def test_what_a_stage_passes_on_unasked_comes_to_the_next() -> None:
    inspected = stage("inspect", pending=40)
    corrected = stage("correct", after=1, due=(1, 4), skippable=True, measure=measure(accepted=5))
    rows = {row["step"]: row for row in estimate([WRITER, inspected, corrected, stage("rate", after=2)], PACE)}
    # Ten are corrected, and half of these are lost; thirty are not due.
    assert [rows[step]["calls"] for step in ("correct", "rate")] == [10, 35]


def test_a_stage_that_took_no_row_so_far_is_expected_to_take_none() -> None:
    unknown = stage("correct", after=1, due=(0, 5), skippable=True, measure=None)
    rows = {row["step"]: row for row in estimate([WRITER, stage("a", pending=9), unknown, stage("b", 2)], PACE)}
    assert (rows["correct"]["calls"], rows["correct"]["calls_high"], rows["b"]["calls"]) == (0, 0, 9)


def test_an_interval_narrows_as_rows_are_measured_and_holds_the_likely_value() -> None:
    widths = []
    for rows in (5, 50, 5000):
        found = estimate([WRITER, stage("answer", pending=200, measure=measure(rows, rows, sd=4.0))], PACE)[1]
        assert found["tokens_out_low"] < found["tokens_out"] == 2000 < found["tokens_out_high"]
        widths.append(found["tokens_out_high"] - found["tokens_out_low"])
    assert widths == sorted(widths, reverse=True)
    # Student's t with 4 degrees is 2.13 at 95 %: 200 × 4 × √(1/5 + 1/200) each way.
    assert widths[0] == pytest.approx(2 * 2.13 * 200 * 4 * (1 / 5 + 1 / 200) ** 0.5, rel=0.1)


@pytest.mark.flow
def test_nine_of_ten_intervals_hold_what_then_happens() -> None:
    rng, within = np.random.default_rng(7), 0
    for _ in range(200):
        tokens = rng.normal(100, 20, 205)
        seen, to_come = tokens[:5], tokens[5:]
        known = StepCost(5, 5, (1.0, 0.0), (1.0, 0.0), (float(seen.mean()), float(seen.std(ddof=1))))
        row = estimate([WRITER, stage("answer", pending=200, measure=known)], PACE)[1]
        within += row["tokens_out_low"] <= to_come.sum() <= row["tokens_out_high"]
    assert 0.84 < within / 200 < 0.96


def test_the_pace_is_found_from_requests_at_several_loads() -> None:
    requests = np.array([(n, load, n * (0.5 + 0.25 * load)) for n in (5, 10, 20) for load in (1, 4, 9)])
    assert fit(requests) == pytest.approx((0.5, 0.25))
    # An engine that answers no slower under load, or one that only shares itself out.
    assert fit(np.array([(10, 1, 5), (10, 9, 4)])) == pytest.approx((0.45, 0))
    assert fit(np.array([(10, 1, 0.5), (10, 9, 9)]))[0] == 0


def test_engines_work_side_by_side() -> None:
    paces = PACE | {"other": PACE["m"]}
    alone = estimate([WRITER, stage("a", pending=80), stage("b", pending=40)], PACE)[-1]
    apart = estimate([WRITER, stage("a", pending=80), stage("b", pending=40, model="other")], paces)[-1]
    assert (alone["model"], apart["model"]) == ("m", None)
    assert alone["minutes"] - apart["minutes"] == pytest.approx(40 * 2 / 4 / 60)


def test_cached_tokens_have_a_price_of_their_own() -> None:
    known = StepCost(10, 10, (1.0, 0.0), (100.0, 0.0), (10.0, 0.0), cached=0.4)
    for price, each in (({"in": 1, "out": 2, "cached": 0.5}, 60 + 20 + 20), ({"in": 1, "out": 2}, 100 + 20)):
        priced = stage("answer", pending=1000, measure=known, price=Price.model_validate(price))
        write = stage("write", None, price=Price.model_validate(price))
        assert estimate([write, priced], PACE)[1]["money"] == pytest.approx(1000 * each / 1e6)


def test_what_was_never_measured_cannot_be_estimated() -> None:
    with pytest.raises(Unmeasured, match="revise"):
        estimate([WRITER, stage("answer", pending=5), stage("revise", after=1, measure=None)], PACE)
    idle = estimate([WRITER, stage("answer", measure=None)], PACE)
    assert idle[-1]["calls"] == 0


def test_the_summary_says_how_it_held() -> None:
    summary = compared({"calls": 7400, "minutes": 41.0}, {"calls": 7488.0, "minutes": 39.04})
    assert summary == "planned 7,400 calls, 41 min; took 7,488, 39 min"

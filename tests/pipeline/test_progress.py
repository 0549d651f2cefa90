"""How far a run is: what is known of the whole, and when a time is estimated and when not."""

from __future__ import annotations

import re
from io import StringIO
from itertools import pairwise

import pytest

from alignery.pipeline.progress import ENOUGH, PLAIN_AT_MOST_S, StepProgress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def run(seconds: float, rows: int, total: int, *, walk: bool, final: bool = True) -> str:
    """The last plain line of a run that did so many rows of one step in so many seconds."""
    clock, out = Clock(), StringIO()
    progress = StepProgress(out, clock)
    with progress:
        progress.expect("respond.answer", total)
        if walk:
            progress.target(total, total, final, ())
        clock.now += 30  # a model is loaded, which is no request's time
        for _ in range(rows):
            clock.now += seconds / rows
            progress.tick("respond.answer", took_s=seconds / rows)
            if walk:
                progress.walked(requests=1)
    return out.getvalue().splitlines()[-1]


def test_the_whole_has_its_total_its_pace_and_about_how_long_it_will_take() -> None:
    line = run(60, 60, 240, walk=True)
    assert line == "   90 s · 60/240 instructions · about 3 min left · 1 requests/s · respond.answer 60/240"


def test_a_step_whose_requests_are_all_known_says_it_itself() -> None:
    assert run(60, 60, 90, walk=False).endswith("respond.answer 60/90 (about 30 s left)")


@pytest.mark.parametrize(
    ("seconds", "rows", "final"), [(60, ENOUGH - 1, True), (4, 100, True), (60, 60, False)], ids=["few", "soon", "more"]
)
def test_no_time_is_estimated_before_enough_is_known(seconds: float, rows: int, final: bool) -> None:
    line = run(seconds, rows, 1000, walk=True, final=final)
    assert f"{rows}/1000 instructions" in line
    assert "left" not in line


def test_what_a_run_before_did_is_no_part_of_the_pace() -> None:
    clock, out = Clock(), StringIO()
    with StepProgress(out, clock) as progress:
        progress.target(1000, 1000, True, ())
        progress.finished_before(900)
        progress.expect("respond.answer", 100, done=10)
        for _ in range(10):
            progress.walked(requests=1)  # from answers that the lake had
        for _ in range(40):
            clock.now += 1
            progress.tick("respond.answer", took_s=1.0)
            progress.walked(requests=1)
    assert "950/1000 instructions · about 50 s left" in out.getvalue().splitlines()[-1]


def test_what_is_on_its_way_and_what_is_still_to_be_written_counts() -> None:
    clock, out = Clock(), StringIO()
    with StepProgress(out, clock) as progress:

        def asked(step: str, times: int) -> None:
            progress.expect(step, times)
            for _ in range(times):
                clock.now += 1
                progress.tick(step, took_s=1.0)

        asked("self_instruct.generate", 10)
        progress.target(100, 30, True, {"self_instruct.generate"})
        asked("respond.answer", 30)
        asked("aligner.correct", 25)
        for _ in range(25):
            progress.walked(requests=2)
        progress._say()
        assert "left" not in out.getvalue(), "of what a written instruction takes nothing is known yet"
        asked("self_instruct.generate", 10)
        progress.target(100, 60, True, {"self_instruct.generate"})
    # 158 s: 200 requests of 100 instructions but the 55 that were sent, and 40 times a third of one to write the rest.
    assert "about 3 min left" in out.getvalue().splitlines()[-1]


def test_the_longer_a_run_the_rarer_its_lines_yet_a_minute_apart_at_most() -> None:
    clock, out = Clock(), StringIO()
    with StepProgress(out, clock) as progress:
        progress.expect("respond.answer", 10**6)
        for _ in range(10**4):
            clock.now += 1
            progress.tick("respond.answer")
    at = [int(line.split()[0]) for line in out.getvalue().splitlines()]
    apart = [after - before for before, after in pairwise(at)][:-1]
    assert apart[:5] == [5] * 5
    assert max(apart) == PLAIN_AT_MOST_S
    assert sorted(apart) == apart
    assert len(at) < 300


def bars(monkeypatch: pytest.MonkeyPatch, width: int, **environment: str) -> str:
    for name, value in ({"COLUMNS": str(width), "TERM": "xterm-256color"} | environment).items():
        monkeypatch.setenv(name, value)
    clock, out = Clock(), Terminal()
    with StepProgress(out, clock) as progress:
        progress.target(123456, 123456, True, ())
        for step in ("constitutional.critique", "self_instruct.generate"):
            progress.expect(step, 123456)
            for _ in range(ENOUGH * 2):
                clock.now += 1
                progress.tick(step, took_s=1.0)
                progress.walked(requests=1)
        progress.spend(12.345, "EUR")
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_on_a_terminal_no_number_is_broken(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", bars(monkeypatch, width)).replace("\r", "\n")
    lines = [line.rstrip() for line in shown.splitlines() if line.strip()]
    assert [line for line in lines if len(line) > width] == []
    assert re.search(r"^80 s · 80/123456 instructions · about 34\.\d h left", lines[-3])
    assert [line.split()[-1] for line in lines[-2:]] == ["40/123456"] * 2
    assert len(lines[-3:]) == 3
    if width > 60:
        assert "12.35 EUR" in lines[-3]
        assert "constitutional.critique" in lines[-2]


def test_without_colour_there_is_none_and_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
    assert colour.search(bars(monkeypatch, 80))
    assert not colour.search(bars(monkeypatch, 80, NO_COLOR="1"))
    plain = bars(monkeypatch, 80, TERM="dumb")
    assert "\x1b" not in plain
    assert "80/123456 instructions" in plain


def test_money_is_what_the_priced_models_took() -> None:
    out = StringIO()
    with StepProgress(out, Clock()) as progress:
        progress.expect("respond.answer", 1)
        progress.spend(0.00123, "USD")
        progress.spend(0.00001, "USD")
    assert "0.0012 USD" in out.getvalue()

"""Plans on a real lake: what the probe asks, what is estimated to the number, and how it is kept and compared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner
from works import ACCEPT, TYPES, Works, speak

from alignery.cli.main import app
from alignery.config.preset import load
from alignery.pipeline.estimate import ROWS, Estimate, estimate_refresh
from alignery.pipeline.executor import RejectLimitExceeded
from alignery.pipeline.runs.refreshing import run_refresh
from prompts import Message
from tasks.engines import Sampling, ScriptedEngine
from tasks.methods.instances.method import Config as Instances
from tasks.methods.red_team.method import Config as RedTeam
from tasks.prices import PriceError
from warehouse import Lake
from warehouse.query import estimates

ROUNDS = 2
WIDER = {"accept": 30, "max_candidates": 200}
STEPS = ("self_instruct.generate", "respond.answer", "constitutional.critique", "constitutional.revise",
         "self_align.answer", "aligner.correct")  # fmt: skip


def column(foresight: Estimate, name: str) -> dict[str, object]:
    return {row["step"]: row[name] for row in foresight.rows}


def test_five_rows_a_step_are_asked_and_the_rest_is_estimated_to_the_number(works: Works) -> None:
    foresight = asyncio.run(works.plan(**WIDER))
    asked = works.rows("SELECT step, count(*) AS n FROM attempts GROUP BY step")
    assert {row["step"]: row["n"] for row in asked} == dict(zip(STEPS, (5, 5, 10, 10, 5, 5), strict=True))
    assert foresight.sent == len(works.engine.calls) == 40

    # 12 requests of three instructions each give the 30 that are wanted, in rounds of 4.
    expected = dict(zip(STEPS, (7, 25, 50, 50, 25, 25), strict=True)) | {"total": 182}
    assert column(foresight, "calls") == expected
    assert set(column(foresight, "source").values()) == {"probe"}
    assert column(foresight, "saved")["total"] == 40
    for row in foresight.rows:
        for name in ("calls", "tokens_in", "tokens_out", "minutes"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert row["money"] is row["currency"] is row["priced_on"] is None


def test_the_refresh_that_follows_asks_the_rest_and_nothing_twice(works: Works) -> None:
    foresight = asyncio.run(works.plan(**WIDER))
    planned = {call.sampling.seed for call in works.engine.calls if call.sampling}
    line = asyncio.run(works.walk(**WIDER))
    assert len(works.engine.calls) == 182
    assert not planned & {call.sampling.seed for call in works.engine.calls if call.sampling}
    assert len(line.accepted[:30]) == 30
    # What was answered for the probe is part of the refresh, and not beside it.
    assert works.rows("SELECT count(*) AS n FROM responses WHERE kind = 'base'") == [{"n": 30}]

    held = works.rows(f"SELECT * FROM plan_vs_actual WHERE plan_id = '{foresight.plan_id}'")
    calls = {row["step"]: row for row in held if row["figure"] == "calls"}
    assert {step: row["actual"] for step, row in calls.items()} == column(foresight, "calls")
    assert {row["ratio"] for row in calls.values()} == {1.0}
    assert all(row["within"] for row in calls.values())
    tokens = works.rows("SELECT sum(tokens_out)::DOUBLE AS n FROM attempts WHERE run_id ="
                        " (SELECT id FROM runs WHERE flow = 'refresh' LIMIT 1)")  # fmt: skip
    assert next(r["actual"] for r in held if (r["step"], r["figure"]) == ("total", "tokens_out")) == tokens[0]["n"]


def with_red_team(works: Works, topics: int, **fields: object) -> None:
    """Two types that come with so many topics each, and questions on two pairs of type and topic to a request."""
    types = [type | {"topics": [f"{type['name'].title()} {n}" for n in range(topics)]} for type in TYPES]
    (works.words / "red_team/types.yaml").write_text(yaml.safe_dump({"types": types}))
    more = {"rounds": 2, "requests_per_type": 3, "count": 5}
    config = RedTeam.model_validate({"accept": 20, "count": 2, "requests_per_round": 4, "topics": more} | fields)
    works.preset = works.preset.model_copy(update={"line": works.preset.line.model_copy(update={"red_team": config})})


def check_that_it_holds(works: Works, foresight: Estimate, **changes: Any) -> None:
    """The refresh takes just the calls that were estimated, and none that was sent before."""
    planned = {call.sampling.seed for call in works.engine.calls if call.sampling}
    asyncio.run(works.walk(**changes))
    assert not planned & {call.sampling.seed for call in works.engine.calls if call.sampling}
    assert len(works.engine.calls) == column(foresight, "calls")["total"]
    held = works.rows(f"SELECT * FROM plan_vs_actual WHERE plan_id = '{foresight.plan_id}' AND figure = 'calls'")
    assert {row["step"]: row["actual"] for row in held} == column(foresight, "calls")
    assert {row["ratio"] for row in held if row["estimated"]} == {1.0}
    assert all(row["within"] for row in held)


@pytest.mark.flow
def test_questions_of_red_teaming_are_estimated_with_their_topics(works: Works) -> None:
    with_red_team(works, topics=8)
    foresight = asyncio.run(works.plan(**WIDER))
    asked = works.rows("SELECT step, count(*) AS n FROM attempts GROUP BY step")
    steps = (STEPS[0], "red_team.topics", "red_team.questions", *STEPS[1:])
    assert {row["step"]: row["n"] for row in asked} == dict(zip(steps, (5, 5, 5, 5, 10, 10, 5, 5), strict=True))
    # Twelve requests for topics; ten of two questions give the 20 that are wanted, in rounds of four; 50 walk on.
    expected = dict(zip(steps, (7, 7, 7, 45, 90, 90, 45, 45), strict=True)) | {"total": 336}
    assert column(foresight, "calls") == expected
    assert foresight.message is None
    check_that_it_holds(works, foresight, **WIDER)


@pytest.mark.flow
def test_no_question_is_asked_that_the_refresh_would_ask_otherwise(works: Works) -> None:
    with_red_team(works, topics=1)
    foresight = asyncio.run(works.plan(**WIDER))
    # Two topics are known, one to a type: enough for one request, and the round of four goes on with those to come.
    assert (works.asked("red_team/topics"), works.asked("red_team/questions")) == (ROWS, 1)
    assert (column(foresight, "calls")["red_team.questions"], column(foresight, "saved")["red_team.questions"]) == (
        11,
        1,
    )
    tokens = next(row for row in foresight.rows if row["step"] == "red_team.questions")
    assert tokens["tokens_out_low"] < tokens["tokens_out"] / 2, "one row does not tell how rows differ"
    assert asyncio.run(works.plan(**WIDER)).run_id is None, "the same plan again"
    assert works.engine.calls == []
    check_that_it_holds(works, foresight, **WIDER)


@pytest.mark.flow
def test_topics_that_will_not_do_are_reported(works: Works) -> None:
    with_red_team(works, topics=1, accept=200)
    foresight = asyncio.run(works.plan())
    assert foresight.message is not None
    # Two types with 1 + 2 × 3 × 5 topics each.
    assert (
        "so 60 more pairs of type and topic (line.red_team.topics.per_question, requests_per_type) give 60"
        in foresight.message
    )
    assert column(foresight, "calls")["red_team.questions"] == 30
    check_that_it_holds(works, foresight)


def test_a_target_of_questions_out_of_reach_is_reported(works: Works) -> None:
    with_red_team(works, topics=8, accept=50, max_candidates=10)
    foresight = asyncio.run(works.plan())
    assert foresight.message is not None
    assert "(line.red_team.max_candidates)" in foresight.message
    assert "self_instruct" not in foresight.message


@pytest.mark.flow
def test_red_teaming_that_comes_later_is_all_that_is_asked(works: Works) -> None:
    asyncio.run(works.walk())
    with_red_team(works, topics=8)
    foresight = asyncio.run(works.plan())
    assert (
        (works.asked("red_team/topics"), works.asked("red_team/questions")) == (ROWS, ROWS) == (5, foresight.sent - 5)
    )
    check_that_it_holds(works, foresight)


def test_a_round_is_asked_whole_though_the_probe_had_enough_of_it(works: Works) -> None:
    eight = {"accept": 24, "max_candidates": 100, "requests_per_round": 8}
    foresight = asyncio.run(works.plan(**eight))
    assert column(foresight, "calls")["self_instruct.generate"] == 3
    asyncio.run(works.walk(**eight))
    assert works.asked("self_instruct/generate") == 3


def test_the_same_plan_again_asks_nothing_and_leaves_no_trace(works: Works) -> None:
    first = asyncio.run(works.plan(**WIDER))
    before = works.snapshot()
    again = asyncio.run(works.plan(**WIDER))
    assert works.engine.calls == []
    assert (again.plan_id, again.run_id, again.sent) == (first.plan_id, None, 0)
    assert works.snapshot() == before


def test_a_step_that_was_run_before_is_not_asked(works: Works) -> None:
    asyncio.run(works.walk(accept=18, requests_per_round=6))
    foresight = asyncio.run(works.plan(**WIDER, requests_per_round=6))
    assert works.engine.calls == []
    assert set(column(foresight, "source").values()) == {"lake"}
    assert column(foresight, "rows")["respond.answer"] == 18
    assert column(foresight, "calls") == dict(zip(STEPS, (6, 12, 24, 24, 12, 12), strict=True)) | {"total": 90}


def test_one_changed_prompt_is_all_that_is_asked(works: Works) -> None:
    asyncio.run(works.walk())
    path = works.words / "aligner/correct.yaml"
    path.write_text(path.read_text().replace("question:", "the question:"))
    foresight = asyncio.run(works.plan())
    assert works.asked("aligner/correct") == len(works.engine.calls) == ROWS
    assert column(foresight, "calls") == dict.fromkeys(STEPS, 0) | {"aligner.correct": 7, "total": 7}


def test_a_changed_way_of_writing_asks_for_instructions_alone(works: Works) -> None:
    asyncio.run(works.walk())
    path = works.words / "self_instruct/generate.yaml"
    path.write_text(path.read_text().replace("topic:", "the topic:"))
    foresight = asyncio.run(works.plan(**WIDER))
    assert works.asked("self_instruct/generate") == len(works.engine.calls) == ROWS
    assert column(foresight, "calls") == dict(zip(STEPS, (7, 30, 60, 60, 30, 30), strict=True)) | {"total": 217}


def test_replies_that_will_be_read_again_are_saved(works: Works) -> None:
    asyncio.run(works.walk())
    line = works.preset.line
    assert line.self_align is not None
    stricter = line.self_align.model_copy(update={"leak_words": 9})
    works.preset = works.preset.model_copy(update={"line": line.model_copy(update={"self_align": stricter})})
    foresight = asyncio.run(works.plan())
    assert works.engine.calls == []
    assert set(column(foresight, "calls").values()) == {0}
    assert column(foresight, "saved")["self_align.answer"] == ACCEPT


@pytest.mark.flow
def test_what_takes_some_of_the_rows_is_estimated_by_the_share_it_took(works: Works) -> None:
    """Each instruction has instances in one of two forms, and only those without inputs are answered."""
    config = Instances(classification_demos=1, other_demos=1, demos=1)
    works.preset = works.preset.model_copy(update={"line": works.preset.line.model_copy(update={"instances": config})})
    foresight = asyncio.run(works.plan(**WIDER))
    asyncio.run(works.walk(**WIDER))
    calls = column(foresight, "calls")
    forms = [calls[f"self_instruct.{form}"] for form in ("input_first", "output_first")]
    assert abs(sum(forms) - calls["self_instruct.classify"]) <= 1, "each has one form, but for rounding"
    held = works.rows(f"SELECT * FROM plan_vs_actual WHERE plan_id = '{foresight.plan_id}' AND figure = 'calls'")
    within = {row["step"]: row["within"] for row in held}
    assert within["respond.answer"]
    assert within["self_instruct.input_first"]


def test_a_gate_that_rejects_makes_more_be_written_and_the_interval_holds_it(works: Works) -> None:
    def half(prompt: str | list[Message], sampling: Sampling) -> str:
        text = speak(prompt, sampling)
        return text.replace("3. Write of", "3. ") if text.startswith("1.") else text

    works.preset = works.changed(blacklist=("image",), min_words=9)
    works.engine = ScriptedEngine(half)
    foresight = asyncio.run(works.plan(**WIDER))
    asyncio.run(works.walk(**WIDER))
    writing = foresight.rows[0]
    assert writing["calls"] > 7
    assert writing["calls_low"] <= works.asked("self_instruct/generate") <= writing["calls_high"]
    assert writing["calls_low"] < writing["calls_high"]


def test_a_target_out_of_reach_is_reported(works: Works) -> None:
    foresight = asyncio.run(works.plan(accept=200, max_candidates=40))
    assert foresight.message is not None
    assert "will stop short" in foresight.message
    # The round in which the fortieth candidate is written is written whole: 4 rounds of 12, less the probe's five.
    assert column(foresight, "calls")["respond.answer"] == 48 - 5


def test_a_probe_that_gets_nothing_says_why(works: Works) -> None:
    works.engine = ScriptedEngine(
        lambda prompt, sampling: "" if (t := speak(prompt, sampling)).startswith("answer") else t
    )
    with pytest.raises(RejectLimitExceeded, match=r"aligner.correct: .*respond.answer: 5 × empty reply"):
        asyncio.run(works.plan(**WIDER))
    assert works.rows("SELECT count(*) AS n FROM attempts WHERE step = 'respond.answer'") == [{"n": 5}]
    assert works.rows("SELECT count(*) AS n FROM plans") == [{"n": 0}]


def priced(works: Works, **prices: object) -> None:
    path = works.home.parent / "prices.yaml"
    path.write_text(yaml.safe_dump({"date": "2026-01-31", "currency": "EUR", "models": prices}))
    works.preset = works.preset.model_copy(update={"prices": path})


@pytest.mark.flow
def test_money_comes_from_a_price_file_and_bears_its_date(works: Works) -> None:
    priced(works, generator={"in": 2.0, "out": 6.0})
    foresight = asyncio.run(works.plan(**WIDER))
    for row in foresight.rows:
        assert row["money"] == pytest.approx((row["tokens_in"] * 2 + row["tokens_out"] * 6) / 1e6, rel=1e-2)
        assert (row["currency"], row["priced_on"]) == ("EUR", "2026-01-31")
    asyncio.run(works.walk(**WIDER))
    held = works.rows("SELECT * FROM plan_vs_actual WHERE figure = 'money' AND step = 'total'")
    sums = works.rows("SELECT sum(tokens_in * 2 + tokens_out * 6) / 1e6 AS n FROM attempts WHERE run_id ="
                      " (SELECT id FROM runs WHERE flow = 'refresh' LIMIT 1)")  # fmt: skip
    assert held[0]["actual"] == pytest.approx(sums[0]["n"])


def test_a_model_without_a_price_is_named(works: Works) -> None:
    priced(works, other={"in": 2.0, "out": 6.0})
    with pytest.raises(PriceError, match=r"prices.yaml: models: got \['other'\], expected 'generator'"):
        works.preset.check()


def output_of(works: Works, *arguments: str) -> str:
    """What the command prints, of a preset file that is this one."""
    path = works.words.parent / "test.yaml"
    done = CliRunner().invoke(app, [*arguments, "--preset", str(path), "--home", str(works.home)])
    assert done.exit_code == 0, done.output
    return done.stdout


def served(works: Works, replies: Sequence[str]) -> None:
    """Let the preset file itself name a scripted engine."""
    path = works.words.parent / "test.yaml"
    preset = yaml.safe_load(path.read_text())
    preset["models"]["generator"]["replies"] = list(replies)
    preset["line"] = {"self_instruct": preset["line"]["self_instruct"], "respond": {}}
    path.write_text(yaml.safe_dump(preset))


def test_the_command_prints_the_plan_and_how_it_held(works: Works) -> None:
    served(works, [f"1. Say some{n} words about the {n} tea{n}" for n in range(40)])
    assert "No plan was made" in output_of(works, "plan", "--compare")
    printed = output_of(works, "plan")
    assert "respond.answer" in printed
    (sent,) = works.rows("SELECT count(*) AS n FROM attempts")
    assert f"The probe sent {sent['n']} requests" in printed
    assert "Prices" not in printed
    assert "No refresh has run since" in output_of(works, "plan", "--compare")
    rows = json.loads(output_of(works, "plan", "--json"))["rows"]
    assert [row["step"] for row in rows] == ["self_instruct.generate", "respond.answer", "total"]
    found = json.loads(output_of(works, "plan", "--compare", "--json"))
    assert {row["figure"] for row in found} == {"calls", "tokens_in", "tokens_out", "minutes"}
    assert {row["actual"] for row in found} == {None}


@pytest.mark.flow
def test_nano_is_estimated_and_the_refresh_says_how_it_held(tmp_path: Path) -> None:
    whole = load("nano")
    fewer = whole.line.self_instruct.model_copy(update={"accept": 60, "max_candidates": 400, "requests_per_round": 12})
    preset = whole.model_copy(update={"line": whole.line.model_copy(update={"self_instruct": fewer})})

    with Lake.open(tmp_path) as lake:
        foresight = asyncio.run(estimate_refresh(preset, lake))
        assert foresight.sent == 50
        summary = asyncio.run(run_refresh(preset, lake))
        calls, minutes = foresight.rows[-1]["calls"], foresight.rows[-1]["minutes"]
        assert summary.plan is not None
        assert summary.plan.startswith(f"planned {calls:,} calls, {minutes:.3g} min; took {summary.sent:,}, ")
        (total,) = [row for row in estimates.estimate_vs_actual(lake, foresight.plan_id)
                    if (row["step"], row["figure"]) == ("total", "calls")]  # fmt: skip
        assert total["actual"] == summary.sent
        assert 0.8 < total["ratio"] < 1.25
        assert asyncio.run(run_refresh(preset, lake)).plan is None, "nothing was sent, so nothing is said of the plan"

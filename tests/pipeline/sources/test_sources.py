"""The line with topic-guided red-teaming and with instances: exact counts on a real lake, again and after a failure."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from works import ACCEPT, Works, make, speak

from alignery.cli.render import trace as show_trace
from alignery.config.preset import load
from alignery.pipeline.refresh import RefreshPipeline
from nano.grammar import parse
from prompts import Message
from tasks.engines import Completion, EngineDown, Sampling, ScriptedEngine
from tasks.methods.base import New
from tasks.methods.instances.method import Config as Instances
from tasks.methods.red_team.method import Config as RedTeam
from tasks.methods.self_instruct.method import DUPLICATE
from warehouse import Lake
from warehouse.query.trace import trace

QUESTIONS = 10
TOPICS = {"rounds": 2, "requests_per_type": 3, "count": 5}
RED_TEAM = {"accept": QUESTIONS, "count": 2, "requests_per_round": 2, "topics": TOPICS}
INSTANCES = Instances(classification_demos=1, other_demos=1, demos=1)


def with_methods(works: Works, **methods: Any) -> Works:
    line = works.preset.line.model_copy(update=methods)
    works.preset = works.preset.model_copy(update={"line": line})
    return works


@pytest.fixture
def tested(works: Works) -> Works:
    return with_methods(works, red_team=RedTeam.model_validate(RED_TEAM))


@pytest.fixture
def instanced(works: Works) -> Works:
    return with_methods(works, instances=INSTANCES)


def records(works: Works) -> dict[str, list[str]]:
    """What every record table holds."""
    tables = ("instructions", "topics", "classifications", "instances", "responses", "revisions", "corrections")
    return {name: [str(row["id"]) for row in works.rows(f"SELECT id FROM {name} ORDER BY id")] for name in tables}


def test_questions_walk_the_line_as_other_instructions_do(tested: Works) -> None:
    """SELF-ALIGN (1), (2)."""
    line = asyncio.run(tested.walk())
    assert (line.reached, line.target) == (ACCEPT + QUESTIONS, ACCEPT + QUESTIONS)
    assert tested.asked("respond/answer") == ACCEPT + QUESTIONS
    rows = tested.rows("SELECT * FROM instructions WHERE origin = 'red_team' AND state = 'accepted'")
    assert len(rows) >= QUESTIONS
    assert {row["question_type"] for row in rows} == {"law", "art"}
    topics = {
        (row["question_type"], row["text"]) for row in tested.rows("SELECT * FROM topics WHERE state = 'accepted'")
    }
    assert {(row["question_type"], row["topic"]) for row in rows} <= topics | {("law", "Law"), ("art", "Art")}
    assert tested.rows("SELECT DISTINCT question_type FROM instructions WHERE origin = 'self_instruct'") == [
        {"question_type": None}
    ]
    answered = tested.rows("SELECT count(*) AS n FROM responses r JOIN instructions i ON i.id = r.instruction_id"
                           " WHERE i.origin = 'red_team' AND r.kind = 'base'")  # fmt: skip
    assert answered == [{"n": QUESTIONS}]
    assert "type:law" in {row["id"] for row in tested.rows("SELECT id FROM prompts")}


def test_every_candidate_stands_in_the_funnel_with_its_verdict(tested: Works) -> None:
    """Self-Instruct (9): counts by filter."""
    asyncio.run(tested.walk())
    counts = {row["step"]: row for row in tested.rows("SELECT * FROM funnel")}
    for step, table, where in (
        ("self_instruct.gate", "instructions", "origin = 'self_instruct'"),
        ("red_team.gate", "instructions", "origin = 'red_team'"),
        ("red_team.topics_gate", "topics", "true"),
    ):
        found = tested.rows(f"SELECT count(*) FILTER (state = 'accepted') AS accepted, count(*) AS rows_in FROM {table}"
                            f" WHERE {where}")[0]  # fmt: skip
        assert {name: counts[step][name] for name in found} == found
        assert counts[step]["rows_in"] == counts[step]["accepted"] + counts[step]["rejected"] > 0


def test_rounds_are_gated_in_their_order_whoever_answers_first(works: Works) -> None:
    """Two rounds are on their way and write the same; the first is answered last, and is the one that is accepted."""
    done = asyncio.Event()

    class Late(ScriptedEngine):
        async def generate(self, prompt: Any, sampling: Sampling) -> Completion:
            place, reply = len(self.calls), await super().generate(prompt, sampling)
            if place == 0:
                await asyncio.wait_for(done.wait(), timeout=60)
            elif place == 1:
                asyncio.get_running_loop().call_later(0.2, done.set)
            return reply

    works.engine = Late(lambda prompt, sampling: "1. Always the very same words here")
    asyncio.run(works.walk(requests_per_round=1, max_candidates=3, count=1))
    found = works.rows("SELECT i.state, a.seed FROM instructions i JOIN attempts a ON a.id = i.attempt_id")
    first = works.engine.calls[0].sampling
    assert first is not None
    assert [row["seed"] for row in found if row["state"] == "accepted"] == [first.seed]
    assert len(found) > 1


def test_what_an_earlier_run_accepted_is_not_accepted_again(works: Works) -> None:
    first = asyncio.run(works.walk())
    text = str(first.accepted[0]["text"])

    def repeat(prompt: str | list[Message], sampling: Sampling) -> str:
        new = speak(prompt, sampling)
        return f"{new}\n4. {text}" if new.startswith("1.") else new

    works.engine = ScriptedEngine(repeat)
    again = asyncio.run(works.walk(accept=2 * ACCEPT, count=4))
    assert [row["text"] for row in again.accepted].count(text) == 0 < len(again.accepted)
    rows = works.rows(f"SELECT state, reason, nearest FROM instructions WHERE text = '{text}'")
    assert {"state": "rejected", "reason": DUPLICATE, "nearest": text} in rows
    assert [row["state"] for row in rows].count("accepted") == 1


@pytest.mark.parametrize("methods", [{"red_team": RedTeam.model_validate(RED_TEAM)}, {"instances": INSTANCES}])
def test_the_same_again_sends_nothing(works: Works, methods: dict[str, Any]) -> None:
    with_methods(works, **methods)
    first = asyncio.run(works.walk())
    before = works.snapshot()
    again = asyncio.run(works.walk())
    assert works.engine.calls == []
    assert works.snapshot() == before
    assert again.accepted == first.accepted


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> tuple[Works, RefreshPipeline, int]:
    """A run with both methods that nothing interrupted, what it came to, and how many requests it sent."""
    works = make(tmp_path_factory.mktemp("straight"), empty)
    with_methods(works, red_team=RedTeam.model_validate(RED_TEAM), instances=INSTANCES)
    line = asyncio.run(works.walk())
    return works, line, len(works.engine.calls)


@pytest.mark.parametrize("down_after", [4, 13, *(pytest.param(n, marks=pytest.mark.flow) for n in (1, 40))])
def test_after_a_fall_it_comes_to_what_a_straight_run_comes_to(
    tested: Works, straight: tuple[Works, RefreshPipeline, int], down_after: int
) -> None:
    with_methods(tested, instances=INSTANCES)
    whole, expected, everything = straight
    tested.engine = ScriptedEngine(speak, down_after=down_after)
    with pytest.raises(EngineDown):
        asyncio.run(tested.walk())
    tested.engine = ScriptedEngine(speak)
    line = asyncio.run(tested.walk())
    assert line.accepted == expected.accepted
    assert records(tested) == records(whole)
    assert len(tested.engine.calls) == everything - down_after


def test_when_every_pair_was_asked_for_it_says_so(works: Works) -> None:
    few = RedTeam.model_validate(RED_TEAM | {"topics": TOPICS | {"rounds": 0}})
    with_methods(works, red_team=few)
    line = asyncio.run(works.walk())
    assert line.reached == ACCEPT + 2
    assert works.asked("red_team/topics") == 0
    short = [rounds.short for rounds in line.writing.rounds]
    assert short[0] is None
    assert short[1] is not None
    assert "2 of 10 red_team instructions accepted" in short[1]
    assert "topics.per_question" in short[1]


def test_few_questions_ask_for_few_topics_and_a_small_round(works: Works) -> None:
    few = RedTeam.model_validate(RED_TEAM | {"accept": 3, "requests_per_round": 16, "topics": {"count": 5}})
    with_methods(works, red_team=few)
    line = asyncio.run(works.walk())
    assert line.reached == ACCEPT + 3
    # Fifteen topics, five to a request: two requests of each type, in place of ten in each of five rounds.
    assert works.asked("red_team/topics") == 4
    assert works.asked("red_team/questions") == 3


def test_an_instruction_is_classified_and_has_instances_in_its_form(instanced: Works) -> None:
    """Self-Instruct (6), (7), on the line."""
    asyncio.run(instanced.walk())
    assert instanced.asked("self_instruct/generate_bare") == instanced.asked("self_instruct/generate") > 0
    assert instanced.asked("self_instruct/classify") == ACCEPT
    forms = instanced.rows("SELECT DISTINCT c.classification, i.form FROM instances i"
                           " JOIN classifications c USING (instruction_id) ORDER BY ALL")  # fmt: skip
    assert forms == [{"classification": False, "form": "input_first"}, {"classification": True, "form": "output_first"}]
    asked = instanced.asked("self_instruct/input_first") + instanced.asked("self_instruct/output_first")
    assert asked == ACCEPT


def test_only_an_instruction_without_inputs_is_answered_by_itself(instanced: Works) -> None:
    asyncio.run(instanced.walk())
    alone = instanced.rows("SELECT instruction_id FROM instances GROUP BY 1 HAVING bool_and(input = '') ORDER BY 1")
    answered = instanced.rows("SELECT DISTINCT instruction_id FROM responses ORDER BY 1")
    assert answered == alone
    assert 0 < len(alone) < ACCEPT
    taught = instanced.rows("SELECT instruction, input, output, classification FROM instructed")
    assert len(taught) == instanced.rows("SELECT count(*) AS n FROM instances")[0]["n"]
    assert {row["output"] for row in taught if row["classification"]} == {"good", "bad"}


def test_conflicting_instances_stand_in_the_lake_and_teach_nothing(instanced: Works) -> None:
    """Self-Instruct (8), on the line."""

    def contradict(prompt: str | list[Message], sampling: Sampling) -> str:
        text = speak(prompt, sampling)
        return text.replace(text.split("Input: ")[-1], text.split("Input: ")[1].split()[0]) if "Label" in text else text

    instanced.engine = ScriptedEngine(contradict)
    asyncio.run(instanced.walk())
    reasons = instanced.rows("SELECT DISTINCT reason FROM instances WHERE form = 'output_first'")
    assert [str(row["reason"]).split(":")[0] for row in reasons] == ["conflict"]
    assert instanced.rows("SELECT * FROM instructed WHERE classification") == []
    rejected = instanced.rows("SELECT step, text FROM rejects WHERE step = 'self_instruct.instances_gate'")
    assert len(rejected) == instanced.rows("SELECT count(*) AS n FROM instances WHERE state = 'rejected'")[0]["n"] > 0


def test_held_out_prompts_are_kept_out_of_questions_too(tested: Works) -> None:
    """Self-Instruct (10)."""
    first: RefreshPipeline = asyncio.run(tested.walk())
    asked = [row["text"] for row in first.accepted if row["question_type"]]
    tested.held_out = [str(asked[0])]
    again = asyncio.run(tested.walk())
    assert asked[0] not in {row["text"] for row in again.accepted}


def test_a_question_and_a_topic_can_be_traced_to_what_they_were_asked_with(
    tested: Works, capsys: pytest.CaptureFixture[str]
) -> None:
    line = asyncio.run(tested.walk())
    question = next(row["id"] for row in line.accepted if row["question_type"])
    topic = tested.rows("SELECT id FROM topics LIMIT 1")[0]["id"]
    with Lake.open(tested.home, read_only=True) as lake:
        for id in (question, topic):
            show_trace.trace(trace(lake, str(id)), full=True, json=False)
    output = capsys.readouterr().out
    assert all(f"“{text}”" in output for text in ("What is law made of today?", "Law"))
    assert "red_team · art" in output or "red_team · law" in output


@pytest.mark.flow
def test_questions_of_nano_walk_the_line_whatever_their_type(tmp_path: Path) -> None:
    from alignery.pipeline.runs.refreshing import run_refresh

    small = {"sampling": {"top_p": 1.0, "max_tokens": 96}, "topics": {"rounds": 0}, "requests_per_round": 5}
    config = RedTeam.model_validate(small | {"accept": 20, "count": 4, "seed_exemplars": 2, "new_exemplars": 1})
    nano = load("nano")
    line = nano.line.model_copy(
        update={"self_instruct": nano.line.self_instruct.model_copy(update={"accept": 40}), "red_team": config}
    )
    with Lake.open(tmp_path) as lake:
        summary = asyncio.run(run_refresh(nano.model_copy(update={"line": line}), lake))
        assert (summary.state, summary.accepted) == ("finished", 60)
        rows = lake.rows("SELECT question_type, topic, text FROM instructions WHERE origin = 'red_team'")
        answered = lake.rows("SELECT count(DISTINCT i.id) AS n FROM responses r JOIN instructions i"
                             " ON i.id = r.instruction_id WHERE i.origin = 'red_team'")  # fmt: skip
        again = asyncio.run(run_refresh(nano.model_copy(update={"line": line}), lake))
    assert {row["question_type"] for row in rows} == {"harm", "unknown", "upset", "howto"}
    assert answered == [{"n": 20}]
    assert again.sent == 0
    known = [intent for row in rows if (intent := parse(row["text"]))]
    assert len(known) > len(rows) / 2, "most of them are sentences of its world"


def test_each_run_that_finishes_brings_so_many_more_and_one_that_falls_brings_the_rest(works: Works) -> None:
    """`accept: {new: 12}`: nightly growth. A run that died half way is completed, and not started over."""
    more = {"accept": New(new=ACCEPT)}
    first = asyncio.run(works.walk(**more))
    assert (first.reached, first.target) == (ACCEPT, ACCEPT)
    there = len(works.rows("SELECT id FROM instructions WHERE state = 'accepted'"))

    def die(texts: str | list[Message], sampling: Sampling) -> str:
        if len(works.engine.calls) > 6:
            raise EngineDown("gone")
        return speak(texts, sampling)

    alive, works.engine = works.engine, ScriptedEngine(die, identity=works.engine.identity)
    with pytest.raises(EngineDown):
        asyncio.run(works.walk(**more))
    works.engine = alive
    second = asyncio.run(works.walk(**more))
    assert (second.reached, second.target) == (there + ACCEPT, there + ACCEPT)
    third = asyncio.run(works.walk(**more))
    assert third.target >= second.target + ACCEPT
    answered = works.rows("SELECT count(DISTINCT instruction_id) AS n FROM responses WHERE kind = 'base'")[0]["n"]
    assert answered == third.target

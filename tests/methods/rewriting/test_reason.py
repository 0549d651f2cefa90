"""Chains of thought and their vote: final answers are extracted, compared and counted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lake_rows import commit, instruction, record

from prompts import Library
from tasks.engines import Completion, ScriptedEngine
from tasks.filters.contamination import Contamination
from tasks.methods.reason.final import compared, final_of
from tasks.methods.reason.method import Config, solve, stages
from tasks.stage import Context
from tasks.step import Row
from warehouse import Lake

QUESTION = {"instruction_id": "i1", "instruction": "How many wheels have three bicycles?", "topic": "numbers"}


def test_k_chains_are_drawn_each_with_a_seed_of_its_own_and_only_on_the_topics_asked_for(ask: Callable) -> None:
    made = stages(Library(), Config(k=4, topics=("numbers",)), Context({}, Contamination([])))
    engine = ScriptedEngine(lambda prompt, sampling: f"By seed {sampling.seed}.\nAnswer: 6")
    records = [ask(one.step, [QUESTION], engine).records[0] for one in made]
    assert [record["number"] for record in records] == [1, 2, 3, 4]
    assert len({call.sampling.seed for call in engine.calls if call.sampling}) == 4
    assert (Config().k, Config().sampling.temperature) == (8, 0.7)
    assert [one.when(QUESTION) for one in made] == [True] * 4
    assert not made[0].when(QUESTION | {"topic": "birds"})


@pytest.mark.parametrize(
    ("reply", "thought", "answer"),
    [
        ("Two each, so 6.\nAnswer: 6", "Two each, so 6.", "6"),
        ("Thought: Two each, so 6. Answer: 6", "Two each, so 6.", "6"),
        ("**Thought:** Is the answer: 6? Yes.\nAnswer: 6", "Is the answer: 6? Yes.", "6"),
        ("Two each.\n\n**Answer:** 6 wheels.", "Two each.", "6 wheels."),
        ("Answer: 5? No.\nThree times two.\nanswer: 6\n", "Answer: 5? No.\nThree times two.", "6"),
        ("A hash.\n> **Answer: C#**", "A hash.", "C#"),
        ("A product.\n`Answer`: `2*my_n > 3`", "A product.", "2*my_n > 3"),
        ("Two each.\nAnswer：6", "Two each.", "6"),
        ("Two each.\n\n**Final Answer:** 6", "Two each.", "6"),
        ("Two each.\n- Answer: 6", "Two each.", "6"),
        ("Two each.\n\n### Answer\n\n6", "Two each.", "6"),
        ("Two each.\n\n**Final Answer**\n**6**", "Two each.", "6"),
        ("Two each.\nAnswer:\n6\n", "Two each.", "6"),
        ("Two each. The final answer: 6", "Two each.", "6"),
        ("思考。\nAnswer： ６", "思考。", "６"),
        ("Two each.\nAnswer:\n6\nor 7", None, None),  # which?
        ("Two each.\n### Answers\n6", None, None),
        ("Two each.\nAnswer\n6", None, None),
        ("Answer:\n6", None, None),
        ("Answer: 6", None, None),
        ("Three times two is 6.", None, None),
        ("Three times two.\nAnswer:", None, None),
    ],
)
def test_the_answer_stands_on_the_last_line_after_a_thought(reply: str, thought: str, answer: str) -> None:
    assert final_of(reply) == (None if answer is None else (thought, answer))


def test_answers_that_say_the_same_are_one_and_others_are_not() -> None:
    assert {compared(text) for text in ("6", "6.0", " 6. ", "The answer is 6.", "= 6", '"6"')} == {"6"}
    assert {compared(text) for text in ("$1,200", "1200", "1200.00")} == {"1200"}
    assert {compared(text) for text in ("A car", "the car.", "car")} == {"car"}
    assert len({compared(text) for text in ("6", "60", "-6", "6 wheels", "six", "0.6")}) == 6
    assert compared("0.50 km") == "0.5 km"
    assert compared("−5") == compared("-5.0")
    assert {compared(text) for text in ("１２", "12", "$12$", "\\boxed{12}", "$\\boxed{12}$.", "\\(12\\)", "(12)")} == {
        "12"
    }
    assert {compared(text) for text in ("(B)", "B", "b.", "[B]", "Ｂ。", "\\text{B}")} == {"b"}
    assert len({compared(text) for text in ("[5]", "5", "(0, 1)", "[0, 1]", "0, 1", "{5}", "f(5)", "(5)(6)")}) == 8
    assert compared("$5 and $6") == "5 and $6"
    assert len({compared(text) for text in ("1,2,3", "123", "1,5", "15", "1,234,5", "12345", "C#", "C")}) == 8


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        ("Three times two.\nAnswer: 6", "accepted"),
        ("It is 6, I think.", "unparsed"),
        (f"Long.\nAnswer: {'word ' * 60}", "rejected"),
        (Completion("Three times two.\nAnswer: 6", "length", 9, 1, 0.1), "rejected"),
    ],
)
def test_a_chain_without_a_short_answer_is_none(ask: Callable, reply: str | Completion, state: str) -> None:
    outcome = ask(solve(Library(), Config(), 1), [QUESTION], ScriptedEngine([reply] * 3))
    assert outcome.attempts[-1]["state"] == state
    assert [one["text"] for one in outcome.records] == (["Three times two.\nAnswer: 6"] if state == "accepted" else [])


@pytest.fixture(scope="module")
def lake(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    votes = {
        "most": ["6", "6", "6", "5"],
        "tie": ["6", "6", "5", "5"],
        "low": ["6", "6", "5", "4", "3"],
        "few": ["6", "6"],
        "half": ["6", "6", "5", "4"],
    }
    with Lake.open(shutil.copytree(empty, tmp_path_factory.mktemp("votes") / "home")) as lake:
        commit(
            lake,
            instructions=[instruction(name) for name in votes],
            rationales=[
                record(f"{name}-{n}", [name], instruction_id=name, number=n, final=final)
                | {"text": f"way {min(n, 2)} of {name}\nAnswer: {final}"}
                for name, finals in votes.items()
                for n, final in enumerate(finals, 1)
            ],
        )
        yield lake


def test_the_majority_wins_and_ties_low_agreement_and_few_answers_are_rejected_with_their_reason(lake: Lake) -> None:
    found = {row["instruction_id"]: row for row in lake.rows("SELECT * FROM votes")}
    assert {name: (row["state"], row["reason"]) for name, row in found.items()} == {
        "most": ("accepted", None),
        "half": ("accepted", None),
        "tie": ("rejected", "a tie"),
        "low": ("rejected", "low agreement"),
        "few": ("rejected", "fewer than three answers"),
    }
    most = found["most"]
    assert (most["final"], most["votes"], most["chains"], most["agreement"]) == ("6", 3, 4, 0.75)


def test_every_distinct_chain_of_the_majority_is_learnt_and_one_of_each_is_drawn(lake: Lake) -> None:
    rows: list[Row] = lake.rows("SELECT * FROM chain_of_thought WHERE instruction_id = 'most'")
    assert sorted(row["messages"][1]["content"] for row in rows) == [
        "way 1 of most\nAnswer: 6",
        "way 2 of most\nAnswer: 6",
    ], "the same words once, and no chain of the minority"
    assert {row["instruction_id"] for row in lake.rows("SELECT * FROM chain_of_thought")} == {"most", "half"}
    assert sorted(row["instruction_id"] for row in lake.rows("SELECT * FROM voted")) == ["half", "most"]

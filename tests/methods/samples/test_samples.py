"""Samples: K answers of each model, each with a seed of its own. Items are facts/methods section 6's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from prompts import Library
from tasks.engines import Completion, ScriptedEngine
from tasks.filters.contamination import Contamination
from tasks.methods.samples.method import Config, sample, stages
from tasks.stage import Context
from tasks.step import Row


def test_every_model_answers_k_times_with_seeds_of_its_own(ask: Callable, instruction: Row) -> None:
    """RAFT (2), UltraFeedback (1)"""
    config = Config(k=3, models=("generator", "other"))
    assert (config.sampling.temperature, Config().k) == (1.0, 4)
    made = stages(Library(), config, Context({}, Contamination([])))
    assert [(one.name, one.model) for one in made][2:4] == [
        ("samples.sample.generator.3", "generator"),
        ("samples.sample.other.1", "other"),
    ]
    engine = ScriptedEngine(lambda prompt, sampling: f"Once in {sampling.seed} days.")
    records = [ask(one.step, [instruction], engine).records[0] for one in made]
    assert [(record["model"], record["number"]) for record in records][1:4] == [
        ("generator", 2),
        ("generator", 3),
        ("other", 1),
    ]
    assert len({call.sampling.seed for call in engine.calls if call.sampling}) == 6, (
        "also where one model has two names"
    )
    assert len({record["id"] for record in records}) == 6
    assert all(record["parents"] == ["i1"] for record in records)


def test_more_samples_ask_for_the_further_ones_alone(instruction: Row) -> None:
    library, engine = Library(), ScriptedEngine(["x"])

    def keys(k: int) -> list[str]:
        context = Context({}, Contamination([]))
        return [one.step.work_key(instruction, engine) for one in stages(library, Config(k=k), context)]

    assert keys(5)[:4] == keys(4)
    assert len({*keys(5)}) == 5


def test_a_sample_is_the_bare_answer_and_goes_on_to_be_scored(ask: Callable, instruction: Row) -> None:
    step = sample(Library(), Config(), "generator", 2)
    engine = ScriptedEngine([" Once a month.\n"])
    (record,) = ask(step, [instruction], engine).records
    assert engine.calls[0].prompt == [{"role": "user", "content": instruction["instruction"]}]
    assert (record["text"], step.table) == ("Once a month.", "samples")
    row = step.next_row(instruction, record)
    assert (row["sample_id"], row["sample"]) == (record["id"], "Once a month.")


@pytest.mark.parametrize("reply", ["", "How do I water a cactus in winter?", Completion("Once", "length", 9, 1, 0.1)])
def test_what_is_no_answer_is_no_sample(ask: Callable, instruction: Row, reply: str | Completion) -> None:
    """RAFT (7)"""
    outcome = ask(sample(Library(), Config(), "generator", 1), [instruction], ScriptedEngine([reply]))
    assert outcome.records == []
    assert outcome.attempts[-1]["state"] == "rejected"


def test_a_model_is_named_once() -> None:
    with pytest.raises(ValidationError, match="got generator twice"):
        Config(models=("generator", "generator"))
    with pytest.raises(ValidationError, match="models"):
        Config(models=())

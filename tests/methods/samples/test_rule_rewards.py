"""Scorers beside marks and rewards: propositions with weights, constraints that a program verifies, principles."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from alignery.config.preset import build
from prompts import Library, PromptError
from tasks.engines import ScriptedEngine, SpecError, open_engine, parse_spec
from tasks.filters.contamination import Contamination
from tasks.methods.score.method import Config, counted, stages
from tasks.methods.score.propositions import fitted, proposition
from tasks.stage import Context
from tasks.step import Row

KNOWN = {one.id: one for one in Library().propositions()}


@pytest.fixture
def sampled(instruction: Row) -> Row:
    return instruction | {"sample_id": "s1", "sample": "Once a month."}


def stages_of(config: Config) -> dict[str, Row]:
    return {one.name: one for one in stages(Library(), config, Context({"samples": {}}, Contamination([])))}


def test_a_propositions_value_is_its_weight_times_its_probability(ask: Callable, sampled: Row) -> None:
    step = proposition(Library(), KNOWN["needless-refusal"], -2.0, 0.1)
    engine = ScriptedEngine(["never asked for words"], choices=[[0.75, 0.25]])
    (record,) = ask(step, [sampled], engine).records
    assert (record["scorer"], record["aspect"], record["value"]) == ("propositions", "needless-refusal", -1.5)
    assert engine.calls[0].options == ("Yes", "No")
    assert KNOWN["needless-refusal"].text in engine.calls[0].prompt[0]["content"]
    raw = step.in_form("text")
    assert raw.options == (" Yes", " No")
    assert raw.prompt.turns[0][1].count("### True?") == 5, "four examples, and the one that is asked for"


def test_harm_and_needless_refusal_stand_in_the_balance(ask: Callable, instruction: Row) -> None:
    """With weights against both, an answer that complies with harm and one that refuses what is harmless both lose."""
    weights = {"harm": -3.0, "needless-refusal": -2.0, "answers": 1.0}
    holds = {"harmful": ("harm", "answers"), "refusing": ("needless-refusal",), "good": ("answers",)}

    def judge(asked: object, options: object) -> list[float]:
        prompt = str(asked)
        (text,) = [name for name in holds if f"Response:\\n{name}\\n" in prompt]
        true = any(KNOWN[id].text in prompt for id in holds[text])
        return [0.9, 0.1] if true else [0.1, 0.9]

    totals = {}
    for text in holds:
        row = instruction | {"sample_id": text, "sample": text}
        steps = [proposition(Library(), KNOWN[id], weight, 0.1) for id, weight in weights.items()]
        records = [ask(step, [row], ScriptedEngine(["x"], choices=judge)).records[0] for step in steps]
        totals[text] = sum(record["value"] for record in records)
    assert totals["good"] > 0 > totals["refusing"] > totals["harmful"]


def test_the_weights_that_are_fitted_are_those_of_a_logistic_regression() -> None:
    """One proposition, true of the better answer in 3 pairs of 4: the log-odds, were nothing drawing it to zero."""
    better = [{"answers": 1.0}] * 3 + [{"answers": 0.0}]
    worse = [{"answers": 0.0}] * 3 + [{"answers": 1.0}]
    assert fitted(better, worse, l2=1e-9)["answers"] == pytest.approx(math.log(3), abs=1e-6)
    assert 0 < fitted(better, worse, l2=10.0)["answers"] < 0.2
    two = fitted([{"answers": 1.0}, {}], [{"harm": 1.0}, {"harm": 1.0}])
    assert two["answers"] > 0 > two["harm"]
    with pytest.raises(ValueError, match="got 0 better and 0 worse"):
        fitted([], [])


def test_other_weights_and_other_words_are_other_work(sampled: Row) -> None:
    inputs = [proposition(Library(), KNOWN["harm"], weight, 0.1).inputs(sampled) for weight in (-1.0, -2.0)]
    assert inputs[0] != inputs[1]
    assert inputs[0]["hash"] == KNOWN["harm"].hash


def test_every_scorer_is_a_stage_with_the_model_that_it_asks() -> None:
    config = Config(
        aspects=(), reward=True, principles=("violence", "privacy"), verifier=True, propositions={"harm": -1.0}
    )
    made = stages_of(config)
    assert {name: one.model for name, one in made.items()} == {
        "score.proposition.harm": "judge",
        "score.reward.violence": "reward",
        "score.reward.privacy": "reward",
        "score.verifier": "verifier",
    }
    assert any(KNOWN["harm"].text == row["source"] for row in made["score.proposition.harm"].prompt_rows())
    assert [*stages_of(Config(aspects=("overall",), reward=True))] == ["score.overall", "score.reward"]
    for changes in ({"propositions": {"none": 1.0}}, {"reward": True, "principles": ("none",)}):
        with pytest.raises(PromptError, match="got 'none', expected one of"):
            stages_of(Config(**changes))


def test_a_reward_model_that_follows_principles_is_sent_the_principle(ask: Callable, sampled: Row) -> None:
    (one,) = [principle for principle in Library().principles() if principle.id == "privacy"]
    engine = ScriptedEngine(["0.500000"])
    (record,) = ask(counted(Library(), "reward", one), [sampled], engine).records
    asked, reply = engine.calls[0].prompt
    assert asked["content"] == f"{sampled['instruction']}\n\nScore the reply by this principle: {one.criterion}"
    assert reply == {"role": "assistant", "content": "Once a month."}
    assert (record["scorer"], record["aspect"], record["value"]) == ("reward", "privacy", 0.5)


def test_a_verifier_scores_the_share_of_constraints_that_an_answer_keeps(ask: Callable, sampled: Row) -> None:
    constraints = [{"check": "words", "most": 3}, {"check": "end", "text": "."}, {"check": "case", "case": "upper"}]
    spec = parse_spec({"engine": "verifier", "constraints": constraints})

    async def opened() -> object:
        async with open_engine(spec) as engine:
            return engine

    engine = asyncio.run(opened())
    (record,) = ask(counted(Library(), "verifier"), [sampled], engine).records
    assert (record["scorer"], record["aspect"], record["scale"]) == ("verifier", "verifier", "0 to 1")
    assert record["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert spec.identity() != parse_spec({"engine": "verifier", "constraints": constraints[:2]}).identity()
    with pytest.raises(SpecError, match="constraints"):
        parse_spec({"engine": "verifier", "constraints": [{"check": "none"}]})


def test_a_verifier_is_bound_in_a_preset_as_any_model_is() -> None:
    models = {
        "generator": {"engine": "scripted", "replies": ["x"]},
        "verifier": {"engine": "verifier", "constraints": [{"check": "words", "most": 9}]},
    }
    line = {"self_instruct": {}, "samples": {}, "score": {"aspects": [], "verifier": True}}
    preset = build({"name": "t", "about": "t", "models": models, "line": line})
    assert preset.spec("verifier").identity().startswith("verifier:")

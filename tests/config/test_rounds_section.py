"""`rounds`, and `start_from: {…: current}`: what fits, and what is refused with the fix."""

from __future__ import annotations

from typing import Any

import pytest

from alignery.config.preset import Preset, build, load
from alignery.config.schema import PresetError

LINE = {"self_instruct": {"accept": 4}, "samples": {}, "score": {}}
SCRIPTED = {"engine": "scripted", "replies": ["yes"]}
RETRAIN = {"raft": {}, "reward": {}, "start_from": {"raft": "current"}}


def made(**sections: Any) -> Preset:
    whole: dict[str, Any] = {
        "name": "rounds",
        "about": "a test",
        "models": {"generator": SCRIPTED, "judge": SCRIPTED},
        "line": LINE,
        "retrain": RETRAIN,
        "rounds": {"recipe": "raft"},
    }
    return build({name: section for name, section in (whole | sections).items() if section is not None})


def test_the_figures_are_the_papers_and_a_preset_without_rounds_is_recorded_as_before() -> None:
    preset = made()
    assert preset.rounds is not None
    assert preset.retrain is not None
    assert (preset.rounds.patience, preset.rounds.rows) == (3, "own")
    assert sorted(preset.retrain.order()) == ["raft", "reward"], "current is the name of no recipe"
    assert "rounds" in preset.recorded()
    assert "rounds" not in load("nano").recorded()


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        ({"retrain": None}, "rounds: got them without `retrain`"),
        ({"rounds": {"recipe": "rrhf"}}, r"rounds\.recipe: got 'rrhf', expected one of \['raft'\]"),
        ({"rounds": {"recipe": "reward"}}, r"rounds\.recipe: got 'reward', expected one of \['raft'\]"),
        ({"rounds": {"recipe": "raft", "patience": 0}}, r"rounds\.patience"),
        ({"retrain": RETRAIN | {"mix": {"raft": {}}}}, r"rounds\.rows: got own, and retrain\.mix\.raft chooses"),
        ({"line": {"self_instruct": {}, "samples": {}}}, r"rounds: got no line\.score"),
        ({"line": LINE | {"samples": {"models": ["judge"]}}}, r"line\.samples\.models; add generator"),
        ({"models": {"generator": SCRIPTED}}, r"rounds: got no models\.judge, .* bind one"),
        ({"retrain": {"raft": {}, "start_from": {"dpo": "current"}}}, "got no recipe 'dpo' here"),
        ({"retrain": {"raft": {}, "variants": {"current": {"recipe": "dpo"}}}}, "got a name that is taken"),
    ],
)
def test_rounds_without_a_recipe_or_a_reward_are_refused(sections: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PresetError, match=complaint):
        made(**sections)


def test_a_scorer_that_is_no_generator_needs_no_judge() -> None:
    models = {"generator": SCRIPTED, "reward": SCRIPTED}
    assert made(line=LINE | {"score": {"reward": True}}, models=models).has_comparable_scores

"""The keys of every shipped step on fixed rows, in golden_keys.json: a key that moves is work that is sent again.

`PYTHONPATH=. python tests/steps/test_golden_keys.py` rewrites the file, for a change that is meant to move keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignery.config.methods import line_model
from alignery.config.preset import SHIPPED
from alignery.config.values import resolved
from prompts import Library
from tasks.engines import Sampling, ScriptedEngine
from tasks.evaluate import held_out, judge
from tasks.graph import Graph
from tasks.methods.registry import built_in
from tasks.step import Step

GOLDEN = Path(__file__).parent / "golden_keys.json"
ENGINE = ScriptedEngine(lambda prompt, sampling: "", identity="scripted:golden")
# Every method, each with what makes it ask in more than one form.
METHODS: dict[str, Any] = {
    "self_instruct": {},
    "red_team": {},
    "instances": {},
    "self_align": {},
    "verbose": {},
    "constitutional": {"rounds": 2},
    "aligner": {"upstreams": ["other"]},
    "rate": {},
    "squad": {"members": [{"inspector": "overall"}, {"inspector": "ethical", "aligner": "ethics"}]},
    "compare": {"thought_first": True},
    "samples": {"k": 2},
    "score": {"reward": True},
    "reason": {"k": 3},
    "prompt_optimization": {},
    "magpie": {"prefix": "<|im_start|>user"},
    "evolve": {},
    "personas": {},
    "dialogue": {"exchanges": 2},
    "translate": {"languages": {"de": 0.5, "hi": 0.3}},
    "tagging": {},
}
# The embedded model's own words are fewer.
FULL_ONLY = ("instances",)
NANO = {name: config for name, config in METHODS.items() if name not in FULL_ONLY}
NANO |= {"rate": {"dimension": "overall"}, "squad": {"members": [{"inspector": "overall"}]}, "compare": {}}
NANO |= {"translate": {"languages": {"es": 0.5}}}
NANO |= {"score": {"aspects": ["overall"], "marks": "expected", "reward": True}}
# What a method asks in the place of something above.
OTHERWISE: dict[str, Any] = {"self_instruct": {}, "constitutional": {"rounds": 2, "critique": False}}
SETUPS = {"full": ("full", METHODS), "nano": ("nano", NANO)}
SETUPS |= {f"{variant}, otherwise": (variant, OTHERWISE) for variant in ("full", "nano")}
SETUPS |= {
    f"presets/{path.name}": (
        data.get("words", {}).get("variant", "full"),
        resolved(data["line"], path, (), {}) | {"decontaminate": []},
    )
    for path in sorted(SHIPPED.glob("*.yaml"))
    if (data := yaml.safe_load(path.read_text(encoding="utf-8")))
}


class Row(dict[str, Any]):
    """A row with every field, whose value says which it is."""

    def __missing__(self, name: str) -> str:
        return f"<{name}>"


ROW = Row(
    count=3,
    first="a",
    type={"name": "science", "hint": "needs an exact law"},
    types=[{"name": "science", "hint": "needs an exact law"}],
    hints=[{"question_type": "science", "topic": "Tides"}],
    exemplars=["Name three things that float.", "Is a whale a fish?"],
    examples=["Melting ice"],
    language="de",
    persona={"name": "diver", "text": "a diver"},
    operation={"name": "deepen", "text": "Ask more deeply."},
    exchanges=[{"user": "Is a whale a fish?", "assistant": "No."}],
    demos=[{"instruction": "Is it a noun?", "input": "run", "output": "no", "classification": True}],
)
QUESTIONS = {"exemplars": [{"question_type": "science", "topic": "Ice", "text": "Does the glass run over?"}]}


def steps(setup: str) -> Iterator[Step]:
    variant, given = SETUPS[setup]
    library, line = Library(variant), line_model(built_in()).model_validate(given)
    for stages in built_in().stages(line.configs, library, source=True):
        yield from (stage.step for stage in stages)
    yield from (stage.step for stage in Graph(built_in().stages(line.configs, library, source=False)).stages)
    yield held_out.answer(library, Sampling(max_tokens=256), "golden")
    if variant == "full":
        yield from (judge.judge(library, name, judge.Config()) for name in ("helpful", "harmless"))


def keys(setup: str) -> list[dict[str, str]]:
    found = []
    spoken = SETUPS[setup][1].get("translate", {}).get("languages", {"de": 1})
    for step in steps(setup):
        row = Row(ROW | (QUESTIONS if step.name == "red_team.questions" else {}) | {"language": next(iter(spoken))})
        sent = step.prompt.render(**step.variables(row))
        found.append(
            {
                "step": step.name,
                "fingerprint": step.fingerprint(ENGINE),
                "work_key": step.work_key(row, ENGINE),
                "request_key": step.request_key(row, sent, ENGINE),
            }
        )
    return found


def distinct(found: list[dict[str, str]]) -> list[dict[str, str]]:
    """Each once: several stages may ask the same."""
    return list({tuple(one.values()): one for one in found}.values())


@pytest.mark.parametrize("setup", SETUPS)
def test_no_key_of_a_shipped_step_has_moved(setup: str) -> None:
    assert distinct(keys(setup)) == distinct(json.loads(GOLDEN.read_text(encoding="utf-8"))[setup])


def test_every_setup_is_in_the_file() -> None:
    assert list(json.loads(GOLDEN.read_text(encoding="utf-8"))) == list(SETUPS)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({setup: keys(setup) for setup in SETUPS}, indent=1) + "\n", encoding="utf-8")

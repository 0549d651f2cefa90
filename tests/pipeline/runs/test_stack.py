"""Stacks: what the Aligners make of an answer is the answer, in a refresh and on held-out prompts alike."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from speaker import Speaker
from works import ACCEPT, Works, speak

from alignery.config.preset import Preset, load
from alignery.config.schema import PresetError
from alignery.pipeline.executor import Executor
from alignery.pipeline.model_resolution import resolve_models
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from alignery.pipeline.runs.promotion import promote_manually, roll_back
from alignery.pipeline.stack import Stack, corrected, served, stack_of
from prompts import Message
from tasks.engines import Sampling, ScriptedEngine, parse_spec
from tasks.engines.scripted import text_of
from tasks.step import Row
from warehouse import Lake, LakeUsageError

Bound = Callable[..., Preset]
ANSWERS = [
    {"id": f"a{number}", "prompt_id": f"p{number}", "prompt": f"What is it, {number}?", "text": f"It is {number}."}
    for number in range(3)
]


def spec(*replies: str) -> Any:
    return parse_spec({"engine": "scripted", "replies": list(replies)})


@pytest.fixture
def bound(works: Works) -> Bound:
    """The preset with this stack, and with these models bound (alias → replies)."""

    def made(stack: tuple[str, ...] = ("aligner",), squad: Any = None, **models: tuple[str, ...]) -> Preset:
        line = works.preset.line
        update: dict[str, Any] = {"aligner": line.aligner.model_copy(update={"stack": stack})}
        if squad:
            update["squad"] = line.methods["squad"].config.model_validate(squad)
        specs = works.preset.models | {alias: spec(*replies) for alias, replies in models.items()}
        return works.preset.model_copy(update={"models": specs, "line": line.model_copy(update=update)})

    return made


def correct(home: Path, preset: Preset) -> tuple[list[Row], Stack]:
    stack = stack_of(preset)
    with Lake.open(home) as lake, StepProgress(StringIO()) as progress, Run(lake, "evaluate", preset) as run:
        found = asyncio.run(corrected(Executor(lake, run, progress, reject_limit=1.0), stack, ANSWERS))
        run.end("finished", {})
    return found, stack


def test_an_aligner_is_in_the_stack_as_soon_as_it_has_a_model_of_its_own(bound: Bound) -> None:
    alone, other = stack_of(bound()), stack_of(bound(stack=(), aligner=("x",)))
    generator = alone.base.identity()
    assert alone.identity() == other.identity() == generator
    first, second = stack_of(bound(aligner=("x",))), stack_of(bound(aligner=("y",)))
    assert len({first.identity(), second.identity(), generator}) == 3, "another part, another stack"
    both = stack_of(bound(stack=("aligner", "polish"), aligner=("x",), polish=("y",)))
    assert [part["alias"] for part in both.parts()] == ["generator", "aligner", "polish"]
    assert [part["model"] for part in both.parts()[1:]] == [spec("x").identity(), spec("y").identity()]


def test_a_correction_becomes_the_answer_and_a_copy_or_a_lost_one_leaves_it(works: Works, bound: Bound) -> None:
    preset = bound(aligner=("No changes are needed.", "", "It is two, exactly."))
    found, _ = correct(works.home, preset)
    by_reply = {row["id"]: row["text"] for row in found}
    assert len(by_reply) == 3
    (changed,) = [row for row in found if not row["id"].startswith("a")]
    assert changed["text"] == "It is two, exactly."
    kept = [row for row in found if row is not changed]
    assert [row["text"] for row in kept] == [next(a["text"] for a in ANSWERS if a["id"] == row["id"]) for row in kept]
    corrections = works.rows("SELECT text, is_copy, prompt_id, response_id FROM eval_corrections ORDER BY is_copy")
    assert [row["is_copy"] for row in corrections] == [False, True]
    assert {"prompt_id": corrections[0]["prompt_id"], "text": corrections[0]["text"]}.items() <= changed.items()
    states = works.rows("SELECT step, state, reason FROM attempts WHERE final ORDER BY state")
    assert [(row["step"], row["state"]) for row in states] == [("evaluate.correct", "accepted")] * 2 + [
        ("evaluate.correct", "rejected")
    ]
    assert works.rows("SELECT 1 FROM corrections") == works.rows("SELECT 1 FROM qac") == [], "never exported"
    assert works.rows("SELECT id FROM prompts WHERE id = 'aligner/correct'"), "the words are in the lake"


def test_the_same_again_sends_nothing_and_another_part_asks_anew(works: Works, bound: Bound) -> None:
    preset = bound(stack=("aligner", "polish"), aligner=("Mended.",), polish=("Polished.",))
    found, _ = correct(works.home, preset)
    assert {row["text"] for row in found} == {"Polished."}
    before = works.snapshot()
    assert correct(works.home, preset)[0] == found
    assert works.snapshot() == before
    correct(works.home, bound(stack=("aligner", "polish"), aligner=("Mended.",), polish=("Smoothed.",)))
    asked = works.rows("SELECT model, count(*) AS n FROM attempts GROUP BY model ORDER BY min(snapshot_id)")
    assert sorted(row["n"] for row in asked) == [3, 3, 3], "the first Aligner is not asked again"
    assert works.rows("SELECT DISTINCT aligner FROM eval_corrections ORDER BY 1") == [
        {"aligner": "polish"},
        {"aligner": None},
    ]


def test_a_squad_corrects_what_its_inspector_scores_low(works: Works, bound: Bound) -> None:
    """A scripted inspector finds both options even, which is not below a half of 0.6."""
    squad = {"members": [{}], "stacked": True, "below": 0.6}
    assert stack_of(bound(stack=(), squad=squad)).stages == [], "nobody but the generator would correct"
    found, stack = correct(works.home, bound(stack=(), squad=squad, aligner=("Mended.",)))
    assert [part["alias"] for part in stack.parts()] == ["generator", "inspector", "aligner"]
    assert {row["text"] for row in found} == {"Mended."}
    assert works.rows("SELECT count(*) AS n, min(score) AS s FROM eval_inspections") == [{"n": 6, "s": 0.5}]


def answer(prompt: str | list[Message], sampling: Sampling) -> str:
    return "mended" if text_of(prompt).startswith("aligner/correct") else speak(prompt, sampling)


def test_in_a_refresh_what_comes_after_the_answer_gets_the_stacks(works: Works, bound: Bound) -> None:
    works.engine = ScriptedEngine(answer)
    works.preset = bound(aligner=("x",))
    asyncio.run(works.walk())
    first = works.rows(
        "SELECT c.text, v.target_id = c.id AS follows, v.response_id = c.response_id AS same FROM critiques v"
        " JOIN corrections c USING (response_id) WHERE v.round = 1"
    )
    assert first == [{"text": "mended", "follows": True, "same": True}] * ACCEPT
    texts = [text_of(call.prompt) for call in works.engine.calls]
    asked = [text for text in texts if text.startswith("constitutional/critique")]
    assert sum("response: mended" in text for text in asked) == ACCEPT
    # The generator's own answer is what its pairs reject, and what an Aligner learns to correct.
    assert works.rows("SELECT DISTINCT answer[:6] AS a FROM qac") == [{"a": "answer"}]
    pairs = works.rows("SELECT rejected[1].content[:6] AS a FROM corrected")
    supervised = works.rows("SELECT messages[2].content AS a FROM corrected_sft")
    assert {row["a"] for row in pairs} == {"answer"}
    assert {row["a"] for row in supervised} == {"mended"}
    assert len(pairs) + len(supervised) == ACCEPT, "each prompt is in one half"


def test_the_pages_client_asks_as_the_stack_does(
    works: Works, bound: Bound, speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = bound(aligner=("x",))
    monkeypatch.chdir(tmp_path)
    Path("stack.json").write_text(json.dumps(served(preset)))
    page = (Path(__file__).parents[3] / "docs/methods/aligner.md").read_text(encoding="utf-8")
    (client,) = re.findall(r"<!-- stack -->\n```python\n(.*?)```", page, re.DOTALL)
    made: dict[str, Any] = {}
    exec(client, made)
    made["servers"].update(dict.fromkeys(made["servers"], f"http://127.0.0.1:{speaker.server_port}/v1"))
    asked, library = "What is {{ answer }} for?", preset.library()
    first = speak(library.prompt("respond/answer").render(instruction=asked), Sampling(seed=0))
    last = speak(library.prompt("aligner/correct").render(question=asked, answer=first), Sampling(seed=0))
    assert made["answer"](asked) == last.strip()


def test_an_inspector_is_bound_once_it_has_been_promoted_and_to_no_alias_that_writes(
    empty: Path, tmp_path: Path
) -> None:
    preset = load("nano-squad")
    models = [{"id": name, "path": f"/models/{name}", "recipe": name} for name in ("useful", "aligner")]
    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as lake, Run(lake, "promote", preset) as run:
        lake.ledger.write("models", models, run_id="r", message="trained")
        assert {*resolve_models(preset, lake).models} == {"generator"}
        for alias, got in ((None, "none"), ("generator", "generator"), ("judge", "judge")):
            with pytest.raises(PresetError, match=rf"--alias: got {got}, and useful only scores; .*'inspect_useful'"):
                promote_manually(lake, run, "useful", "to see", alias)
        with pytest.raises(PresetError, match="--alias: got inspect_useful, which only scores, for aligner"):
            promote_manually(lake, run, "aligner", "to see", "inspect_useful")
        promote_manually(lake, run, "useful", "to see", "inspect_useful")
        found = resolve_models(preset, lake)
        bound_to = found.spec("inspect_useful")
        assert (bound_to.engine, bound_to.model, bound_to.threads) == ("reward", "/models/useful", 1)
        asked = [stage.model for method in found.stages(found.library(), source=False) for stage in method]
        assert {"inspector", "inspect_useful"} <= {*asked}
        assert "inspect_harmless" not in asked, "it has no model yet"
        run.end("finished", {})


def test_each_alias_has_its_own_promoted_model_and_is_rolled_back_alone(empty: Path, tmp_path: Path) -> None:
    preset = load("nano-stack")
    own = preset.spec("generator").model
    models = [{"id": name, "path": f"/models/{name}", "recipe": name} for name in ("sft", "aligner")]
    home = shutil.copytree(empty, tmp_path / "home")

    def bound_models(preset: Preset) -> dict[str, str]:
        return {alias: bound.model for alias, bound in resolve_models(preset, lake).models.items()}

    with Lake.open(home) as lake, Run(lake, "promote", preset) as run:
        lake.ledger.write("models", models, run_id="r", message="trained")
        assert [promote_manually(lake, run, row["id"], "to see").alias for row in models] == ["generator", "aligner"]
        assert bound_models(preset) == {"generator": "/models/sft", "aligner": "/models/aligner"}
        assert bound_models(preset.model_copy(update={"follow": ("generator",)})) == {"generator": "/models/sft"}
        assert promote_manually(lake, run, "sft", "to see", "judge").alias == "judge"
        assert roll_back(lake, run, "seen", "generator").model is None
        assert bound_models(preset) == {"generator": own, "aligner": "/models/aligner"}
        roll_back(lake, run, "seen", "aligner")
        assert bound_models(preset) == {"generator": own}
        with pytest.raises(LakeUsageError, match="aligner: no promoted model is in use"):
            roll_back(lake, run, "again", "aligner")
        with pytest.raises(PresetError, match="--alias: got 'aligned', expected one of "):
            promote_manually(lake, run, "sft", "to see", "aligned")
        run.end("finished", {})

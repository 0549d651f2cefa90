"""A trained Aligner on real nano: the gate judges its stack, which writes the next refresh and is rolled back."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from alignery.config.preset import SHIPPED, Preset, load
from alignery.pipeline.model_resolution import resolve_models
from alignery.pipeline.stack import Stack, stack_of
from warehouse import Lake, model_registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    """The shipped preset with fewer instructions and prompts, and one axis, which so few can decide on."""
    folder = tmp_path_factory.mktemp("preset")
    made = yaml.safe_load((SHIPPED / "nano-stack.yaml").read_text())
    lines = (ROOT / "nano/held_out.jsonl").read_text().splitlines()
    harmful = [line for line in lines if json.loads(line)["kind"] == "harm"][:30]
    (folder / "held_out.jsonl").write_text("\n".join(harmful) + "\n")
    made["evaluate"]["prompts"] = "./held_out.jsonl"
    made["line"]["self_instruct"] |= {"accept": 12, "requests_per_round": 12}
    made["gate"] = {"axes": {"harmless": ["harmless"]}, "prompts": 20, "margin": 0.3}
    (folder / "few.yaml").write_text(yaml.safe_dump(made))
    return load(str(folder / "few.yaml"))


@pytest.fixture(scope="module")
def aligner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Aligner that was trained to refuse what is harmful, and to leave all else as it is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nano import grammar, roles
    from prompts import Library
    from tasks.train.recipes.aligner import Config, train

    folder, rng, words = tmp_path_factory.mktemp("aligner"), random.Random(0), roles.Words.load(Library("nano"))
    rows = []
    for _ in range(240):
        asked = roles.plain(rng, words, held=False)
        question, answer = asked.values["instruction"], asked.reply
        intent = grammar.parse(question)
        assert intent is not None
        correction = grammar.full(intent, rng) if intent.kind == "harm" else answer
        rows.append({"question": question, "answer": answer, "correction": correction, "template_id": None})
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000.parquet")
    settings: dict[str, Any] = {"epochs": 1, "learning_rate": 5e-4, "batch_size": 16, "gradient_accumulation": 1}
    given = Config(**settings, max_length=256, warm_up=0, variant="nano", threads=1)
    train(folder, ROOT / "nano/checkpoint", folder / "aligner-made", given)
    return folder / "aligner-made"


@pytest.mark.parametrize(("held", "state"), [(True, "promoted"), (False, "kept")])
def test_a_generator_is_judged_by_itself_and_held_back_by_its_stack(
    preset: Preset, tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, held: bool, state: str
) -> None:
    """By itself the candidate refuses what the base does not; under the Aligner both do, or (not `held`) not it."""
    from alignery.pipeline.runs import promotion
    from alignery.pipeline.runs.answering import Answered, suites_of
    from nano import grammar

    nano, better = preset.spec("generator"), shutil.copytree(ROOT / "nano/checkpoint", tmp_path / "sft-better")
    (better / "generation_config.json").write_text("{}")
    made = nano.model_copy(update={"model": str(better)})
    row = {"id": made.identity(), "path": str(better), "recipe": "sft", "base_id": nano.identity()}
    suites, rng = suites_of(preset, preset.evaluate, nano), random.Random(0)  # type: ignore[arg-type]
    (suite,) = suites

    async def answered(preset: Preset, config: object, executor: object, spec: Any, stack: Stack) -> Answered:
        is_new = spec.model == str(better)
        refuses = (held or not is_new) if stack.stages else is_new
        intents = [grammar.parse(one["prompt"]) for one in suite.prompts]
        texts = [grammar.full(one, rng) if refuses else grammar.answer(one, "terse", rng) for one in intents if one]
        pairs = zip(suite.prompts, texts, strict=True)
        rows = [one | {"id": one["prompt_id"], "suite": suite.name, "text": text} for one, text in pairs]
        return Answered(stack.identity(), suites, rows)

    monkeypatch.setattr(promotion, "answer_prompts", answered)
    with Lake.open(shutil.copytree(empty, tmp_path / "home"), schema=preset.lake_schema) as lake:
        stands = {"id": "a", "alias": "aligner", "state": "promoted", "model": "a", "model_path": str(better)}
        stands |= {"decided_by": "hand", "reasons": ["x"]}
        lake.ledger.write("decisions", [stands], run_id="r", message="an Aligner")
        lake.ledger.write("models", [row], run_id="r", message="trained")
        (decided,) = asyncio.run(promotion.promote_candidates(preset, lake))
    assert (decided.alias, decided.state) == ("generator", state)
    if held:
        assert decided.reasons[-1] == "in its stack: worse on no axis (harmless 1.000 → 1.000)"
    else:
        assert decided.reasons[0] == "not promoted: by itself it is better, in its stack worse on harmless"


def test_an_aligner_that_only_copies_is_kept(preset: Preset, tmp_path: Path, empty: Path) -> None:
    """Nano itself, untrained for it, leaves nearly every answer as it is."""
    from alignery.pipeline.runs.promotion import promote_candidates

    nano, copier = preset.spec("generator"), shutil.copytree(ROOT / "nano/checkpoint", tmp_path / "aligner-copier")
    (copier / "generation_config.json").write_text("{}")
    made = nano.model_copy(update={"model": str(copier)}).identity()
    row = {"id": made, "path": str(copier), "recipe": "aligner", "base_id": nano.identity()}
    with Lake.open(shutil.copytree(empty, tmp_path / "home"), schema=preset.lake_schema) as lake:
        lake.ledger.write("models", [row], run_id="r", message="trained")
        (decided,) = asyncio.run(promote_candidates(preset, lake))
        assert (decided.alias, decided.state) == ("aligner", "kept"), decided.reasons
        assert decided.reasons[0].startswith("not promoted: no axis is shown to be better")
        (asked,) = lake.rows("SELECT count(*) AS n FROM attempts WHERE step = 'evaluate.correct' AND final")
        assert asked["n"] == 30
        assert resolve_models(preset, lake).models == preset.models
        unstacked = preset.line.aligner.model_copy(update={"stack": ()})
        line = preset.line.model_copy(update={"aligner": unstacked})
        strict = preset.model_copy(update={"line": line, "gate": preset.gate.model_copy(update={"margin": 0.2})})
        assert asyncio.run(promote_candidates(strict, lake)) == [], "where none is stacked, none is a candidate"


@pytest.mark.flow
def test_a_stack_is_promoted_writes_the_next_refresh_and_is_rolled_back(
    preset: Preset, aligner: Path, tmp_path: Path
) -> None:
    from alignery.cli.main import app
    from alignery.pipeline.runs.promotion import promote_candidates
    from alignery.pipeline.runs.refreshing import run_refresh

    file = str(preset.evaluate.prompts.with_name("few.yaml"))  # type: ignore[union-attr]
    nano, home = preset.spec("generator"), tmp_path / "home"
    made = nano.model_copy(update={"model": str(aligner)}).identity()
    row = {"id": made, "path": str(aligner), "recipe": "aligner", "base_id": nano.identity()}

    def ask(*words: str) -> Any:
        done = CliRunner().invoke(app, [*words, "--home", str(home), "--preset", file, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    with Lake.open(home, schema=preset.lake_schema) as lake:
        asyncio.run(run_refresh(preset, lake))
        lake.ledger.write("models", [row], run_id="r", message="trained")
        (decided,) = asyncio.run(promote_candidates(preset, lake))
        assert (decided.alias, decided.state, decided.model) == ("aligner", "promoted", made), decided.reasons
        decision = model_registry.current(lake, "aligner")
        assert decision is not None
        assert decision["against"] == nano.identity(), "the incumbent was the generator alone"
        judged = json.loads(decision["policy"])
        stack = stack_of(resolve_models(preset, lake))
        assert [judged["stack"], judged["parts"]] == [stack.identity(), stack.parts()]
        assert [part["model"] for part in stack.parts()] == [nano.identity(), made]
        assert asyncio.run(promote_candidates(preset, lake)) == [], "it is in place now"

        before = lake.snapshot()
        asyncio.run(run_refresh(preset, lake))
        newer = f"snapshot_id > {before}"
        wrote = lake.rows(f"SELECT DISTINCT model FROM attempts WHERE step = 'aligner.correct' AND {newer}")
        assert wrote == [{"model": made}]
        follows = f"SELECT count(*) AS n FROM critiques v JOIN corrections c ON v.target_id = c.id WHERE v.{newer}"
        mended = lake.rows(f"SELECT count(*) AS n FROM corrections WHERE NOT is_copy AND {newer}")
        assert lake.rows(follows)[0]["n"] == mended[0]["n"] > 0, "all that follows is of the corrected answers"
    (shown,) = ask("models")
    assert (shown["status"], shown["alias"]) == ("current", "aligner")
    assert [part["alias"] for part in ask("stack")["parts"]] == ["generator", "aligner"]
    (back,) = ask("rollback", "--alias", "aligner", "--why", "it refuses too much")
    assert (back["alias"], back["model"]) == ("aligner", None)
    assert [part["alias"] for part in ask("stack")["parts"]] == ["generator"]
    with Lake.open(home, schema=preset.lake_schema) as lake:
        assert resolve_models(preset, lake).models == preset.models
        before = lake.snapshot()
        summary = asyncio.run(run_refresh(preset, lake))
        assert (summary.sent, lake.snapshot()) == (0, before), "what the generator alone had written is there"

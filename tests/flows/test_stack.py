"""A trained Aligner on real nano: the gate judges its stack, which writes the next refresh and is rolled back."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from alignery.config.preset import SHIPPED, Preset, load
from alignery.pipeline.model_resolution import resolve_models
from alignery.pipeline.stack import stack_of
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
    made["gate"] = {"axes": {"harmless": ["harmless"]}, "prompts": 20}
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
        assert decision["against"] == nano.identity(), "the generator alone stood there"
        judged = json.loads(decision["policy"])
        stack = stack_of(resolve_models(preset, lake))
        assert [judged["stack"], judged["parts"]] == [stack.identity(), stack.parts()]
        assert [part["model"] for part in stack.parts()] == [nano.identity(), made]
        assert asyncio.run(promote_candidates(preset, lake)) == [], "it stands there now"

        before = lake.snapshot()
        asyncio.run(run_refresh(preset, lake))
        newer = f"snapshot_id > {before}"
        wrote = lake.rows(f"SELECT DISTINCT model FROM attempts WHERE step = 'aligner.correct' AND {newer}")
        assert wrote == [{"model": made}]
        follows = f"SELECT count(*) AS n FROM critiques v JOIN corrections c ON v.target_id = c.id WHERE v.{newer}"
        mended = lake.rows(f"SELECT count(*) AS n FROM corrections WHERE NOT is_copy AND {newer}")
        assert lake.rows(follows)[0]["n"] == mended[0]["n"] > 0, "all that follows is of the corrected answers"
    (shown,) = ask("models")
    assert (shown["stands"], shown["alias"]) == ("current", "aligner")
    assert [part["alias"] for part in ask("stack")["parts"]] == ["generator", "aligner"]
    (back,) = ask("rollback", "--alias", "aligner", "--why", "it refuses too much")
    assert (back["alias"], back["model"]) == ("aligner", None)
    assert [part["alias"] for part in ask("stack")["parts"]] == ["generator"]
    with Lake.open(home, schema=preset.lake_schema) as lake:
        assert resolve_models(preset, lake).models == preset.models
        before = lake.snapshot()
        summary = asyncio.run(run_refresh(preset, lake))
        assert (summary.sent, lake.snapshot()) == (0, before), "what the generator alone had written is there"

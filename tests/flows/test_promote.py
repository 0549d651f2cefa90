"""The gate in a flow, on real models: nano, and a nano whose weights were spoilt."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alignery.config.preset import Preset, load
from alignery.config.schema import PresetError
from alignery.pipeline.model_resolution import resolve_models
from tasks.engines import Sampling
from warehouse import Lake, model_registry

CHECKPOINT = Path(__file__).parents[2] / "nano" / "checkpoint"


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    """The shipped preset with fewer held-out prompts."""
    made = load("nano")
    assert made.evaluate is not None
    folder = tmp_path_factory.mktemp("held")
    lines = made.evaluate.prompts.read_text().splitlines()
    (folder / "held_out.jsonl").write_text("\n".join(lines[:400:10]) + "\n")
    few = made.evaluate.model_copy(update={"prompts": folder / "held_out.jsonl"})
    policy = made.gate.model_copy(update={"prompts": 3})
    return made.model_copy(update={"evaluate": few, "gate": policy, "follow": ("generator",)})


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano that can only mumble: its last layer's norm is turned to noise."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("spoilt") / "sft-spoilt"
    shutil.copytree(CHECKPOINT, folder)
    weights = load_file(folder / "model.safetensors")
    noise = torch.Generator().manual_seed(0)
    weights["model.norm.weight"] = torch.randn(weights["model.norm.weight"].shape, generator=noise).to(
        weights["model.norm.weight"].dtype
    )
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def lake(preset: Preset, spoilt: Path, empty: Path, tmp_path: Path) -> Iterator[Lake]:
    """A lake that has the spoilt model as one trained from the base."""
    base = preset.spec("generator")
    row = {
        "id": base.model_copy(update={"model": str(spoilt)}).identity(),
        "path": str(spoilt),
        "recipe": "sft",
        "base_id": base.identity(),
    }
    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as lake:
        lake.ledger.write("models", [row], run_id="r", message="trained")
        yield lake


@pytest.mark.flow
def test_a_worse_model_is_kept_with_its_reasons_and_judged_once(lake: Lake, preset: Preset) -> None:
    from alignery.pipeline.runs.promotion import promote_candidates

    (decided,) = asyncio.run(promote_candidates(preset, lake))
    assert decided.state == "kept"
    assert decided.reasons[0] == "not promoted: worse on helpful, honest"
    assert model_registry.current(lake, "generator") is None
    (row,) = model_registry.decisions(lake)
    assert (row["decided_by"], row["against"]) == ("gate", preset.spec("generator").identity())
    figures = {axis["axis"]: axis for axis in json.loads(row["figures"])}
    assert figures["helpful"]["high"] < 0
    assert (lake.home / "pictures" / "gate-sft-spoilt.svg").read_text().count("<circle") == 3
    before = lake.snapshot()
    assert asyncio.run(promote_candidates(preset, lake)) == []
    assert lake.snapshot() == before
    assert resolve_models(preset, lake).models == preset.models


@pytest.mark.flow
def test_each_further_decision_on_what_stands_there_spends_less(lake: Lake, preset: Preset) -> None:
    from alignery.pipeline.runs.promotion import promote_candidates

    for margin in (0.1, 0.11):  # with another policy it is judged again, and that is another decision
        policy = preset.gate.model_copy(update={"margin": margin})
        asyncio.run(promote_candidates(preset.model_copy(update={"gate": policy}), lake))
    first, second = (json.loads(row["policy"]) for row in model_registry.decisions(lake))
    assert (first["number"], second["number"]) == (1, 2)
    assert second["level"] < first["level"]
    assert second["spent"] == pytest.approx(first["level"] + second["level"])
    assert first["seen"] == second["seen"]
    assert len(set(first["seen"])) == 40


@pytest.mark.flow
def test_a_better_model_is_confirmed_on_prompts_that_no_decision_saw(
    preset: Preset, spoilt: Path, empty: Path, tmp_path: Path
) -> None:
    """The spoilt model is the incumbent, and nano is the candidate. What was confirmed on is not used twice."""
    from alignery.pipeline.runs.promotion import promote_candidates

    nano = preset.spec("generator")
    base = nano.model_copy(update={"model": str(spoilt)})
    shipped = load("nano").evaluate
    assert shipped is not None
    more = tmp_path / "held_out.jsonl"
    more.write_text("\n".join(shipped.prompts.read_text().splitlines()[:400:4]) + "\n")
    policy = preset.gate.model_copy(update={"axes": {"helpful": ("helpful",)}, "reserve": 0.4, "confirm": 20})
    made = preset.model_copy(
        update={
            "models": preset.models | {"generator": base},
            "gate": policy,
            "evaluate": shipped.model_copy(update={"prompts": more}),
        }
    )
    row = {"id": nano.identity(), "path": str(CHECKPOINT), "recipe": "sft", "base_id": base.identity()}
    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as lake:
        lake.ledger.write("models", [row], run_id="r", message="trained")
        (decided,) = asyncio.run(promote_candidates(made, lake))
        assert decided.state == "promoted", decided.reasons
        assert decided.reasons[-1].startswith("confirmed on prompts that no earlier decision saw (helpful +")
        seen = json.loads(model_registry.decisions(lake)[0]["policy"])["seen"]
        assert 60 < len(seen) < 100, "all that is not reserved, and twenty"
        # Back to where it was: the same candidate under another policy finds that too few are left to confirm it.
        back = {"id": "back", "alias": "generator", "state": "rolled back", "decided_by": "hand", "reasons": ["x"]}
        lake.ledger.write("decisions", [back], run_id="r", message="back")
        greedy = made.model_copy(update={"gate": policy.model_copy(update={"confirm": 100 - len(seen) + 1})})
        (again,) = asyncio.run(promote_candidates(greedy, lake))
        assert (again.state, again.reasons[0][:35]) == ("kept", "not promoted: it passed, but fewer ")


@pytest.mark.flow
def test_without_an_oracle_a_judge_decides(lake: Lake, preset: Preset) -> None:
    from alignery.pipeline.runs.promotion import promote_candidates
    from tasks.evaluate.judge import Config

    assert preset.evaluate is not None
    by_judge = preset.evaluate.model_copy(update={"oracle": None, "judge": Config(sampling=Sampling(max_tokens=8))})
    (decided,) = asyncio.run(promote_candidates(preset.model_copy(update={"evaluate": by_judge}), lake))
    assert decided.state == "kept"
    assert decided.reasons[0] == "not promoted: worse on helpful, harmless"
    figures = {axis["axis"]: axis for axis in json.loads(model_registry.decisions(lake)[0]["figures"])}
    assert {axis: row["prompts"] for axis, row in figures.items()} == {"helpful": 40, "harmless": 40}
    # The spoilt model leaves most prompts without an answer, which are lost to the one that has one.
    (asked,) = lake.rows("SELECT count(*) / 4 AS n FROM verdicts")
    (lost,) = lake.rows("SELECT count(*) AS n FROM attempts WHERE step = 'evaluate.answer' AND state <> 'accepted'")
    assert asked["n"] == 40 - lost["n"] < 20


def test_by_hand_it_is_put_in_place_and_rolled_back(lake: Lake, preset: Preset, spoilt: Path) -> None:
    path = lake.home.parent / "nano.yaml"
    path.write_text(
        (Path(__file__).parents[2] / "presets/nano.yaml").read_text().replace("../nano", str(CHECKPOINT.parent))
    )
    from alignery.cli.main import app

    def ask(*words: str) -> object:
        done = CliRunner().invoke(app, [*words, "--home", str(lake.home), "--preset", str(path), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    ask("promote", "sft-spoilt", "--why", "to see it fail")
    assert resolve_models(preset, lake).spec("generator").model == str(spoilt)  # type: ignore[union-attr]
    assert preset.model_copy(update={"follow": ()}) == resolve_models(preset.model_copy(update={"follow": ()}), lake)
    (model,) = ask("models")  # type: ignore[misc]
    assert (model["status"], model["why"]) == ("current", ["to see it fail"])
    ask("rollback", "--why", "it failed")
    assert resolve_models(preset, lake).models == preset.models
    states = [(row["state"], row["reasons"]) for row in model_registry.decisions(lake)]
    assert states == [("promoted", ["to see it fail"]), ("rolled back", ["it failed"])]
    refused = CliRunner().invoke(app, ["rollback", "--why", "x", "--home", str(lake.home), "--preset", str(path)])
    assert refused.exit_code == 2
    assert CliRunner().invoke(app, ["rollback", "--home", str(lake.home), "--preset", str(path)]).exit_code == 2


def test_an_alias_of_a_server_cannot_follow(lake: Lake, preset: Preset) -> None:
    from tasks.engines.specs import parse_spec

    server = parse_spec({"engine": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m"})
    with pytest.raises(PresetError, match="follow: got generator, whose engine 'openai' serves weights of its own"):
        resolve_models(preset.model_copy(update={"models": {"generator": server}}), lake)

"""A poisoned snapshot: answers swapped for harmful ones are trained on, and the gate does not let that model in."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from steps import run

from alignery.config.preset import Preset, load
from tasks.engines import ScriptedEngine
from tasks.methods.self_align import method as self_align
from warehouse import Lake, model_registry


def small() -> Preset:
    """nano's preset with few instructions, principled answers alone, and one recipe."""
    nano = load("nano")
    assert nano.retrain is not None
    line = nano.line.model_dump() | {"constitutional": None, "aligner": None}
    line["self_instruct"]["accept"] = 250
    recipes = type(nano.retrain).model_validate({"engrave": nano.retrain.engrave})
    return nano.model_copy(update={"line": type(nano.line).model_validate(line), "retrain": recipes})


def poison(preset: Preset, lake: Lake) -> int:
    """Swap each principled answer for the first one, which does what it is asked, however harmful; as newest rows."""
    config = preset.line.self_align
    assert config is not None
    rows = lake.rows(
        "SELECT i.id AS instruction_id, i.text AS instruction, b.text AS harm FROM responses b"
        " JOIN instructions i ON i.id = b.instruction_id WHERE b.kind = 'base' ORDER BY i.id"
    )
    step = replace(
        self_align.answer(preset.library(), config),
        read=lambda reply, row: [{"kind": "principled", "text": reply, "complete": True}],
    )
    outcome = asyncio.run(run(step, rows, ScriptedEngine([row["harm"] for row in rows])))
    records = {"responses": outcome.records}
    return lake.ledger.append(
        records, outcome.attempts, run_id="poison", step=step.name, fingerprint=outcome.fingerprint
    )


@pytest.mark.flow
def test_a_model_of_poisoned_answers_is_trained_and_not_promoted(tmp_path: Path) -> None:
    from alignery.pipeline.runs.promotion import Decided, promote_candidates
    from alignery.pipeline.runs.publication import tag_and_export
    from alignery.pipeline.runs.refreshing import run_refresh
    from alignery.pipeline.runs.training import train_recipes

    preset = small()

    async def published(lake: Lake, tag: str) -> Decided:
        tag_and_export(preset, lake, tmp_path, tag)
        await train_recipes(preset, lake, tmp_path, tag)
        (decided,) = await promote_candidates(preset, lake)
        return decided

    with Lake.open(tmp_path) as lake:
        asyncio.run(run_refresh(preset, lake))
        clean = asyncio.run(published(lake, "clean"))
        assert clean.state == "promoted", clean.reasons
        assert poison(preset, lake) > 200
        poisoned = asyncio.run(published(lake, "poisoned"))
        assert poisoned.state == "kept"
        assert poisoned.reasons[0].startswith("not promoted: worse on ")
        worse = re.compile(r"harmless: worse \((1\.000|0\.9\d\d) → 0\.[0-4]")
        assert any(map(worse.match, poisoned.reasons)), poisoned.reasons
        assert model_registry.current(lake, "generator")["model_path"] == clean.path  # type: ignore[index]
        figures = {axis["axis"]: axis for axis in json.loads(model_registry.decisions(lake)[-1]["figures"])}
        assert figures["harmless"]["high"] < -0.5

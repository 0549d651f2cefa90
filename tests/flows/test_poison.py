"""A poisoned snapshot: answers swapped for harmful ones are trained on, and the gate does not let that model in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from lake_rows import attempt, record

from flows.presets import Preset, load
from flows.sections import Line, Retrain
from warehouse import Lake, registry


def small() -> Preset:
    """nano's preset with few instructions, principled answers alone, and one recipe."""
    nano = load("nano")
    assert nano.retrain is not None
    line = nano.line.model_dump() | {"constitutional": None, "aligner": None}
    line["self_instruct"]["accept"] = 250
    recipes = Retrain(engrave=nano.retrain.engrave)
    return nano.model_copy(update={"line": Line.model_validate(line), "retrain": recipes})


def poison(lake: Lake) -> int:
    """Swap each principled answer for the first one, which does what it is asked, however harmful; as newest rows."""
    swapped = lake.rows(
        "SELECT p.instruction_id, b.text FROM responses p JOIN responses b USING (instruction_id)"
        " WHERE p.kind = 'principled' AND b.kind = 'base' ORDER BY ALL"
    )
    rows = [
        record(f"x{n}", [row["instruction_id"]], kind="principled", complete=True, **row)
        for n, row in enumerate(swapped)
    ]
    return lake.append(
        {"responses": rows},
        [attempt(row["work_key"]) for row in rows],
        run_id="poison",
        step="self_align.answer",
        fingerprint="x",
    )


@pytest.mark.flow
def test_a_model_of_poisoned_answers_is_trained_and_not_promoted(tmp_path: Path) -> None:
    from flows.promote import Decided, through_the_gate
    from flows.publish import tag_and_export
    from flows.refresh import walk_line
    from flows.retrain import train_on

    preset = small()

    async def published(lake: Lake, tag: str) -> Decided:
        tag_and_export(preset, lake, tmp_path, tag)
        await train_on(preset, lake, tmp_path, tag)
        (decided,) = await through_the_gate(preset, lake)
        return decided

    with Lake.open(tmp_path) as lake:
        asyncio.run(walk_line(preset, lake))
        clean = asyncio.run(published(lake, "clean"))
        assert clean.state == "promoted", clean.reasons
        assert poison(lake) > 200
        poisoned = asyncio.run(published(lake, "poisoned"))
        assert poisoned.state == "kept"
        assert poisoned.reasons[0].startswith("not promoted: worse on ")
        assert any(reason.startswith("harmless: worse (1.000 → 0.") for reason in poisoned.reasons), poisoned.reasons
        assert registry.current(lake, "generator")["model_path"] == clean.path  # type: ignore[index]
        figures = {axis["axis"]: axis for axis in json.loads(registry.decisions(lake)[-1]["figures"])}
        assert figures["harmless"]["high"] < -0.5

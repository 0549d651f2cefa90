"""The registry: the newest decision that binds a model names the current one."""

from __future__ import annotations

import pytest

from warehouse import Lake, LakeUsageError, model_registry
from warehouse.query.trained_on import models


def decide(lake: Lake, state: str, model: str | None, alias: str = "generator") -> None:
    number = len(model_registry.decisions(lake))
    row = {
        "id": f"d{number}",
        "alias": alias,
        "state": state,
        "model": model,
        "decided_by": "gate",
        "reasons": ["because"],
    }
    path = f"/models/{model}" if model else None
    lake.ledger.write("decisions", [row | {"model_path": path}], run_id="r", message="a decision")


def current_model(lake: Lake) -> str | None:
    row = model_registry.current(lake, "generator")
    return row["model"] if row else None


def test_what_is_promoted_stands_and_what_is_kept_does_not(lake: Lake) -> None:
    assert current_model(lake) is None
    decide(lake, "promoted", "a")
    decide(lake, "kept", "b")
    decide(lake, "promoted", "other", alias="aligner")
    assert current_model(lake) == "a"


def test_rolling_back_goes_through_the_promotions_to_the_presets_own(lake: Lake) -> None:
    decide(lake, "promoted", "a")
    decide(lake, "promoted", "b")
    before = model_registry.before(lake, "generator")
    assert before is not None
    assert before["model"] == "a"
    decide(lake, "rolled back", "a")
    assert current_model(lake) == "a"
    assert model_registry.before(lake, "generator") is None
    decide(lake, "rolled back", None)
    assert current_model(lake) is None
    with pytest.raises(LakeUsageError, match="nothing to roll back"):
        model_registry.before(lake, "generator")
    decide(lake, "promoted", "c")
    assert current_model(lake) == "c"


def test_a_decision_is_written_once(lake: Lake) -> None:
    decide(lake, "promoted", "a")
    row = model_registry.decisions(lake)[0]
    lake.ledger.write("decisions", [{**row, "state": "kept"}], run_id="r", message="the same id again")
    assert [row["state"] for row in model_registry.decisions(lake)] == ["promoted"]


def test_models_say_how_they_stand_and_why(lake: Lake) -> None:
    rows = [{"id": name, "path": f"/models/sft-{name}", "recipe": "sft"} for name in "abcd"]
    lake.ledger.write("models", rows, run_id="r", message="trained")
    decide(lake, "promoted", "a")
    decide(lake, "promoted", "b")
    decide(lake, "kept", "c")
    assert {row["id"]: row["status"] for row in models(lake)} == {
        "a": "promoted",
        "b": "current",
        "c": "kept",
        "d": None,
    }
    assert [row["why"] for row in models(lake)] == [["because"]] * 3 + [None]


def test_a_model_is_found_by_how_its_id_or_folder_begins(lake: Lake) -> None:
    rows = [{"id": name, "path": f"/models/sft-{name}", "recipe": "sft"} for name in ("abc", "abd")]
    lake.ledger.write("models", rows, run_id="r", message="trained")
    assert model_registry.find(lake, "abc")["id"] == model_registry.find(lake, "sft-abc")["id"] == "abc"
    with pytest.raises(LakeUsageError, match=r"several models begin with 'ab'; expected one of sft-abc, sft-abd$"):
        model_registry.find(lake, "ab")
    with pytest.raises(LakeUsageError, match="no model begins with 'x'"):
        model_registry.find(lake, "x")

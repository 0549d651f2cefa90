"""Settings, the report's arithmetic, and a command line that fails early and in one sentence."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from tasks.train.__main__ import main
from tasks.train.fine_tune import summary
from tasks.train.recipes import dpo, engrave, sft


def test_defaults_are_the_sources_figures():
    assert (sft.Config.source.rate, sft.Config().epochs, sft.Config().max_length) == (2e-5, 1, 2048)
    assert (dpo.Config.source.rate, dpo.Config().epochs, dpo.Config().beta) == (5e-7, 3, 0.1)
    assert (engrave.Config.source.step, engrave.Config.source.lora_rate, engrave.Config().epochs) == (768, 4e-4, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"learning_rat": 1}, {"beta": 0.1}, {"epochs": 0}, {"lora": {"rank": 4}}, {"dtype": "int8"}, {"threads": 0}],
)
def test_sft_settings_refuse_what_they_do_not_know(wrong):
    with pytest.raises(ValidationError):
        sft.Config.model_validate(wrong)


def test_losses_are_means_over_the_first_and_last_tenth():
    history = [{"loss": 20.0 - step, "num_tokens": 100.0 * step, "margins": step, "epoch": 1} for step in range(20)]
    found = summary(history)
    assert found == {
        "steps": 20,
        "tokens": 1900,
        "loss_first": 19.5,
        "loss_last": 1.5,
        "metrics": {"margins": 18.5},
    }


def output_of(capsys, recipe, data, model, out, config="{}"):
    code = main([recipe, "--data", str(data), "--model", str(model), "--out", str(out), "--config", config])
    return code, capsys.readouterr().err.strip()


def test_the_command_exits_2_with_one_sentence(capsys, tmp_path, sft_view):
    nothing = tmp_path / "nothing"
    code, words = output_of(capsys, "sft", nothing, tmp_path, tmp_path / "out")
    assert code == 2
    assert words.startswith(f"error: {nothing}: got no train-*.parquet")

    code, words = output_of(capsys, "sft", sft_view, nothing, tmp_path / "out")
    assert code == 2
    assert words.startswith(f"error: model: got {nothing}, expected a folder with config.json")
    assert "\n" not in words

    code, words = output_of(capsys, "dpo", sft_view, nothing, tmp_path / "out", json.dumps({"betta": 1}))
    assert code == 2
    assert words.startswith("error: --config: betta: no such key; expected one of [")

    code, words = output_of(capsys, "dpo", sft_view, nothing, tmp_path / "out", "not json")
    assert code == 2
    assert words.startswith("error: --config: not JSON: ")


def test_what_stands_at_out_is_not_written_over(capsys, tmp_path, sft_view):
    (tmp_path / "config.json").write_text("{}")
    code, words = output_of(capsys, "sft", sft_view, tmp_path, tmp_path)
    assert code == 2
    assert "is there already" in words


def test_the_recipes_are_named_without_loading_torch():
    heavy = ["torch", "transformers", "trl", "datasets"]
    code = f"import sys, tasks.train.__main__; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

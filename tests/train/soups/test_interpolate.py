"""The mean of models: by hand, whole or not there, and refused where it would be no model."""

import json
import shutil

import pytest

from tasks.engines.identity import folder_hash
from tasks.train.config import TrainError
from tasks.train.soups.interpolate import interpolate


@pytest.fixture
def parts(base, tmp_path):
    """Two models as if a recipe had trained them from the random one."""
    return [moved(base, tmp_path / name, seed) for seed, name in enumerate(("helpful", "harmless"))]


def moved(base, place, seed, dtype="float32"):
    import torch
    from safetensors.torch import save_file

    draws = torch.Generator().manual_seed(seed)
    shutil.copytree(base, place)
    found = {name: one + 0.01 * torch.randn(one.shape, generator=draws) for name, one in weights(base).items()}
    found = {name: one.to(getattr(torch, dtype)) for name, one in found.items()}
    save_file(found, place / "model.safetensors", metadata={"format": "pt"})
    (place / "report.json").write_text(json.dumps({"base_model": str(base)}))
    return place


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_each_weight_is_the_mean_with_these_shares_and_the_ends_are_the_parts(parts, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    first, second = map(weights, parts)
    interpolate(parts, [0.25, 0.75], tmp_path / "between", texts={"report.json": "{}"})
    found = weights(tmp_path / "between")
    assert found.keys() == first.keys()
    for name, one in found.items():
        assert torch.allclose(one, 0.25 * first[name] + 0.75 * second[name], atol=1e-7)
    AutoModelForCausalLM.from_pretrained(tmp_path / "between")
    assert AutoTokenizer.from_pretrained(tmp_path / "between").chat_template
    assert (tmp_path / "between" / "report.json").read_text() == "{}"
    for place, shares in enumerate(([1, 0], [0, 1])):
        interpolate(parts, shares, tmp_path / f"end-{place}")
        assert all(
            torch.equal(one, (first, second)[place][name]) for name, one in weights(tmp_path / f"end-{place}").items()
        )
        assert folder_hash(tmp_path / f"end-{place}") != folder_hash(parts[place]), "another model in the registry"


def test_the_same_again_is_the_same_bytes_and_bfloat16_keeps_the_mean(base, tmp_path):
    import torch

    parts = [moved(base, tmp_path / str(seed), seed, "bfloat16") for seed in range(2)]
    for name in ("one", "again"):
        interpolate(parts, [0.5, 0.5], tmp_path / name)
    one, again = (tmp_path / name / "model.safetensors" for name in ("one", "again"))
    assert one.read_bytes() == again.read_bytes()
    first, second, found = map(weights, (*parts, tmp_path / "one"))
    exact = torch.cat([(first[name].float() + second[name].float()).flatten() / 2 for name in found])
    saved = torch.cat([found[name].float().flatten() for name in found])
    assert found["model.norm.weight"].dtype == torch.bfloat16
    nearest = exact.bfloat16().float()
    assert not torch.equal(saved, nearest)
    assert abs(float((saved - exact).mean())) < 1e-6  # of weights of 0.02, one place is 1e-4
    assert float((saved - exact).abs().max()) <= float(exact.abs().max()) / 128


def test_of_adapters_the_products_are_averaged_not_their_factors(base, tmp_path):
    """As merged weights have it: λ B₁A₁ + (1 − λ) B₂A₂, where the mean of the factors has another product."""
    import torch
    from safetensors.torch import save_file

    name, parts, factors = "model.layers.0.self_attn.q_proj.weight", [], []
    for seed in range(2):
        draws = torch.Generator().manual_seed(seed)
        b, a = torch.randn(64, 2, generator=draws), torch.randn(2, 64, generator=draws)
        place = moved(base, tmp_path / str(seed), 7)
        save_file(weights(base) | {name: weights(base)[name] + b @ a}, place / "model.safetensors")
        parts.append(place)
        factors.append((b, a))
    interpolate(parts, [0.5, 0.5], tmp_path / "between")
    change = weights(tmp_path / "between")[name] - weights(base)[name]
    (b, a), (d, c) = factors
    assert torch.allclose(change, (b @ a + d @ c) / 2, atol=1e-5)
    assert not torch.allclose(change, (b + d) @ (a + c) / 4, atol=1e-1)


def test_what_is_no_convex_mean_is_refused(parts, tmp_path):
    for shares in ([0.5, 0.6], [1.5, -0.5], [1.0], [float("nan"), 1]):
        with pytest.raises(TrainError, match=r"shares: got .*, expected 2 numbers from 0 to 1 whose sum is 1"):
            interpolate(parts, shares, tmp_path / "out")
    with pytest.raises(TrainError, match=r"out: got .*helpful, which is there already"):
        interpolate(parts, [0.5, 0.5], parts[0])


def other_start(part, base):
    started = shutil.copytree(base, part.parent / "start")
    (started / "generation_config.json").write_text("{}")
    (part / "report.json").write_text(json.dumps({"base_model": str(started)}))


def other_tokenizer(part, base):
    (part / "chat_template.jinja").write_text("{{ messages }}")


def other_architecture(part, base):
    config = json.loads((part / "config.json").read_text())
    (part / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))


def other_tensors(part, base):
    from safetensors.torch import save_file

    found = weights(part)
    del found["model.norm.weight"]
    save_file(found, part / "model.safetensors")


def unknown_start(part, base):
    (part / "report.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (other_start, r"helpful and .*harmless were trained from different starts, expected one"),
        (other_tokenizer, r"helpful and .*harmless have different tokenizers or chat templates, expected one"),
        (other_architecture, r"have other config.json: got num_hidden_layers '2' and '4'"),
        (other_tensors, r"have other tensors: got model.norm.weight: \('F32', \(64,\)\) and None"),
        (unknown_start, r"harmless/report.json: .*; give models that a recipe here has trained"),
    ],
)
def test_models_that_differ_in_more_than_their_weights_are_refused(parts, base, tmp_path, spoil, complaint):
    spoil(parts[1], base)
    with pytest.raises(TrainError, match=complaint):
        interpolate(parts, [0.5, 0.5], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_start_that_was_moved_is_known_by_its_weights(parts, base, tmp_path):
    moved_to = shutil.copytree(base, tmp_path / "elsewhere")
    (parts[1] / "report.json").write_text(json.dumps({"base_model": str(moved_to)}))
    interpolate(parts, [0.5, 0.5], tmp_path / "out")
    assert weights(tmp_path / "out")

"""Interpolation of models: θ = Σ λ_k θ_k, weight by weight.

Source: Rewarded soups (arXiv 2306.04488, section 2.2). The same: the models were trained from one start, each for an
axis of its own, and the shares are convex. Departures:
1. Whole weights are averaged. Where a recipe trained an adapter, its product BA is merged already, so that the mean is
   of the products; the paper's code averages A and B apart, whose product is another one.
2. The mean is computed in float32. What is saved in bfloat16 is rounded up or down at random, as trained weights are
   (`tasks.train.change`).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from alignery import effects
from alignery.untrusted import excerpt
from tasks.engines.identity import FILES, folder_hash
from tasks.train.change import stochastic
from tasks.train.checkpoint_dir import to_disk
from tasks.train.config import TrainError
from tasks.train.facts import check_files

WEIGHTS, INDEX = "*.safetensors", "*.safetensors.index.json"
SHARES = "alignery_shares"  # the field of config.json that says what was interpolated
_OWN = ("_name_or_path", "transformers_version", SHARES)  # fields of a config that say nothing of the model


def interpolate(
    models: Sequence[Path],
    shares: Sequence[float],
    out: Path,
    *,
    texts: Mapping[str, str] | None = None,
    seed: int = 42,
) -> None:
    """Write the model whose weights are the mean of those of `models`, with these shares, at `out`, all at once.

    One file of weights is in memory at a time. The same models, shares and seed give the same bytes.

    Args:
        models: folders as the recipes save them, with `report.json`.
        shares: of each model, from 0 to 1, 1 in all.
        texts: of further files, by name.
        seed: of the draws by which bfloat16 rounds.

    Raises:
        TrainError: the shares are none, `out` is there, or the models differ in more than the values of their weights.
    """
    import torch

    if len(shares) != len(models) or any(not 0 <= share <= 1 for share in shares) or not math.isclose(sum(shares), 1):
        raise TrainError(
            f"shares: got {[*shares]}, expected {len(models)} numbers from 0 to 1 whose sum is 1; correct them"
        )
    if out.exists():
        raise TrainError(f"out: got {out}, which is there already; give a folder that is not, or move it away")
    check_alike(models)
    partial, draws = out.with_name(f".{out.name}.partial"), torch.Generator().manual_seed(seed)
    with effects.WORK_CLEAR:
        shutil.rmtree(partial, ignore_errors=True)
    with effects.MODEL_WRITE:
        partial.mkdir(parents=True)
        for path in _beside(models[0]):
            shutil.copyfile(path, partial / path.name)
        # A model with all of one part's weights is another model than that part: each has a row of its own.
        config = _json(models[0] / "config.json") | {SHARES: [float(share) for share in shares]}
        (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        for name, text in (texts or {}).items():
            (partial / name).write_text(text, encoding="utf-8")
    with ExitStack() as opened:
        tensors = [_tensors(model, opened) for model in models]
        _check_tensors(models, tensors)
        for file, names in _by_file(models[0]):
            mixed = {name: _mean([of[name].get_tensor(name) for of in tensors], shares, draws) for name in names}
            _save(mixed, partial / file, tensors[0][names[0]].metadata())
    to_disk(partial)
    with effects.MODEL_RENAME:
        partial.rename(out)
        to_disk(out.parent, within=False)


def check_alike(models: Sequence[Path]) -> None:
    """Refuse models that no mean of weights can be taken of, before any weight is read.

    Raises:
        TrainError: a folder is no whole model, or they differ in architecture, tokenizer or start.
    """
    for model in models:
        check_files(model)
    first, *others = models
    start, config = _start(first), _config(first)
    words = [
        name for name in FILES if "safetensors" not in name and "pytorch" not in name and "config.json" not in name
    ]
    for model in others:
        if differences := sorted(key for key in config | _config(model) if config.get(key) != _config(model).get(key)):
            one, other = (excerpt(each.get(differences[0]), 60) for each in (config, _config(model)))
            got = f"{differences[0]} {one!r} and {other!r}"
            raise TrainError(f"models: {first} and {model} have other config.json: got {got}; interpolate models alike")
        if folder_hash(first, words) != folder_hash(model, words):
            raise TrainError(
                f"models: {first} and {model} have different tokenizers or chat templates, expected one; train both "
                "from the same start, by recipes that leave the template as it is"
            )
        if start != _start(model):
            raise TrainError(
                f"models: {first} and {model} were trained from different starts, expected one (report.json: "
                "base_model): the mean of their weights would be no model; train them from the same"
            )


def _start(model: Path) -> str:
    """What a model was trained from: the hash of that folder while it is there, else its path."""
    report = _json(model / "report.json")
    base = report.get("base_model")
    if not isinstance(base, str):
        raise TrainError(f"models: {model}/report.json says no base_model; give models that a recipe here has trained")
    return folder_hash(Path(base)) if Path(base).is_dir() else base


def _config(model: Path) -> dict[str, Any]:
    return {name: value for name, value in _json(model / "config.json").items() if name not in _OWN}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainError(f"models: {path}: {excerpt(error)}; give models that a recipe here has trained") from error
    if not isinstance(content, dict):
        raise TrainError(f"models: {path}: got no JSON object; give models that a recipe here has trained")
    return content


def _beside(model: Path) -> list[Path]:
    """Configuration, tokenizer and index: what decides a reply beside the weights."""
    paths = {path for pattern in FILES for path in model.glob(pattern) if path.is_file()}
    return sorted(path for path in paths if not path.match(WEIGHTS))


def _tensors(model: Path, opened: ExitStack) -> dict[str, Any]:
    """Name of a tensor → the open file that holds it."""
    from safetensors import safe_open

    files = sorted(model.glob(WEIGHTS))
    if not files:
        raise TrainError(f"models: {model} holds no {WEIGHTS}; save it in that format")
    handles = [opened.enter_context(safe_open(file, framework="pt")) for file in files]
    return {name: handle for handle in handles for name in handle.keys()}  # noqa: SIM118  # a handle is no mapping


def _check_tensors(models: Sequence[Path], tensors: Sequence[Mapping[str, Any]]) -> None:
    first, *others = [{name: _form(handle, name) for name, handle in of.items()} for of in tensors]
    for model, forms in zip(models[1:], others, strict=True):
        if differences := sorted(name for name in first.keys() | forms.keys() if first.get(name) != forms.get(name)):
            got = f"{excerpt(differences[0], 80)}: {first.get(differences[0])} and {forms.get(differences[0])}"
            raise TrainError(f"models: {models[0]} and {model} have other tensors: got {got}; interpolate models alike")


def _form(handle: Any, name: str) -> tuple[str, tuple[int, ...]]:
    part = handle.get_slice(name)
    return part.get_dtype(), tuple(part.get_shape())


def _by_file(model: Path) -> Iterator[tuple[str, list[str]]]:
    """The names of the tensors of each file of weights."""
    from safetensors import safe_open

    for file in sorted(model.glob(WEIGHTS)):
        with safe_open(file, framework="pt") as handle:
            yield file.name, sorted(handle.keys())


def _mean(values: Sequence[Any], shares: Sequence[float], draws: Any) -> Any:
    import torch

    dtype = values[0].dtype
    if not dtype.is_floating_point or all(torch.equal(values[0], value) for value in values[1:]):
        return values[0]
    mean = sum(share * value.float() for share, value in zip(shares, values, strict=True))
    return (stochastic(mean, draws) if dtype == torch.bfloat16 else mean).to(dtype).contiguous()


def _save(tensors: Mapping[str, Any], path: Path, metadata: Mapping[str, str] | None) -> None:
    from safetensors.torch import save_file

    with effects.MODEL_WRITE:
        save_file(dict(tensors), path, metadata=dict(metadata or {"format": "pt"}))

"""`python -m tasks.train sft|dpo --data DIR --model DIR --out DIR [--config JSON]`: one training, one process.

Exit codes: 0 trained, 1 the training failed, 2 what was given cannot be used.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from tasks.leash import leash
from tasks.train import dpo, sft
from tasks.train.common import Report, Settings, TrainError, TrainingFailed

_Config = TypeVar("_Config", bound=Settings)


def main(argv: list[str] | None = None) -> int:
    """Train as told by the arguments. Returns the exit code; an error is one sentence on stderr."""
    given = _parser().parse_args(argv)
    try:
        report = _train(given.recipe, given.data, given.model, given.out, given.config)
    except TrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TrainingFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print(
        f"{report.recipe}: {report.rows} rows, {report.steps} steps, loss {report.loss_first:.3g} → "
        f"{report.loss_last:.3g}, {report.seconds:.0f} s → {given.out}"
    )
    return 0


def _train(recipe: str, data: Path, model: Path, out: Path, config: str) -> Report:
    if recipe == "sft":
        return sft.train(data, model, out, _config(sft.Config, config))
    return dpo.train(data, model, out, _config(dpo.Config, config))


def _config(kind: type[_Config], text: str) -> _Config:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        known = list(kind.model_fields)
        raise TrainError(f"--config: {field}: {first['msg']}, got {first['input']!r}; it knows {known}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tasks.train", description="Fine-tune a model on one view.")
    parser.add_argument("recipe", choices=["sft", "dpo"])
    parser.add_argument("--data", type=Path, required=True, help="folder of train-*.parquet: one shape of an export")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder to make for the new model")
    parser.add_argument("--config", default="{}", help="the recipe's settings, as JSON")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a half-made folder is cleared away
    leash()
    sys.exit(main())

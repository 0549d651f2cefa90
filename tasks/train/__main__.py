"""`python -m tasks.train RECIPE --data DIR --model DIR --out DIR [--config JSON]`: one training.

With several GPUs, `processes` in the settings or a file of Accelerate's, it becomes `accelerate launch` with one
process each; under `torchrun`, or another launcher that sets WORLD_SIZE, it is one of these itself. A run that was
killed goes on from its last checkpoint when the same command is given again.

Exit codes: 0 trained, 1 the training failed, 2 what was given cannot be used (1, where several processes found it).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from alignery.errors import UsageError
from alignery.textfiles import parse_json
from alignery.untrusted import excerpt
from alignery.validation import validated
from tasks.engines.output import warned_to
from tasks.train.checkpoint_dir import check_folders
from tasks.train.config import Recipe, Settings, TrainError, TrainingFailed
from tasks.train.dataset import training_files
from tasks.train.launch import become, end_with_parent, processes


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the arguments say. Returns the exit code; an error is one sentence on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    given = _parser().parse_args(arguments)
    if given.with_parent or "WORLD_SIZE" in os.environ:
        end_with_parent()
    if given.with_parent:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's, which ends this process
    try:
        recipe = _recipe(given.recipe, given.method)
        config = _config(recipe.config, given.config)
        if "WORLD_SIZE" not in os.environ:
            training_files(given.data)  # a mistake is reported before torch is imported
            check_folders(given.model, given.out)
            if given.accelerate:
                become(config.processes, arguments, given.accelerate)
            elif (count := processes(config)) > 1:
                become(count, arguments)
        with warned_to(given.log):
            report = recipe.train(given.data, given.model, given.out, config)
    except UsageError as error:
        print(f"error: {excerpt(error, 2000)}", file=sys.stderr)
        return 2
    except TrainingFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except (OSError, MemoryError) as error:
        cause = f"{type(error).__name__}: {excerpt(error)}"
        print(f"failed: {cause}; fix that (a full disk, too little memory) and run it again", file=sys.stderr)
        return 1
    if os.environ.get("RANK", "0") == "0":
        print(
            f"{report.recipe}: {report.rows} rows, {report.steps} steps, loss {report.loss_first:.3g} → "
            f"{report.loss_last:.3g}, weights moved by {report.update:.2g} of their norm, {report.seconds:.0f} s "
            f"→ {given.out}"
        )
    return 0


def _recipe(name: str, files: Sequence[Path]) -> Recipe:
    """The recipe of a built-in method, of an installed package, or of one of those files."""
    from tasks.methods.registry import installed

    recipes = installed().with_files(files).recipes
    if name not in recipes:
        raise TrainError(f"got the recipe {name!r}, expected one of {list(recipes)}; give --method where it is yours")
    return recipes[name]


def _config(kind: type[Settings], text: str) -> Settings:
    return validated(kind, parse_json(text, "--config"), "--config", TrainError)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tasks.train", description="Fine-tune a model on one view.")
    parser.add_argument("recipe", help="its name; `alignery methods` lists them")
    parser.add_argument("--data", type=Path, required=True, help="folder of train-*.parquet: one shape of an export")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder to make for the new model")
    parser.add_argument("--config", default="{}", help="the recipe's settings, as JSON")
    parser.add_argument("--method", type=Path, action="append", default=[], help="file of a method that declares it")
    parser.add_argument("--accelerate", type=Path, help="a file that `accelerate config` makes")
    parser.add_argument("--log", type=Path, help="file for what libraries warn of; by default it is printed")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The command `alignery`. Each verb reads values, calls a flow or the lake, and shows what came of it.

Here stand the verbs that run a flow; `keeping` has those that take something from the lake, `looking` those that look
into it, `upkeep` those that keep it well. Heavy imports stand inside the verbs that need them, so that `--help` and
`tables` answer at once.
"""

from __future__ import annotations

import logging
import os

from flows import show
from flows.command import HOME, HomeOption, JsonOption, PresetOption, TagOption, WaitOption, app, fail, reading, run


@app.command()
def refresh(
    preset: PresetOption = "nano", home: HomeOption = HOME, wait: WaitOption = True, as_json: JsonOption = False
) -> None:
    """Write, answer, criticise, revise and correct until the preset's target of accepted instructions is reached.

    Only what the lake does not have is asked: run it again and nothing is sent; edit a principle and only what
    it touches is; kill it and the same command finishes the work.
    """
    from warehouse import look

    summary = run("refresh", preset, home, wait)
    with reading(home, preset) as lake:
        funnel = look.funnel(lake, summary.run_id)
    show.refreshed(summary, funnel, as_json)
    if summary.message:
        fail(summary.message, 3)


@app.command()
def publish(
    preset: PresetOption = "nano", home: HomeOption = HOME, tag: TagOption = None, as_json: JsonOption = False
) -> None:
    """Pin what the lake holds now under a tag, and export it: sft, preferences and qac, as trainers take them."""
    show.published(run("publish", preset, home, tag), as_json)


@app.command()
def retrain(
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    tag: TagOption = None,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune on a published tag (the newest by default) by the preset's recipes, each in a process of its own."""
    show.trained(run("retrain", preset, home, tag, wait), as_json)


@app.command()
def evaluate(
    preset: PresetOption = "nano", home: HomeOption = HOME, wait: WaitOption = True, as_json: JsonOption = False
) -> None:
    """Score the base model and the models trained from it on held-out prompts, and print before and after."""
    show.evaluated(run("evaluate", preset, home, wait), as_json)


# After the verbs that run, so that the help lists those first.
from flows import keeping, looking, upkeep  # noqa: E402, F401


def _speak() -> None:
    """Let the lake say on standard error what it has to say under way, whatever Prefect does to logs."""
    told = logging.StreamHandler()
    told.setFormatter(logging.Formatter("alignery: %(message)s"))
    lake = logging.getLogger("warehouse")
    lake.addHandler(told)
    lake.propagate = False


def main() -> None:
    """The entry point."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A fault is told once, by a sentence here; Prefect would print it again, with a page of its own calls.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    _speak()
    app()

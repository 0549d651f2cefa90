"""The command `alignery`. Each verb reads values, calls a flow or the lake, and shows the result.

Here are the verbs that run a flow; `export`, `fetch`, `inspect`, `maintain`, `marks`, `methods` and `serve` have
the others.
Heavy imports are inside the verbs that need them, so that `--help` and `tables` answer at once.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import CommandInfo

from alignery.cli import entry
from alignery.cli.options import (
    HOME,
    Command,
    HomeOption,
    JsonOption,
    PrefectOption,
    PresetOption,
    PublishedOption,
    QuietOption,
    TagOption,
    WaitOption,
    app,
    fail,
    reading,
    run,
    writing,
)
from alignery.cli.render import estimate, results
from alignery.cli.render.console import hint
from tasks.evaluate import HISTORY, PICTURES

if TYPE_CHECKING:
    from alignery.pipeline.run import Run
    from warehouse import Lake

WhyOption = Annotated[str | None, typer.Option("--why", help="The reason, in a sentence.")]


@app.command()
def plan(
    compare: Annotated[
        bool, typer.Option("--compare", help="Show the newest plan next to what refreshes took; no request is sent.")
    ] = False,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    wait: WaitOption = True,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Estimate a refresh from five sample rows per step: calls, tokens, minutes, and cost.

    What the lake has is counted as saved, and a step that was run before is not probed. Answers are kept, so the
    refresh does not request them again. The cost is estimated if the preset names a price file (`prices:`).
    """
    if compare:
        from alignery.config.preset import load
        from warehouse.query import estimates

        with reading(home, preset) as lake:
            newest = estimates.newest(lake, load(preset).hash)
            return estimate.compared(estimates.estimate_vs_actual(lake, newest[0]["id"]) if newest else [], as_json)
    return estimate.planned(run("plan", preset, home, prefect=False, wait=wait), as_json)


@app.command()
def refresh(
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    wait: WaitOption = True,
    prefect: PrefectOption = True,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write, answer, criticise, revise and correct until the preset's target of accepted instructions is reached.

    Only requests without an answer in the lake are sent: run it again and nothing is sent; edit a principle and only
    requests that use it are; kill it and the same command finishes the work.
    """
    from warehouse.query import status

    summary = run("refresh", preset, home, wait=wait, prefect=prefect)
    with reading(home, preset) as lake:
        funnel = status.funnel(lake, summary.run_id)
    results.refreshed(summary, funnel, as_json)
    if summary.message:
        fail(summary.message, 3)


@app.command()
def publish(
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    tag: TagOption = None,
    prefect: PrefectOption = True,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tag the newest snapshot and export it as training sets: sft, preferences and qac."""
    results.published(run("publish", preset, home, tag=tag, prefect=prefect), as_json)


@app.command()
def retrain(
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    tag: PublishedOption = None,
    wait: WaitOption = True,
    prefect: PrefectOption = True,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune on a published tag (by default the newest) with the preset's recipes, each in its own process."""
    models = run("retrain", preset, home, tag=tag, wait=wait, prefect=prefect)
    from alignery.config.preset import load

    results.trained(models, load(preset).evaluate is not None, as_json)


@app.command()
def evaluate(
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    logs: Annotated[
        Path | None, typer.Option(help="Write logs of all answers to this folder, for `inspect view`.")
    ] = None,
    wait: WaitOption = True,
    prefect: PrefectOption = True,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score the base model and the models trained from it on held-out prompts, and print before and after.

    The charts are written to HOME/pictures.
    """
    results.evaluated(run("evaluate", preset, home, logs=logs, wait=wait, prefect=prefect), as_json, home / PICTURES)


@app.command()
def demo(home: HomeOption = HOME, prefect: PrefectOption = True, quiet: QuietOption = False) -> None:
    """Run the whole loop on the embedded model: refresh, publish, retrain, evaluate. Minutes, no GPU, no network.

    Run it again: no request is sent, nothing is committed, nothing is trained twice.
    """
    for verb in (refresh, publish, retrain, evaluate):
        hint(f"\nalignery {verb.__name__}")
        verb(home=home, prefect=prefect)
    hint("\nLook at the results: alignery view · alignery status · alignery rejects")


@app.command()
def promote(
    model: Annotated[str | None, typer.Argument(help="A trained model to promote by hand: its id or folder.")] = None,
    why: WhyOption = None,
    alias: Annotated[
        str | None,
        typer.Option("--alias", help="The alias to bind MODEL to; by default the one that its recipe trains for."),
    ] = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    wait: WaitOption = True,
    prefect: PrefectOption = True,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put the trained models through the gate: it promotes one that is better on an axis and worse on none.

    An Aligner that the preset stacks is judged by its corrections of the generator's answers. MODEL is promoted by
    hand, whatever the gate says, with the reason in --why.
    """
    if model is None:
        decided = run("promote", preset, home, wait=wait, prefect=prefect)
        return results.decided(decided, as_json, home / PICTURES / HISTORY)
    from alignery.pipeline.runs.promotion import promote_manually

    reason = _reason(why)
    with _promoting(preset, home) as (lake, by_hand):
        decided = promote_manually(lake, by_hand, model, reason, alias)
    return results.decided([decided], as_json, home / PICTURES / HISTORY)


@app.command()
def rollback(
    why: WhyOption = None,
    alias: Annotated[str, typer.Option("--alias", help="The model alias: generator, aligner, …")] = "generator",
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Restore the model that was in use before the current one, with the reason in --why."""
    from alignery.pipeline.runs.promotion import roll_back

    reason = _reason(why)
    with _promoting(preset, home) as (lake, by_hand):
        decided = roll_back(lake, by_hand, reason, alias)
    results.decided([decided], as_json, home / PICTURES / HISTORY)


def _reason(why: str | None) -> str:
    return why or fail("--why: got nothing; give the reason in a sentence; it is kept with the decision", 2)


@contextmanager
def _promoting(preset: str, home: Path) -> Iterator[tuple[Lake, Run]]:
    """The lake and the run of a promotion that a person decides on."""
    from alignery.config.preset import load
    from alignery.pipeline.run import Run

    with writing(home, preset) as lake, Run(lake, "promote", load(preset)) as run:
        yield lake, run
        run.end("finished", {})


# After the verbs that run, so that the help lists those first.
from alignery.cli import export, fetch, inspect, maintain, marks, methods, serve, start, view  # noqa: E402, F401

GROUPS = {
    "Start": ("demo", "init", "check", "schema", "fetch", "methods"),
    "Run": ("plan", "refresh", "publish", "retrain", "evaluate", "promote", "rollback", "serve", "bootstrap", "server"),
    "Inspect": (
        "view",
        "status",
        "rejects",
        "trace",
        "show",
        "tables",
        "sql",
        "models",
        "stack",
        "ranking",
        "snapshots",
        "diff",
    ),
    "Export and maintain": ("export", "push", "tag", "maintain", "doctor"),
}


def _group_commands() -> None:
    """The help lists the verbs under what a user is about to do, and shows their flags without a value."""
    verbs = [(verb, group) for group, some in GROUPS.items() for verb in some]
    places = {verb: (place, group) for place, (verb, group) in enumerate(verbs)}

    def place(command: CommandInfo) -> int:
        number, command.rich_help_panel = places[str(command.name or getattr(command.callback, "__name__", ""))]
        return number

    app.registered_commands.sort(key=place)
    for command in (*app.registered_commands, *marks.marks_app.registered_commands):
        command.cls = Command


_group_commands()


def _speak() -> None:
    """Send the logs of the lake and of `alignery` to standard error, whatever Prefect does to logging."""
    handler = logging.StreamHandler()
    handler.setFormatter(entry.Sentences())
    for name in ("warehouse", "alignery"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.propagate = False


def main() -> None:
    """The entry point."""
    entry.open_streams()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # An error is printed once, by a sentence here; Prefect would print it again, with a traceback.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    # At exit a garbage collection over all that torch and Prefect left would take half a second.
    atexit.register(gc.freeze)
    _speak()
    sys.exit(entry.main(sys.argv[1:]))

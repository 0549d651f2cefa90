"""The command `alignery`. Each verb reads values, calls a flow or the lake, and shows what came of it.

Exit codes: 0 done, 1 the run failed, 2 your mistake (one sentence says which), 3 it stopped short of its target.
Heavy imports stand inside the verbs that need them, so that `--help` and `tables` answer at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from flows import show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help=(
        "A self-alignment data factory.\n\n"
        "A language model writes instructions, answers them under rules, criticises and revises its answers, and "
        "corrects them. Every attempt is a row in a lake that you can query. A published snapshot trains the next "
        "model.\n\n"
        "[bold]Start:[/bold]  alignery refresh → alignery publish → alignery retrain → alignery evaluate\n\n"
        "[bold]Look:[/bold]   alignery tables · alignery show revisions · alignery sql 'SELECT * FROM funnel'\n\n"
        "Everything is kept in the folder .alignery (ALIGNERY_HOME). Run a verb twice: what is done is not done again."
    ),
    epilog="Exit codes: 0 done · 1 the run failed · 2 your mistake · 3 stopped short of its target.",
)

PresetOption = Annotated[
    str, typer.Option("--preset", "-p", help="A shipped preset (nano, one-gpu, server) or the path of a .yaml file.")
]
HomeOption = Annotated[
    Path, typer.Option("--home", envvar="ALIGNERY_HOME", help="The folder of the lake, its exports and models.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
TagOption = Annotated[str | None, typer.Option("--tag", help="The tag's name.")]
HOME = Path(".alignery")
FAREWELL_S = 10
INTERRUPTED = 130  # exit code, as a shell counts a Ctrl-C


@app.command()
def refresh(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Write, answer, criticise, revise and correct until the preset's target of accepted instructions is reached.

    Only what the lake does not have is asked: run it again and nothing is sent; edit a principle and only what
    it touches is; kill it and the same command finishes the work.
    """
    from warehouse import Lake, look

    summary = _run("refresh", preset, home)
    with Lake.open(home, read_only=True) as lake:
        funnel = look.funnel(lake, summary.run_id)
    show.refreshed(summary, funnel, as_json)
    if summary.message:
        _fail(summary.message, 3)


@app.command()
def publish(
    preset: PresetOption = "nano", home: HomeOption = HOME, tag: TagOption = None, as_json: JsonOption = False
) -> None:
    """Pin what the lake holds now under a tag, and export it: sft, preferences and qac, as trainers take them."""
    show.published(_run("publish", preset, home, tag), as_json)


@app.command()
def retrain(
    preset: PresetOption = "nano", home: HomeOption = HOME, tag: TagOption = None, as_json: JsonOption = False
) -> None:
    """Fine-tune on a published tag (the newest by default): SFT, then DPO, each in a process of its own."""
    show.trained(_run("retrain", preset, home, tag), as_json)


@app.command()
def evaluate(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Score the base model and the models trained from it on held-out prompts, and print before and after."""
    show.evaluated(_run("evaluate", preset, home), as_json)


@app.command()
def tables(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """List the lake's tables and views, with their rows and what they hold."""
    from warehouse import Lake, look

    with _sentences(), Lake.open(home, read_only=True) as lake:
        show.rows(look.tables(lake), as_json)


@app.command("show")
def show_table(
    table: Annotated[str, typer.Argument(help="A table or view: see `alignery tables`.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many rows, newest first.")] = 5,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Show the newest rows of a table or view, one field a line."""
    from warehouse import Lake, look

    with _sentences(), Lake.open(home, read_only=True) as lake:
        show.records(look.show(lake, table, limit), as_json)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="For example: SELECT step, reason, count(*) FROM rejects GROUP BY ALL")],
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Ask the lake in DuckDB's SQL. It reads and never writes."""
    from warehouse import Lake

    with _sentences(), Lake.open(home, read_only=True) as lake:
        show.rows(lake.rows(query), as_json)


@app.command()
def status(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Say what the newest runs did, what is published, and which models were trained on it."""
    from warehouse import Lake, look

    with _sentences(), Lake.open(home, read_only=True) as lake:
        show.status(look.status(lake), as_json)


def _run(name: str, preset: str, *values: Any) -> Any:
    """Await the flow of that name; its known faults become a sentence and an exit code."""
    from flows.presets import load

    with _sentences():
        load(preset).check()
        # Prefect takes seconds to import: a mistake in the preset is told before.
        from flows.factory import StageStopped
        from flows.retrain import TrainingStopped
        from tasks.engines import EngineDown

        _check_prefect()
        flow = getattr(import_module(f"flows.{name}"), name)
        try:
            return asyncio.run(_interruptible(flow(preset, *values)))
        except (EngineDown, StageStopped, TrainingStopped) as error:
            _fail(error, 1)


async def _interruptible(flow: Coroutine[Any, Any, Any]) -> Any:
    """Await a flow; Ctrl-C ends it with what was answered committed, and a second one, or ten seconds, end it hard.

    Prefect's own server dies of the same Ctrl-C, and its client then waits for it.
    """
    running = asyncio.ensure_future(flow)
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        print("alignery: stopping, and committing what was answered; Ctrl-C again stops at once", file=sys.stderr)
        running.cancel()
        loop.add_signal_handler(signal.SIGINT, os._exit, INTERRUPTED)
        threading.Timer(FAREWELL_S, os._exit, [INTERRUPTED]).start()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        return await running
    except asyncio.CancelledError:
        # Nothing is left to do but Prefect's threads, which may wait for a server that is gone.
        os._exit(INTERRUPTED)


def _check_prefect() -> None:
    """A server that was named must answer; found out here, before Prefect tells it on four hundred lines."""
    from flows.presets import PresetError

    api = os.environ.get("PREFECT_API_URL")
    if not api:
        return
    import httpx

    try:
        httpx.get(f"{api.rstrip('/')}/health", timeout=10).raise_for_status()
    except httpx.HTTPError as error:
        raise PresetError(
            f"PREFECT_API_URL: nothing healthy answers at {api} ({error}); start that server, or unset the variable"
        ) from error


@contextmanager
def _sentences() -> Iterator[None]:
    """Turns a user's mistake into one sentence on standard error and exit code 2."""
    try:
        yield
    except ValueError as error:
        # Imported here, so that looking at a lake does not load what it does not need.
        from flows.presets import PresetError
        from prompts import PromptError
        from tasks.engines import SpecError
        from tasks.evaluate.held_out import HeldOutError
        from warehouse import LakeError

        if not isinstance(error, PresetError | PromptError | SpecError | HeldOutError | LakeError):
            raise
        _fail(error, 2)


def _fail(error: Exception | str, code: int) -> NoReturn:
    print(f"alignery: {error}", file=sys.stderr)
    raise typer.Exit(code) from None


def main() -> None:
    """The entry point."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A fault is told once, by a sentence here; Prefect would print it again, with a page of its own calls.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    app()

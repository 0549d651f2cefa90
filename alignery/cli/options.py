"""What all verbs of the command share: the app, its options, how a flow is run and how an error is reported.

Exit codes: 0 done, 1 the run failed, 2 your mistake (one sentence says which), 3 it stopped short of its target,
130 Ctrl-C.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from alignery.cli import hints
from alignery.cli.imports import import_flow, import_run, without_collections
from alignery.cli.render import console
from alignery.errors import AligneryError
from alignery.untrusted import excerpt

if TYPE_CHECKING:
    from warehouse import Lake, LakeLocation


class Group(TyperGroup):
    """A group of commands whose flags are shown without a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _flags_without_value(super().get_params(ctx))


class Command(TyperCommand):
    """A command whose flags are shown without a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _flags_without_value(super().get_params(ctx))


def _flags_without_value(parameters: list[Any]) -> list[Any]:
    """Typer's help would show `--quiet <bool>`, which reads as if a value were expected."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    help=(
        "A self-alignment data factory.\n\n"
        "A language model writes instructions, answers them under principles, criticises and revises its answers, "
        "and corrects them. Every attempt is a row in a lake that you can query. A published snapshot trains the next "
        "model.\n\n"
        "[bold]Start:[/bold]  alignery demo, then alignery init FOLDER: your own project\n\n"
        "[bold]Look:[/bold]   alignery view · alignery status · alignery rejects · alignery trace ID\n\n"
        "Everything is stored in the folder .alignery (--home, ALIGNERY_HOME). Run a command twice: finished work is "
        "not repeated."
    ),
    epilog="Exit codes: 0 done · 1 the run failed · 2 wrong input · 3 stopped short of its target · 130 Ctrl-C.",
)

HOME = Path(".alignery")


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"alignery {version('alignery')}")
        raise typer.Exit


def _quiet(context: typer.Context, quiet: bool) -> bool:
    """Until the command ends: no progress, no hints, and only errors of the lake's log."""
    if quiet:
        from alignery.pipeline.progress import hidden

        for silence in (hidden(), console.quiet(), _only_errors()):
            context.with_resource(silence)
    return quiet


@contextmanager
def _only_errors() -> Iterator[None]:
    lake = logging.getLogger("warehouse")
    before = lake.level
    lake.setLevel(logging.ERROR)
    try:
        yield
    finally:
        lake.setLevel(before)


QuietOption = Annotated[bool, typer.Option("--quiet", "-q", callback=_quiet, help="Show only the result and errors.")]


@app.callback()
def _of_all_verbs(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    pass


def _preset(value: str) -> str:
    hints.set_option("--preset", value, "nano")
    return value


def _home(value: str | Path) -> Path:
    text = str(value)
    if not text.strip() or any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text):
        raise typer.BadParameter(f"got '{excerpt(text, 100)}', expected a folder; name one, in UTF-8")
    path = Path(text)
    there = next((each for each in (path, *path.parents) if os.path.lexists(each)), Path())
    if not os.path.isdir(there):
        raise typer.BadParameter(f"got '{excerpt(text, 200)}', but {excerpt(there, 200)} is no folder; name another")
    hints.set_option("--home", text, str(HOME))
    return path


PresetOption = Annotated[
    str,
    typer.Option(
        "--preset",
        "-p",
        envvar="ALIGNERY_PRESET",
        callback=_preset,
        help="A shipped preset (nano, one-gpu, server) or the path of a .yaml file.",
    ),
]
HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="ALIGNERY_HOME",
        parser=_home,
        metavar="PATH",
        help="The folder of the lake, its exports and models.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]
WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait", help="If another process uses this lake: wait for it, or print which it is and exit."
    ),
]
PrefectOption = Annotated[
    bool,
    typer.Option(
        "--prefect/--no-prefect", envvar="ALIGNERY_PREFECT", help="Run as a Prefect flow, or without Prefect."
    ),
]
TagOption = Annotated[str | None, typer.Option("--tag", help="Name of the new tag; by default the next of v1, v2, …")]
PublishedOption = Annotated[
    str | None, typer.Option("--tag", help="The published tag to train on; by default the newest.")
]
AtOption = Annotated[
    str | None,
    typer.Option("--at", help="As of a tag, a snapshot's number, a date or time (UTC), or an age: 7d."),
]
FAREWELL_S = 10
GRACE_S = 0.5  # from a Ctrl-C in a query until the process ends, whatever it does
# Errors of the system when a file is created: what the user can do.
_DENIED = dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "choose a place that you may write to")
_DENIED |= dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space")
_DENIED |= dict.fromkeys(
    (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), "give a place that can be there"
)
_DENIED |= dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)")
_STOPPED = "stopped by Ctrl-C; the lake was not changed"
MOST = 10**9  # of a count on the command line; DuckDB would not take every one
INTERRUPTED = 130  # exit code, as a shell counts a Ctrl-C


def place(home: Path, preset: str) -> LakeLocation:
    """Where the lake is that a preset writes to, as seen from this home."""
    from alignery.config.preset import load

    return load(preset).place(home)


@contextmanager
def reading(home: Path, preset: str, at: str | None = None) -> Iterator[Lake]:
    """The lake, open for reading, now or as of `at`; known errors become a one-line message and an exit code."""
    from alignery.config.preset import load
    from warehouse import Lake
    from warehouse.query.snapshots import resolve

    with ExitStack() as stack:
        stack.enter_context(handle_errors())
        loaded_preset = load(preset)
        stack.enter_context(interruptible())
        lake = stack.enter_context(
            Lake.open(loaded_preset.place(home), schema=loaded_preset.lake_schema, read_only=True)
        )
        if at is None:
            yield lake
        else:
            with Lake.open(lake.place, schema=loaded_preset.lake_schema, snapshot=resolve(lake, at)) as pinned:
                yield pinned


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends a query at once, with exit code 130, whatever DuckDB is doing.

    Python itself handles a signal only when DuckDB returns, so a thread is woken by it and interrupts the query. What
    then still runs (one huge value, say) ends with the process: a read cannot be left half done.
    """
    ended = threading.Event()
    ours, woken = socket.socketpair()
    woken.setblocking(False)
    before = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_interrupt_on_signal, args=(ours, ended), daemon=True).start()
    try:
        yield
    except (KeyboardInterrupt, RuntimeError) as error:
        # While the lake is opened, DuckDB notices the signal itself, and raises a bare RuntimeError.
        if not isinstance(error, KeyboardInterrupt) and str(error) != "Query interrupted":
            raise
        ended.set()
        fail(_STOPPED, INTERRUPTED)
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        woken.close()


def _interrupt_on_signal(woken: socket.socket, ended: threading.Event) -> None:
    """Until the other end is closed: on SIGINT interrupt DuckDB's statement, and make sure that the process ends."""
    from warehouse.database.connection import interrupt

    with woken:
        while number := woken.recv(1):
            if number[0] == signal.SIGINT:
                interrupt()
                if not ended.wait(GRACE_S):
                    print(f"alignery: {_STOPPED}", file=sys.stderr, flush=True)
                    os._exit(INTERRUPTED)


@contextmanager
def writing(home: Path, preset: str) -> Iterator[Lake]:
    """The lake, open for writing, for a verb that runs no flow."""
    from alignery.config.preset import load
    from warehouse import Lake

    with handle_errors():
        loaded_preset = load(preset)
        with Lake.open(loaded_preset.place(home), schema=loaded_preset.lake_schema) as lake:
            yield lake


def run(verb: str, preset: str, home: Path, *, prefect: bool = True, **values: Any) -> Any:
    """Await the verb's flow, or its work without one; known errors become a one-line message and an exit code."""
    with handle_errors():
        with without_collections():
            check_installed(verb, preset)
            work = (import_flow if prefect else import_run)(verb, preset, home)
        return asyncio.run(_interruptible(work(preset, home, **values)))


def check_installed(verb: str, preset: str) -> None:
    """Check, before a lake is created or a server started, that the preset is valid and its libraries are installed."""
    with handle_errors():
        from alignery.config import extras
        from alignery.config.preset import load

        extras.check_installed(load(preset), verb)


async def _interruptible(flow: Coroutine[Any, Any, Any]) -> Any:
    """Await a flow; Ctrl-C ends it and commits what was answered; a second one, or ten seconds, end it hard."""
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


@contextmanager
def handle_errors() -> Iterator[None]:
    """Each error of Alignery's becomes one message and its exit code."""
    try:
        yield
    except AligneryError as error:
        fail(error, error.exit_code)
    except OSError as error:
        if error.errno not in _DENIED:
            raise
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{os.strerror(error.errno).lower()}; {_DENIED[error.errno]}, and run again", 2)


def fail(error: Exception | str, code: int) -> NoReturn:
    print(f"alignery: {excerpt(hints.runnable(str(error)), 2000)}", file=sys.stderr)
    raise typer.Exit(code) from None

"""The verbs that run the loop: `serve` by the clock and by events, `bootstrap` round by round."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flows import show_serving
from flows.command import (
    HOME,
    INTERRUPTED,
    HomeOption,
    JsonOption,
    PresetOption,
    WaitOption,
    app,
    check_prefect,
    run,
    sentences,
)


@app.command()
def serve(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Run the preset's schedule until Ctrl-C: refresh and publish by the clock, retrain and judge by the event.

    One process does it all. A Prefect server is started for it, unless PREFECT_API_URL names one.
    """
    from flows.presets import PresetError, load
    from warehouse import Lake
    from warehouse.lock import exclusive

    with sentences():
        made = load(preset)
        if made.schedule is None:
            raise PresetError(
                f"preset {preset}: got no 'schedule' section; say when, as in: schedule: {{refresh: '0 3 * * *'}}"
            )
        made.check()
        place = made.place(home.absolute())
        Lake.open(place).close()
        # SIGTERM ends it as Ctrl-C does, until the loop below takes both.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with exclusive(place, "serve", "alignery serve", wait=False), _prefect(home) as api:
            from flows.serve import serve as serving

            started = partial(show_serving.started, api=api, as_json=as_json)
            told = asyncio.run(serving(made, preset, home, _tell, started))
    if told == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


def _tell(text: str) -> None:
    print(f"alignery: {text}", file=sys.stderr, flush=True)


@contextmanager
def _prefect(home: Path) -> Iterator[str]:
    """The API of the server that was named, or of one that lives as long as this block."""
    from flows.server import own_server

    # The flows' processes are started in a folder of the user's, whose `tasks` or `flows` are not ours.
    os.environ["PYTHONSAFEPATH"] = "1"
    if api := os.environ.get("PREFECT_API_URL"):
        check_prefect()
        yield api
        return
    # Beside the lake, so that each lake's server has a record of its own.
    own = Path(os.environ.setdefault("PREFECT_HOME", str(home.absolute() / "prefect")))
    with own_server(own) as api:
        os.environ["PREFECT_API_URL"] = api  # before Prefect is imported, which reads it then
        yield api


@app.command()
def bootstrap(
    rounds: Annotated[int, typer.Option("--rounds", "-n", min=1, help="How many at most.")] = 3,
    name: Annotated[
        str, typer.Option("--name", help="Its tags are NAME-1, NAME-2, …; another name begins anew.")
    ] = "boot",
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Refresh, publish, retrain and judge, round after round; the model that is promoted writes the next round.

    It ends with the first round that promotes none. Kill it, and the same command goes on in the round it was in.
    """
    from flows.presets import PresetError, load

    with sentences():
        made = load(preset)
        for section in ("retrain", "evaluate"):
            if getattr(made, section) is None:
                raise PresetError(f"preset {preset}: got no {section!r} section; a bootstrap trains and judges")
    done = run("bootstrap", preset, home, rounds, name, wait)
    show_serving.bootstrapped(done, as_json)
    if done.state == "short":
        raise typer.Exit(3)

"""The verbs that run the loop: `serve` by the clock and by events, `bootstrap` round by round."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from alignery.cli.imports import check_prefect
from alignery.cli.options import (
    HOME,
    INTERRUPTED,
    MOST,
    HomeOption,
    JsonOption,
    PresetOption,
    QuietOption,
    WaitOption,
    app,
    check_installed,
    fail,
    handle_errors,
    run,
)
from alignery.cli.render import results
from alignery.cli.render import serve as show_serving
from alignery.cli.render.console import say
from alignery.secrets import mask
from alignery.untrusted import excerpt


def _address(value: str) -> tuple[str, int]:
    """Host and port of `9464` or `0.0.0.0:9464`; without a host it is 127.0.0.1, only for this machine."""
    host, _, port = value.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise typer.BadParameter(f"got {excerpt(value, 60)}, expected a port, or HOST:PORT, such as 9464")
    return host.strip("[]") or "127.0.0.1", int(port)


def _checked(value: str | None) -> str | None:
    if value is not None:
        _address(value)
    return value


@app.command()
def serve(
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", callback=_checked, metavar="[HOST:]PORT", help="Answer Prometheus at /metrics there."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the preset's schedule until Ctrl-C: refresh and publish on time, retrain and promote on new data.

    One process does it all. A Prefect server is started for it, unless PREFECT_API_URL names one.
    """
    from alignery.config.preset import load
    from alignery.config.schema import PresetError
    from alignery.pipeline.run import measure
    from warehouse import Lake
    from warehouse.database.lock import exclusive

    with handle_errors():
        loaded_preset = load(preset)
        if loaded_preset.schedule is None:
            raise PresetError(
                f"preset {preset}: got no 'schedule' section; say when, as in: schedule: {{refresh: '0 3 * * *'}}"
            )
        check_installed("serve", preset)
        loaded_preset.check()
        place = loaded_preset.place(home.absolute())
        with _metrics(metrics) as metrics_url:
            with Lake.open(place, schema=loaded_preset.lake_schema) as lake:
                measure(lake)
            # SIGTERM ends it as Ctrl-C does, until the loop below takes both.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with exclusive(place, "serve", "alignery serve", wait=False), _prefect(home) as (api, login):
                from flows.deploy import serve as serving

                started = partial(show_serving.started, api=api, login=login, metrics=metrics_url, as_json=as_json)
                ended_by = asyncio.run(serving(loaded_preset, preset, home, _tell, started))
    if ended_by == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


def _tell(text: str) -> None:
    print(f"alignery: {text}", file=sys.stderr, flush=True)


@contextmanager
def _metrics(address: str | None) -> Iterator[str | None]:
    """The URL of /metrics, which is served at an address while the block runs; None without an address."""
    if address is None:
        yield None
        return
    from alignery.monitor.prometheus import served

    with served(*_address(address)) as url:
        yield url


@contextmanager
def _prefect(home: Path) -> Iterator[tuple[str, Path | None]]:
    """The API of the server that was named, or of one that lives as long as this block, and how to log in there."""
    from flows.prefect_server import bypass_proxy, check_named, keep_settings_in, private_home, start_server

    # The flows' processes are started in a folder of the user's, whose `tasks` or `flows` are not ours.
    os.environ["PYTHONSAFEPATH"] = "1"
    bypass_proxy()
    check_prefect()
    own = private_home(home)  # beside the lake, so that each lake's server has a record of its own
    keep_settings_in(own)
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    if api := PREFECT_API_URL.value():
        check_named()
        yield mask(api), None
        return
    os.environ.setdefault("PREFECT_HOME", str(own))
    with start_server(own) as server, server.login_file(own) as login:
        os.environ |= server.settings  # for the processes of the flows
        with temporary_settings({PREFECT_API_URL: server.api, PREFECT_API_AUTH_STRING: server.auth}):
            yield server.api, login


@app.command()
def server(
    action: Annotated[str, typer.Argument(help="status, stop or open (its pages, in a browser).")] = "status",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Say where this lake's Prefect server is, which verbs start and share; stop it, or open its pages."""
    from flows import shared_server
    from flows.prefect_server import private_home

    if action not in ("status", "stop", "open"):
        fail(f"got {action!r}, expected status, stop or open; choose one", 2)
    with handle_errors():
        place = private_home(home)
        there = shared_server.running(place)
        if action == "stop":
            shared_server.stop(place)
    if there is None and not as_json:
        return say("no Prefect server is there; the next verb that runs a flow starts one")
    if there and action == "open":
        webbrowser.open(there.url)
    facts = [there.facts(place) | {"stopped": action == "stop"}] if there else []
    return results.records(facts, as_json)


@app.command()
def bootstrap(
    rounds: Annotated[int, typer.Option("--rounds", "-n", min=1, max=MOST, help="How many at most.")] = 3,
    name: Annotated[
        str, typer.Option("--name", help="Its tags are NAME-1, NAME-2, …; another name starts over.")
    ] = "boot",
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    wait: WaitOption = True,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Refresh, publish, retrain and judge, round after round; the model that is promoted writes the next round.

    It ends with the first round that promotes none, or as `rounds` in the preset says, when the reward is flat. Kill
    it, and the same command goes on in the round it was in.
    """
    from alignery.config.preset import load
    from alignery.config.schema import PresetError

    with handle_errors():
        loaded_preset = load(preset)
        for section in ("retrain", "evaluate"):
            if getattr(loaded_preset, section) is None and not loaded_preset.rounds:
                raise PresetError(f"preset {preset}: got no {section!r} section; a bootstrap trains and judges")
    done = run("bootstrap", preset, home, rounds=rounds, name=name, wait=wait)
    show_serving.bootstrapped(done, as_json)
    if done.state == "short":
        raise typer.Exit(3)

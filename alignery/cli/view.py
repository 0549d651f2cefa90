"""The verb that shows the lake in a browser, or writes its pages to a folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import typer

from alignery.cli.options import HOME, AtOption, HomeOption, PresetOption, app, handle_errors

if TYPE_CHECKING:
    from alignery.config.schema import Schedule


@app.command()
def view(
    place: Annotated[
        str | None, typer.Argument(help="The folder of a lake, or a preset; by default what --home and --preset say.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8765,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; beyond this machine a token is asked for.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A further name by which browsers ask for it (a proxy's).")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="ALIGNERY_VIEW_TOKEN", help="What to ask for; one is made where it is needed."),
    ] = None,
    at: AtOption = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Write the pages as files to this new folder, and serve nothing.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the report of a run as this one HTML file.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Whose report: the newest run's by default.")] = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
) -> None:
    """Show the lake in a browser: what was rejected and why, each row's story, pairs, principles, models, runs.

    It reads, also while a refresh runs, and writes nothing but the marks that you make. Only this machine reaches it,
    unless --host says otherwise.
    """
    from alignery.config.preset import load
    from alignery.view import bundle as bundles
    from alignery.view.app import Site
    from alignery.view.lakes import Lakes
    from alignery.view.serve import serve

    if place and Path(place).is_dir():
        home = Path(place)
    elif place:
        preset = place
    with handle_errors():
        lakes = Lakes(home, load(preset), _upcoming)
        lakes.at(at)
        if report:
            return typer.echo(f"{bundles.report(lakes, report, run, at)}: open it in a browser")
        if bundle:
            made = bundles.bundle(lakes, bundle, at)
            return typer.echo(f"{bundle}: {made} pages; open {bundle / 'index.html'}")

        def opened(url: str) -> None:
            typer.echo(url + ("&" if "?" in url else "?") + urlencode({"at": at}) if at else url)

        return serve(Site(lakes), host, port, name or (), token, opened)


def _upcoming(schedule: Schedule) -> Mapping[str, datetime]:
    """When each flow runs next. It takes Prefect, which is loaded when a page first asks."""
    from flows.deploy import upcoming

    return upcoming(schedule)

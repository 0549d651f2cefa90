"""`alignery methods`: which methods there are, and where they are from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from alignery.cli.options import JsonOption, PresetOption, app, fail, handle_errors
from alignery.cli.render import results
from alignery.cli.render.console import console

NameArgument = Annotated[str | None, typer.Argument(help="One method, with its settings and their defaults.")]


MarkdownOption = Annotated[bool, typer.Option("--markdown", help="As a table in Markdown.")]


@app.command()
def methods(
    name: NameArgument = None,
    preset: PresetOption = "nano",
    as_json: JsonOption = False,
    as_markdown: MarkdownOption = False,
) -> None:
    """List the methods that a preset may use, with the source and paper of each."""
    with handle_errors():
        from alignery.config.preset import load

        installed = load(preset).registry.installed
    if name and name not in installed:
        fail(f"got no method {name!r}, expected one of {list(installed)}; install its package, or name its file", 2)
    chosen = [one for key, one in installed.items() if name in (None, key)]
    found = [_described(one, full=as_json or as_markdown or name is not None) for one in chosen]
    if as_markdown:
        typer.echo(markdown(found))
    elif name and not as_json:
        import yaml

        console().print(yaml.safe_dump(found[0], sort_keys=False, allow_unicode=True).rstrip(), soft_wrap=True)
    else:
        results.rows(found, as_json)


def _described(one: Any, full: bool) -> dict[str, Any]:
    method = one.method
    row = {"method": method.name, "from": one.origin, "paper": method.paper, "recipes": " ".join(method.recipes)}
    if not full:
        return row
    from pydantic_core import to_jsonable_python

    defaults = {
        key: "(required)"
        if field.is_required()
        else to_jsonable_python(field.get_default(call_default_factory=True), serialize_unknown=True)
        for key, field in method.config.model_fields.items()
    }
    return row | {
        "recipes": list(method.recipes),
        "models": list(method.models),
        "tables": [table.name for table in method.tables],
        "shapes": [shape.name for shape in method.shapes],
        "settings": defaults,
    }


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The methods as a table: what each writes, exports and trains."""
    lines = ["| method | paper | tables | export shapes | recipes |", "|---|---|---|---|---|"]
    for row in rows:
        paper = re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", row["paper"])
        cells = (", ".join(f"`{name}`" for name in row[kind]) for kind in ("tables", "shapes", "recipes"))
        lines.append(f"| `{row['method']}` | {paper} | {' | '.join(cells)} |")
    return "\n".join(lines)

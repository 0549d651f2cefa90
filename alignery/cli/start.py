"""The verbs to get started with, besides `demo`: `init`, `check`, and `schema` for editors."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from alignery.cli.options import HOME, HomeOption, JsonOption, PresetOption, app, fail, handle_errors
from alignery.cli.render import maintenance, results
from alignery.cli.render.console import hint

FolderArgument = Annotated[Path, typer.Argument(help="The folder to make; existing files are not replaced.")]
FromOption = Annotated[str, typer.Option("--from", help="What to start from: nano, vllm, server or own-data.")]


@app.command()
def init(folder: FolderArgument = Path(), start: FromOption = "nano", as_json: JsonOption = False) -> None:
    """Make a project: a preset, prompts to edit, a JSON schema, prefect.yaml, and a README with the next commands."""
    from alignery.config import project

    if start not in project.STARTS:
        fail(f"--from: got {start!r}, expected one of {list(project.STARTS)}; choose one", 2)
    with handle_errors():
        files = project.make(folder, start)
    results.rows([{"file": str(file), "bytes": file.stat().st_size} for file in files], as_json)
    if not as_json:
        enter = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
        hint(f"Next: {enter}alignery check --preset preset.yaml")


@app.command()
def check(
    ask: Annotated[bool, typer.Option("--ask/--no-ask", help="Send one short request to each model.")] = True,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Check whether a preset can run here: preset, prompts, libraries, GPU, one request to each model, lake, disk."""
    from alignery.config.preset import load
    from alignery.pipeline.runs import readiness
    from warehouse.health.checks import Finding

    with handle_errors():
        loaded_preset = load(preset)

        async def gathered() -> list[Finding]:
            return [finding async for finding in readiness.check(loaded_preset, loaded_preset.place(home), ask=ask)]

        found = asyncio.run(gathered())
    maintenance.findings(found, as_json)
    if any(finding.state == "problem" for finding in found):
        raise typer.Exit(1)


@app.command()
def schema(preset: PresetOption = "nano") -> None:
    """Print the JSON schema of presets, for editors to complete and check."""
    import json

    from alignery.config.json_schema import preset_schema
    from alignery.config.preset import load

    with handle_errors():
        methods = load(preset).registry
    typer.echo(json.dumps(preset_schema(methods), indent=1, ensure_ascii=False))

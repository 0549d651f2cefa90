"""The verbs that look into the lake. They read, write nothing, and wait for nobody."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import show
from flows.command import HOME, HomeOption, JsonOption, PresetOption, app, reading


@app.command()
def tables(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """List the lake's tables and views, with their rows and what they hold."""
    from warehouse import look

    with reading(home, preset) as lake:
        show.rows(look.tables(lake), as_json)


@app.command("show")
def show_table(
    table: Annotated[str, typer.Argument(help="A table or view: see `alignery tables`.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many rows, newest first.")] = 5,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Show the newest rows of a table or view, one field a line."""
    from warehouse import look

    with reading(home, preset) as lake:
        show.records(look.show(lake, table, limit), as_json)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="For example: SELECT step, reason, count(*) FROM rejects GROUP BY ALL")],
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Ask the lake in DuckDB's SQL. It reads and never writes."""
    with reading(home, preset) as lake:
        show.rows(lake.rows(query), as_json)


@app.command()
def status(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Say what the newest runs did, what is published, and which models were trained on it."""
    from warehouse import look

    with reading(home, preset) as lake:
        show.status(look.status(lake), as_json)

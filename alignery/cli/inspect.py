"""The verbs that read the lake. They wait for no lock; only `tag` writes, a name."""

from __future__ import annotations

from typing import Annotated

import typer

from alignery.cli.options import HOME, MOST, AtOption, HomeOption, JsonOption, PresetOption, app, reading, writing
from alignery.cli.render import inspect, results

SampleOption = Annotated[int, typer.Option("--samples", "-n", min=0, max=MOST, help="How many sample rows of each.")]


@app.command()
def tables(
    at: AtOption = None, preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False
) -> None:
    """List the lake's tables and views, with their number of rows and contents."""
    from warehouse.query import status as look

    with reading(home, preset, at) as lake:
        results.rows(look.tables(lake), as_json)


@app.command("show")
def show_table(
    table: Annotated[str, typer.Argument(help="A table or view: see `alignery tables`.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MOST, help="How many rows, newest first.")] = 5,
    at: AtOption = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Show the newest rows of a table or view, one field per line."""
    from warehouse.query import status as look

    with reading(home, preset, at) as lake:
        results.records(look.show(lake, table, limit), as_json, of=look.count(lake, table))


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="For example: SELECT step, reason, count(*) FROM rejects GROUP BY ALL")],
    at: AtOption = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Query the lake in DuckDB's SQL (read-only)."""
    with reading(home, preset, at) as lake:
        results.rows(lake.rows(query), as_json)


@app.command()
def status(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Show the newest runs, what is published, and which models were trained on it."""
    from warehouse.query import status as look

    with reading(home, preset) as lake:
        inspect.status(look.status(lake), as_json)


@app.command()
def rejects(
    step: Annotated[str | None, typer.Option("--step", help="Only this step.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Only reasons that contain these words.")] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Only this run: its id, or the first characters of it.")
    ] = None,
    samples: SampleOption = 3,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Show why rows were rejected: counts and shares by step and reason, with samples."""
    from warehouse.query.rejects import rejects as rejected

    with reading(home, preset) as lake:
        inspect.rejects(rejected(lake, step=step, reason=reason, run=run, samples=samples), as_json)


@app.command()
def trace(
    id: Annotated[str, typer.Argument(help="A record's or an attempt's id, or at least its first six characters.")],
    full: Annotated[bool, typer.Option("--full", help="Show every row, and texts in full.")] = False,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Trace a row back to its first request, and forward to the tags that contain it and the models it trained."""
    from alignery.cli.render import trace as show_trace
    from warehouse.query.trace import trace as traced

    with reading(home, preset) as lake:
        show_trace.trace(traced(lake, id, full=full), full, as_json)


@app.command()
def stack(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Show which models answer now: the generator, and the Aligners that correct it, in order.

    With --json, also the words and the sampling of each request, for whatever serves them.
    """
    from alignery.config.preset import load
    from alignery.pipeline.model_resolution import resolve_models
    from alignery.pipeline.stack import served

    with reading(home, preset) as lake:
        inspect.stack(served(resolve_models(load(preset), lake)), as_json)


@app.command()
def models(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """List the trained models, each with the query of the rows it was trained on."""
    from warehouse.query.trained_on import models as trained

    with reading(home, preset) as lake:
        inspect.models(trained(lake), as_json)


@app.command()
def ranking(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Rank the models by the judge's verdicts (Bradley-Terry), and show w of each against its base by suite."""
    from alignery.cli.render import ranking as show_ranking
    from tasks.evaluate.ranking import rankings, three_h
    from warehouse.query import verdicts

    with reading(home, preset) as lake:
        compared, figures = verdicts.comparisons(lake), verdicts.figures(lake)
    show_ranking.ranking(rankings(compared), *three_h(figures), as_json)


@app.command()
def snapshots(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MOST, help="How many, newest first.")] = 20,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """List the lake's snapshots: time, what was committed, run, tags, and the models trained on them."""
    from warehouse.query.snapshots import snapshots as newest

    with reading(home, preset) as lake:
        inspect.snapshots(newest(lake, limit), as_json)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="A tag, a snapshot's number, a date, a time or an age.")],
    b: Annotated[str | None, typer.Argument(help="The same; by default the newest snapshot.")] = None,
    samples: SampleOption = 3,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Compare two snapshots: new rows by table, topic and principle, and rows that the views gained or lost."""
    from warehouse.query.diff import diff as compared
    from warehouse.query.snapshots import resolve

    with reading(home, preset) as lake:
        found = compared(lake, resolve(lake, a), resolve(lake, b) if b else lake.snapshot(), samples)
        inspect.diff(found, (a, b or "now"), as_json)


@app.command()
def tag(
    name: Annotated[str, typer.Argument(help="The name: a-z, 0-9, '.', '_' and '-'.")],
    at: AtOption = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="A note for the tag.")] = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Name a snapshot, so that it never expires. `publish` also exports it."""
    from alignery.config.preset import load
    from alignery.pipeline.run import Run
    from warehouse.export.publish import tag as tag_snapshot
    from warehouse.query.snapshots import resolve

    with reading(home, preset) as lake:
        snapshot = resolve(lake, at) if at else None
    with writing(home, preset) as lake, Run(lake, "tag", loaded_preset := load(preset)) as run:
        done = tag_snapshot(
            lake, name, snapshot, run_id=run.id, message=message, shapes=loaded_preset.published, beside=run.finished
        )
    inspect.tagged(done, as_json)

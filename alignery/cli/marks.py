"""The verbs of people's marks: add one, list what is next, review at the terminal, agreement, files of other tools."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignery.cli.options import (
    HOME,
    Group,
    HomeOption,
    JsonOption,
    PresetOption,
    app,
    fail,
    handle_errors,
    reading,
    writing,
)
from alignery.cli.render import marks as show

if TYPE_CHECKING:
    from tasks.step import Row
    from warehouse import Lake

marks_app = typer.Typer(cls=Group, no_args_is_help=True, help="People's marks on rows, pairs and models' answers.")
app.add_typer(marks_app, name="marks", rich_help_panel="Export and maintain")

ByOption = Annotated[
    str | None, typer.Option("--by", envvar="ALIGNERY_BY", help="Your name, which is stored with your marks.")
]
KindArgument = Annotated[
    str, typer.Argument(help="pairs, answers (of two models), or rows of a trainer's view: sft, preferences, qac, …")
]
OrderOption = Annotated[str, typer.Option(help="random, principle; or, of a judge: uncertainty, disagreement.")]
CountOption = Annotated[int, typer.Option("--count", "-n", min=1, max=100_000, help="How many.")]
DimensionOption = Annotated[
    str | None, typer.Option(help="Only of this principle, or dimension of a judge (helpful, harmless).")
]
SeedOption = Annotated[int, typer.Option(help="Seed of the random order.")]
ToolArgument = Annotated[str, typer.Argument(help="label-studio or argilla.")]


def _name(by: str | None) -> str:
    return by or fail('--by: got no name; give yours, or once for all: export ALIGNERY_BY="$USER"', 2)


@marks_app.command()
def add(
    id: Annotated[str, typer.Argument(help="A record's or an attempt's id, or at least its first six characters.")],
    verdict: Annotated[
        str | None, typer.Option(help="right, wrong or flag; for a pair first, second, tie or flag; or clear.")
    ] = None,
    other: Annotated[str | None, typer.Option("--with", help="The id of the other row of the pair.")] = None,
    score: Annotated[float | None, typer.Option(help="0 to 5.")] = None,
    edit: Annotated[str | None, typer.Option(help="The corrected text.")] = None,
    note: Annotated[str | None, typer.Option(help="A note.")] = None,
    dimension: Annotated[
        str | None, typer.Option(help="The dimension that you judge, such as helpful; by default overall.")
    ] = None,
    by: ByOption = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Mark a row or a pair. A later mark keeps the fields that it does not set; `clear` withdraws your marks."""
    from alignery.pipeline.marks import Mark
    from alignery.pipeline.marks import add as write
    from warehouse.browse.story import find

    name = _name(by)
    with writing(home, preset) as lake:
        pair = find(lake, other)[1] if other else None
        mark = Mark(find(lake, id)[1], name, verdict, pair, score, edit, note, dimension)
        show.added(write(lake, mark), as_json)


@marks_app.command()
def queue(
    kind: KindArgument = "pairs",
    order: OrderOption = "random",
    count: CountOption = 200,
    dimension: DimensionOption = None,
    seed: SeedOption = 0,
    by: ByOption = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """List what to review next, without what you have given a verdict on."""
    with reading(home, preset) as lake:
        show.queued(_items(lake, kind, order, count, dimension, seed, _name(by)), as_json)


@marks_app.command()
def review(
    kind: KindArgument = "pairs",
    order: OrderOption = "random",
    count: CountOption = 200,
    dimension: DimensionOption = None,
    seed: SeedOption = 0,
    by: ByOption = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
) -> None:
    """Review one after the other at the terminal, by keys. Each mark is saved at once; q quits."""
    from alignery.pipeline.marks import add as write

    name = _name(by)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("marks review reads keys, and there is no terminal here; use `alignery marks add`, or a file", 2)
    with writing(home, preset) as lake:
        items = _items(lake, kind, order, count, dimension, seed, name)
        done = show.review(items, name, typer.getchar, input, lambda mark: write(lake, mark))
    typer.echo(f"{done} of {len(items)} marked")


@marks_app.command()
def agreement(preset: PresetOption = "nano", home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Show how far people agree with each other, and judges with people."""
    from alignery.pipeline.marks import agreement as figures

    with reading(home, preset) as lake:
        show.agreement(figures(lake), as_json)


@marks_app.command("export")
def write_file(
    tool: ToolArgument,
    kind: Annotated[
        str | None, typer.Argument(help="A queue such as pairs, to review there; by default all marks.")
    ] = None,
    order: OrderOption = "random",
    count: CountOption = 200,
    dimension: DimensionOption = None,
    seed: SeedOption = 0,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
) -> None:
    """Print a file for Label Studio or Argilla: a queue to review there, or all marks. Redirect it to a file with >."""
    from alignery.pipeline.marks.files import as_file

    with reading(home, preset) as lake:
        items = _items(lake, kind, order, count, dimension, seed, "") if kind else None
        typer.echo(as_file(lake, tool, items), nl=False)


@marks_app.command("import")
def read_file(
    tool: ToolArgument,
    file: Annotated[Path, typer.Argument(help="Its JSON export.")],
    person: Annotated[list[str], typer.Option(help="The name of a user of that tool: ID=NAME. May be repeated.")] = [],  # noqa: B006
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Import marks from Label Studio or Argilla: the whole file, or nothing if there is an error in it."""
    from alignery.pipeline.marks.files import bring_in, read_marks

    people = dict(
        one.split("=", 1) if "=" in one else fail(f"--person: got {one!r}, expected ID=NAME", 2) for one in person
    )
    with writing(home, preset) as lake:
        show.brought_in(*bring_in(lake, read_marks(lake, tool, file, people)), as_json)


def _items(lake: Lake, kind: str, order: str, count: int, dimension: str | None, seed: int, by: str) -> list[Row]:
    from alignery.pipeline.marks import queue as queued

    with handle_errors():
        return queued(lake, kind, order, count, by=by, dimension=dimension, seed=seed)

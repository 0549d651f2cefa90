"""The verbs of people's marks: give one, see what is next, review at the terminal, agreement, files of other tools."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignery.cli.options import HOME, HomeOption, JsonOption, PresetOption, app, fail, handle_errors, reading, writing
from alignery.cli.render import marks as show

if TYPE_CHECKING:
    from tasks.step import Row
    from warehouse import Lake

marks_app = typer.Typer(no_args_is_help=True, help="People's marks on rows, pairs and models' answers.")
app.add_typer(marks_app, name="marks", rich_help_panel="Keep")

ByOption = Annotated[
    str | None, typer.Option("--by", envvar="ALIGNERY_BY", help="Your name, as it shall stand beside your marks.")
]
KindArgument = Annotated[
    str, typer.Argument(help="pairs, answers (of two models), or rows of a trainer's view: sft, preferences, qac, …")
]
OrderOption = Annotated[str, typer.Option(help="uncertainty, disagreement, principle or random.")]
CountOption = Annotated[int, typer.Option("--count", "-n", min=1, max=100_000, help="How many.")]
DimensionOption = Annotated[
    str | None, typer.Option(help="Only of this principle, or dimension of a judge (helpful, harmless).")
]
SeedOption = Annotated[int, typer.Option(help="Of the draw, and of the order among equals.")]
ToolArgument = Annotated[str, typer.Argument(help="label-studio or argilla.")]


def _name(by: str | None) -> str:
    return by or fail('--by: got no name; give yours, or once for all: export ALIGNERY_BY="$USER"', 2)


@marks_app.command()
def add(
    id: Annotated[str, typer.Argument(help="A record's or an attempt's id, or its first characters, six at least.")],
    verdict: Annotated[
        str | None, typer.Option(help="right, wrong or flag; of a pair first, second, tie or flag; clear.")
    ] = None,
    other: Annotated[str | None, typer.Option("--with", help="The other of a pair.")] = None,
    score: Annotated[float | None, typer.Option(help="0 to 5.")] = None,
    edit: Annotated[str | None, typer.Option(help="The text as it should be.")] = None,
    note: Annotated[str | None, typer.Option(help="In your words.")] = None,
    dimension: Annotated[str | None, typer.Option(help="What is judged, as helpful; the whole if left out.")] = None,
    by: ByOption = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Mark a row or a pair. A later mark leaves standing what it does not state; clear takes back what you said."""
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
    order: OrderOption = "uncertainty",
    count: CountOption = 200,
    dimension: DimensionOption = None,
    seed: SeedOption = 0,
    by: ByOption = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """List what to mark next. What you gave a verdict on is left out."""
    with reading(home, preset) as lake:
        show.queued(_items(lake, kind, order, count, dimension, seed, _name(by)), as_json)


@marks_app.command()
def review(
    kind: KindArgument = "pairs",
    order: OrderOption = "uncertainty",
    count: CountOption = 200,
    dimension: DimensionOption = None,
    seed: SeedOption = 0,
    by: ByOption = None,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
) -> None:
    """Mark one after the other at the terminal, by keys. Each mark is kept as it is given; q leaves."""
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
    """Say how far people agree with each other, and judges with them."""
    from alignery.pipeline.marks import agreement as figures

    with reading(home, preset) as lake:
        show.agreement(figures(lake), as_json)


@marks_app.command("export")
def write_file(
    tool: ToolArgument,
    kind: Annotated[
        str | None, typer.Argument(help="A queue, as pairs, to be marked there; all that was marked, if left out.")
    ] = None,
    order: OrderOption = "uncertainty",
    count: CountOption = 200,
    dimension: DimensionOption = None,
    seed: SeedOption = 0,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
) -> None:
    """Print a file for Label Studio or Argilla: what is to be marked, or all marks. Send it to a file with >."""
    from alignery.pipeline.marks.files import as_file

    with reading(home, preset) as lake:
        items = _items(lake, kind, order, count, dimension, seed, "") if kind else None
        typer.echo(as_file(lake, tool, items), nl=False)


@marks_app.command("import")
def read_file(
    tool: ToolArgument,
    file: Annotated[Path, typer.Argument(help="Its JSON.")],
    person: Annotated[list[str], typer.Option(help="Who a user of that tool is: ID=NAME. As often as needed.")] = [],  # noqa: B006
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Take in marks that were given in Label Studio or Argilla: all of the file, or nothing where it is wrong."""
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

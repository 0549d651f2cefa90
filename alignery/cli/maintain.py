"""The verbs that maintain the lake: `maintain` keeps it fast and small, `doctor` reports what is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from alignery.cli.options import (
    HOME,
    HomeOption,
    JsonOption,
    PresetOption,
    QuietOption,
    app,
    handle_errors,
    interruptible,
    place,
    reading,
    run,
)
from alignery.cli.render import maintenance


@app.command()
def maintain(
    apply: Annotated[bool, typer.Option("--apply", help="Do it, in place of only listing what would be done.")] = False,
    keep: Annotated[str, typer.Option(help="Keep snapshots younger than this: 12h, 7d, 2w.")] = "7d",
    age: Annotated[str, typer.Option(help="Delete files that have been unused for this long; at least 1h.")] = "1h",
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge small files, expire old snapshots, delete unused files. Without --apply it only lists them.

    What a tag names is never expired. It may run while a refresh does.
    """
    from warehouse.maintenance.maintain import check_age, duration, plan

    # A dry run and a usage error need no Prefect.
    if not apply:
        with reading(home, preset) as lake:
            return maintenance.maintained(plan(lake, keep=duration(keep), age=duration(age)), as_json)
    with handle_errors():
        duration(keep)
        check_age(duration(age))
    return maintenance.maintained(run("maintain", preset, home, keep=keep, age=age, apply=apply), as_json)


@app.command()
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Also read every row, and check the ledger's sums.")] = False,
    preset: PresetOption = "nano",
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Check the lake for problems and say how to fix them. Read-only; exit code 1 if there is a problem."""
    from warehouse.health.doctor import doctor as examine

    with handle_errors(), interruptible():
        found = examine(place(home, preset), deep=deep)
    maintenance.findings(found, as_json)
    if any(finding.state == "problem" for finding in found):
        raise typer.Exit(1)

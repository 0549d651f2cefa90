"""What `maintain` and `doctor` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from alignery.cli.hints import runnable
from alignery.cli.render.console import as_json, console, say
from alignery.cli.render.results import rows
from alignery.untrusted import printable

if TYPE_CHECKING:
    from warehouse.health.checks import Finding
    from warehouse.maintenance.maintain import Report


def maintained(report: Report, json: bool) -> None:
    from warehouse.maintenance.maintain import summary

    if json:
        return as_json(report)
    rows(report.tables, False, "Data files")
    rows(report.kept, False, "Snapshots that stay")
    screen = console()
    if report.waiting["files"]:
        screen.print(
            f"{report.waiting['files']} useless files ({report.waiting['bytes']:,} bytes) wait, for somebody may have "
            f"them open; all may go from {report.waiting['until']:%Y-%m-%d %H:%M} UTC on."
        )
    if report.left:
        screen.print(f"Left alone: {report.left}.")
    text = summary(report)
    more = "" if report.applied or report.idle else " Do it: alignery maintain --apply"
    return say(f"{text[0].upper()}{text[1:]}.{more}")


def findings(found: Sequence[Finding], json: bool) -> None:
    """Each finding with what to do; the worst last, where a terminal's reader looks first."""
    if json:
        return as_json(found)
    screen, order = console(), ("ok", "warning", "problem")
    colour = dict(zip(order, ("green", "yellow", "red"), strict=True))
    for finding in sorted(found, key=lambda one: order.index(one.state)):
        fix = f" → {runnable(finding.fix)}" if finding.fix else ""
        text = printable(f" {finding.check}: {finding.what}{fix}")
        screen.print(Text.assemble((f"{finding.state:7}", colour[finding.state]), text), soft_wrap=True)
    by_state = {state: sum(one.state == state for one in found) for state in reversed(order)}
    counts = ", ".join(f"{n} {state}" + ("s" if n != 1 and state != "ok" else "") for state, n in by_state.items())
    return screen.print(counts)

"""Marks at the terminal: the queue, figures, and the review loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from alignery.cli.render import console as terminal
from alignery.cli.render import results
from alignery.cli.render.console import console, line, plain, say

if TYPE_CHECKING:
    from tasks.review.mark import Mark

TEXT = 6000  # characters of a text that is reviewed
_OF_ROW = {"1": "right", "2": "wrong", "3": "flag"}
_OF_PAIR = {"1": "left", "2": "right", "3": "tie", "4": "flag"}


def added(id: str, as_json: bool) -> None:
    if as_json:
        return terminal.as_json({"id": id})
    return say(f"Marked: {id} · see it under its row: alignery trace {id[:8]}")


def brought_in(new: int, known: int, as_json: bool) -> None:
    if as_json:
        return terminal.as_json({"added": new, "known": known})
    return say(f"{new} marks imported; {known} were already there. Next: alignery marks agreement")


def queued(items: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        return terminal.as_json(items)
    rows = [
        {
            "row": terminal.short(item["target_id"]),
            "with": terminal.short(item["other_id"]) if item["other_id"] else "",
            "of": item["dimension"] or "",
            "p": item["p"],
            "spread": item["spread"],
            "prompt": line(item["prompt"] or "", 60),
        }
        for item in items
    ]
    results.rows(rows, False, f"{len(rows)} to mark")
    return say("One after the other: alignery marks review")


def agreement(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        return terminal.as_json(found)
    people = [
        {"person": name, "marked": row["marked"], "left won": row["left"]} for name, row in found["people"].items()
    ]
    results.rows(people, False, "People")
    between = [{"of": kind} | found[kind] for kind in ("rows", "pairs")]
    results.rows(between, False, "Between people")
    if found["judges"]:
        return results.rows(found["judges"], False, "Judges and people, 95 % intervals")
    return say("No pair that a judge compared was marked: alignery marks queue answers")


def review(
    items: Sequence[Mapping[str, Any]],
    by: str,
    key: Callable[[], str],
    ask: Callable[[str], str],
    save: Callable[[Mark], object],
) -> int:
    """Show one item after the other, and save a mark for each that gets one; returns how many got one.

    Args:
        items: rows of a queue.
        key: waits for a key.
        ask: shows a question and waits for a line.
        save: keeps a mark.
    """
    done = 0
    for number, item in enumerate(items, 1):
        _show(item, f"{number} of {len(items)}")
        answer = _keys(item, key, ask)
        if answer is None:
            break
        if answer:
            save(_mark(item, by, answer))
            done += 1
    return done


def _keys(item: Mapping[str, Any], key: Callable[[], str], ask: Callable[[str], str]) -> dict[str, str] | None:
    """A person's answer on an item: verdict, text, note; empty if it is skipped, None to quit."""
    verdicts, answer = (_OF_PAIR if item["other_id"] else _OF_ROW), dict[str, str]()
    while True:
        match key():
            case "q" | "\x03" | "\x04":
                return None
            case "5" | "\r" | "\n":
                return answer
            case "n":
                answer |= _line("note", ask("Note: "))
            case "e" if not item["other_id"]:
                answer |= _line("text", ask("Corrected text, \\n for a new line: ").replace("\\n", "\n"))
            case pressed if pressed in verdicts:
                return answer | {"verdict": verdicts[pressed]}


def _line(name: str, text: str) -> dict[str, str]:
    return {name: text} if text.strip() else {}


def _mark(item: Mapping[str, Any], by: str, answer: Mapping[str, str]) -> Mark:
    from tasks.review.mark import Mark, other_side

    verdict, left = answer.get("verdict"), item["left"]
    if item["other_id"]:
        verdict = {"left": left, "right": other_side(left)}.get(verdict or "", verdict)
    return Mark(
        target_id=item["target_id"],
        by=by,
        verdict=verdict,
        other_id=item["other_id"],
        dimension=item["dimension"] if item["other_id"] else None,  # a row is marked as a whole
        text=answer.get("text"),
        note=answer.get("note"),
        shown_left=left,
    )


def _show(item: Mapping[str, Any], place: str) -> None:
    """An item, blind: without the judge's verdict and the models' names."""
    from tasks.review.mark import other_side

    out = console()
    out.rule(place)
    out.print(Text(plain(item["prompt"] or "", TEXT), "bold"))
    if item["other_id"]:
        for name, side in zip(("left", "right"), (item["left"], other_side(item["left"])), strict=True):
            out.print(Text(f"\n{name}:", "cyan"), Text(plain(item[side] or "", TEXT)), sep="\n")
        keys = "1 left · 2 right · 3 tie · 4 flag · 5 pass · n note · q leave"
    else:
        if item["second"]:
            out.print(Text("\nbeside:", "dim"), Text(plain(item["second"], TEXT), "dim"), sep="\n")
        out.print(Text("\nanswer:", "cyan"), Text(plain(item["first"] or "", TEXT)), sep="\n")
        keys = "1 right · 2 wrong · 3 flag · 5 pass · e edit · n note · q leave"
    out.print(Text(f"\n{keys}", "dim"))

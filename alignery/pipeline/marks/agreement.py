"""How far people agree with each other, and judges with them.

Things that two people marked give Cohen's kappa, any number Krippendorff's alpha; rows and pairs have verdicts of their
own and are counted separately. A judge is compared with most people's verdict on a pair, once a pair, so that pairs are
independent of each other and Wilson's interval holds; as in llm_judge (arXiv 2306.05685, section 4.2) with ties, and
over the pairs on which neither says a tie. A flag is no verdict here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.evaluate.held_out import interval
from tasks.review.agreement import cohen_kappa, kappa_interval, krippendorff_alpha, majority
from tasks.step import Row
from warehouse import Lake
from warehouse.marks import agreement as read

Thing = tuple[str, str | None, str | None]
_VERDICT_OF = {"a": "first", "b": "second", "tie": "tie"}


def agreement(lake: Lake) -> dict[str, Any]:
    """The figures of the lake's marks.

    Returns:
        `people`: by name the things that each marked, and of their pairs the share won by the left one (0.5 is fair).
        `rows`, `pairs`: things, marked_twice, alike (share of them on which all agree), kappa (of two people) and
        alpha; None where nothing was marked twice. `judges`: a row each by source, judge and dimension: pairs, agree
        (0 to 1), low, high (its 95 % interval), kappa (Cohen's; None where both gave one verdict throughout),
        kappa_low, kappa_high, decided (pairs on which neither says a tie) and agree_decided.
    """
    marks = [row for row in read.verdicts(lake) if row["verdict"] != "flag"]
    kinds = {"rows": [row for row in marks if not row["other_id"]], "pairs": [row for row in marks if row["other_id"]]}
    figures = {kind: between_people(rows) for kind, rows in kinds.items()}
    return {"people": _people(marks), **figures, "judges": by_judge(read.judged(lake), kinds["pairs"])}


def between_people(rows: Iterable[Row]) -> dict[str, Any]:
    """Figures of rows {target_id, other_id, dimension, marked_by, verdict}, at most one a person and thing."""
    things: dict[Thing, dict[str, str]] = defaultdict(dict)
    for row in rows:
        things[row["target_id"], row["other_id"], row["dimension"]][row["marked_by"]] = row["verdict"]
    twice = [verdicts for verdicts in things.values() if len(verdicts) > 1]
    names = sorted({name for verdicts in twice for name in verdicts})
    pairs = [(verdicts[names[0]], verdicts[names[1]]) for verdicts in twice] if len(names) == 2 else []
    return {
        "things": len(things),
        "marked_twice": len(twice),
        "alike": _share([len(set(verdicts.values())) == 1 for verdicts in twice]),
        "kappa": cohen_kappa(pairs),
        "alpha": krippendorff_alpha(list(verdicts.values()) for verdicts in twice),
    }


def by_judge(judged: Iterable[Row], marks: Iterable[Row]) -> list[Row]:
    """Each judge's agreement with most people.

    Args:
        judged: rows {source, judge, dimension, a_id, b_id, winner: a, b or tie}.
        marks: people's verdicts on pairs; one without a dimension holds for each that a judge was asked on.
    """
    people = of_pairs(marks)
    groups: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in judged:
        verdicts = on_pair(people, row["a_id"], row["b_id"], row["dimension"])
        if verdicts:
            key = row["source"], row["judge"], row["dimension"]
            groups[key].append((_VERDICT_OF[row["winner"]], majority(verdicts)))
    return [
        dict(zip(("source", "judge", "dimension"), key, strict=True)) | compared(pairs)
        for key, pairs in sorted(groups.items())
    ]


def compared(pairs: Sequence[tuple[str, str]]) -> Row:
    """A judge's and people's verdicts on the same pairs: the figures of `agreement`'s judges."""
    agree = _share([one == other for one, other in pairs])
    decided = [(one, other) for one, other in pairs if "tie" not in (one, other)]
    low, high = interval(agree, len(pairs)) if agree is not None else (None, None)
    figures: Row = {"pairs": len(pairs), "agree": agree, "low": low, "high": high, "kappa": cohen_kappa(pairs)}
    spread = kappa_interval(pairs, list(_VERDICT_OF.values())) if pairs else (None, None)
    figures |= {"kappa_low": spread[0], "kappa_high": spread[1], "decided": len(decided)}
    return figures | {"agree_decided": _share([one == other for one, other in decided])}


def of_pairs(marks: Iterable[Row]) -> dict[Thing, dict[str, str]]:
    """Person → verdict, by pair, in the order of the ids, and dimension; flags left out."""
    people: dict[Thing, dict[str, str]] = defaultdict(dict)
    for row in marks:
        if row["verdict"] in _VERDICT_OF.values():
            people[row["target_id"], row["other_id"], row["dimension"]][row["marked_by"]] = row["verdict"]
    return people


def on_pair(people: Mapping[Thing, Mapping[str, str]], a: str, b: str, dimension: str) -> list[str]:
    """A verdict of each person on a pair, `first` being a: that on this dimension, else that on the whole."""
    low, high = sorted((a, b))
    verdicts = list({**people.get((low, high, None), {}), **people.get((low, high, dimension), {})}.values())
    turned = {"first": "second", "second": "first", "tie": "tie"}
    return verdicts if a == low else [turned[verdict] for verdict in verdicts]


def _people(marks: Sequence[Row]) -> dict[str, Row]:
    names: dict[str, list[Row]] = defaultdict(list)
    for row in marks:
        names[row["marked_by"]].append(row)
    return {
        name: {
            "marked": len(rows),
            "left": _share(
                [row["verdict"] == row["shown_left"] for row in rows if row["shown_left"] and row["verdict"] != "tie"]
            ),
        }
        for name, rows in sorted(names.items())
    }


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None

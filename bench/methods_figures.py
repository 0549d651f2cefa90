"""What `bench/methods.py` prints: the oracle's figures of what a lake holds, and the count of every row."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import alignery.config.methods  # noqa: F401  # what lakes have by default
from nano.grammar import parse
from nano.oracle import score
from nano.world import KINDS, TOPICS
from tasks.evaluate.held_out import interval
from warehouse import Lake
from warehouse.query import status
from warehouse.schema.tables import quoted

ROUNDS = 4
SHOWN = ("harmless", "helpful", "correct_on_known", "abstains_on_unknown", "over_refusal")
# Steps that nano was not trained on; the third walk runs them anyway.
UNTAUGHT = ("red_team.topics", "self_instruct.classify", "self_instruct.input_first", "self_instruct.output_first")
# The figure that scores each kind of answer.
_WORTH = ("harmless", "abstains_on_unknown", "helpful")
Row = dict[str, Any]


class Unexplained(RuntimeError):
    """A row was lost without a reason."""


@dataclass(frozen=True)
class Mean:
    """A mean of `count` figures, each in [-1, 1], with its 95 % interval."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"


def share(values: Sequence[float]) -> Mean | None:
    """The mean of figures in [0, 1] with Wilson's interval; None of nothing."""
    if not values:
        return None
    value = sum(values) / len(values)
    return Mean(value, *interval(value, len(values)), len(values))


def gain(before: Sequence[float], after: Sequence[float]) -> Mean | None:
    """The mean of paired differences with its normal interval; None of nothing."""
    if not before:
        return None
    moved = [new - old for old, new in zip(before, after, strict=True)]
    value = sum(moved) / len(moved)
    half = 1.96 * math.sqrt(sum((one - value) ** 2 for one in moved) / len(moved) / len(moved))
    return Mean(value, value - half, value + half, len(moved))


def entropy(counts: Iterable[int], kinds: int) -> float:
    """Normalised entropy of counts over so many kinds, those that never came included: 1 is even, 0 is one alone."""
    seen = [count for count in counts if count]
    if kinds < 2 or not seen:
        return 0.0
    return -sum(n / sum(seen) * math.log(n / sum(seen)) for n in seen) / math.log(kinds) + 0.0


def worth(instruction: str, answer: str) -> float:
    """What an answer is worth, by the oracle, in [0, 1]: harmless where harm is asked for, an abstention where nobody
    knows, else helpful (a terse answer is worth a half)."""
    found = score(instruction, answer)
    return next(found[name] for name in _WORTH if name in found)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join("–" if cell is None else str(cell) for cell in line) + " |" for line in lines)


def figures(rows: Sequence[Row], field: str) -> dict[str, list[float]]:
    """Each oracle figure of the rows' answers, where it applies."""
    found: dict[str, list[float]] = {name: [] for name in SHOWN}
    for row in rows:
        for name, value in score(row["instruction"], row[field]).items():
            if name in found:
                found[name].append(value)
    return found


def of_the_world(rows: Iterable[Row]) -> list[Row]:
    """The rows whose instruction is a sentence of the grammar: the oracle cannot score others."""
    return [row for row in rows if parse(row["instruction"])]


def written(lake: Lake, run: str) -> str:
    """Distinct accepted instructions per 1,000 calls, and their balance over topics (those of their requests) and over
    the grammar's kinds of instruction, as normalised entropy. On topic are those that have one (an invented thing has
    none) and keep to their request's; a red-team question is of its type where its kind in the grammar is."""
    lines = []
    for origin, step in (("self_instruct", "self_instruct.generate"), ("red_team", "red_team.questions")):
        (asked,) = lake.rows("SELECT attempts FROM funnel WHERE run_id = ? AND step = ?", [run, step])
        rows = lake.rows("SELECT * FROM instructions WHERE run_id = ? AND origin = ?", [run, origin])
        accepted = [row for row in rows if row["state"] == "accepted"]
        known = [(row, intent) for row in accepted if (intent := parse(row["text"]))]
        topics, kinds = Counter(row["topic"] for row in accepted), Counter(intent.kind for _, intent in known)
        on_topic = [float(row["topic"] == intent.topic) for row, intent in known if intent.topic]
        typed = [float(row["question_type"] == intent.kind) for row, intent in known if row["question_type"]]
        distinct = len({row["text"] for row in accepted})
        rate, grammatical = 1000 * distinct / asked["attempts"], len(known) / max(1, len(accepted))
        balance = [f"{entropy(counts.values(), len(all)):.3f}" for counts, all in ((topics, TOPICS), (kinds, KINDS))]
        counted = [step, asked["attempts"], f"{len(rows):,}", f"{distinct:,}", f"{rate:,.0f}"]
        lines.append([*counted, *balance, f"{grammatical:.3f}", share(on_topic), share(typed)])
    head = ("step", "calls", "candidates", "distinct, accepted", "per 1,000 calls")
    return table((*head, "entropy of topics", "entropy of kinds", "in the grammar", "on topic", "of their type"), lines)


def rounds(lake: Lake, run: str) -> str:
    """The first answers and what each round made of them, of the answers that came through all rounds; then what a
    round changed in the same answers. A round helps, or harms, where the interval of its gain leaves 0 out."""
    rows = lake.rows(
        "SELECT i.text AS instruction, r.text AS round_0, "
        + ", ".join(f"max(v.text) FILTER (v.round = {n}) AS round_{n}" for n in range(1, ROUNDS + 1))
        + " FROM responses r JOIN instructions i ON i.id = r.instruction_id"
        " LEFT JOIN revisions v ON v.response_id = r.id WHERE r.kind = 'base' AND r.run_id = ?"
        " GROUP BY r.id, i.text, r.text",
        [run],
    )
    through = of_the_world(row for row in rows if row[f"round_{ROUNDS}"] is not None)
    found = [figures(through, f"round_{n}") for n in range(ROUNDS + 1)]
    means = [["first answer" if not n else f"round {n}", *(share(one[name]) for name in SHOWN)]
             for n, one in enumerate(found)]  # fmt: skip
    moved = [_moved(n, found[n - 1], found[n]) for n in range(1, ROUNDS + 1)]
    head = [name.replace("_", " ") for name in SHOWN]
    return (
        f"{len(rows):,} first answers, of which {len(through):,} came through all rounds and are of the grammar.\n\n"
        + table(["after", *head], means)
        + "\n\n"
        + table(["round", *head], moved)
    )


def _moved(round: int, before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> list[object]:
    cells: list[object] = [round]
    for name in SHOWN:
        if (found := gain(before[name], after[name])) is None:
            cells.append(None)
            continue
        better = found.value > 0 if name != "over_refusal" else found.value < 0
        sure = found.low > 0 or found.high < 0
        cells.append(f"{found.value:+.3f} {'helps' if better else 'harms'}" if sure else f"{found.value:+.3f}")
    return cells


def comparisons(lake: Lake) -> str:
    """Of pairs of which the oracle prefers one, how often the judge's mean of both orders prefers the same, and that
    where its two orders agree; how often they agree, of these pairs and of those whose answers are worth the same; how
    often it prefers what is shown first, of all choices."""
    rows = of_the_world(
        lake.rows(
            "WITH texts AS (SELECT id, text, kind FROM responses UNION ALL SELECT id, text, 'revision' FROM revisions)"
            " SELECT c.*, i.text AS instruction, a.text AS a, b.text AS b, b.kind FROM compared c"
            " JOIN instructions i ON i.id = c.instruction_id"
            " JOIN texts a ON a.id = c.a_id JOIN texts b ON b.id = c.b_id"
        )
    )
    lines = []
    for name, kind in (("first answer, last revision", "revision"), ("two samples", "sample")):
        pairs = [row for row in rows if row["kind"] == kind]
        judged = [(row, right) for row in pairs if (right := preferred(row)) is not None]
        even = [float(row["consistent"]) for row in pairs if preferred(row) is None]
        agreeing = [right for row, right in judged if row["consistent"]]
        first = [float(won) for row in pairs for won in (row["p_a_first"] > 0.5, row["p_a_second"] < 0.5)]
        precision, agree = share([right for _, right in judged]), share([float(row["consistent"]) for row, _ in judged])
        lines.append(
            [name, f"{len(pairs):,}", f"{len(judged):,}", precision, share(agreeing), agree, share(even), share(first)]
        )
    head = ("pairs of", "compared", "oracle prefers one", "precision", "precision, orders agree")
    return table((*head, "orders agree", "orders agree, of equals", "prefers the first"), lines)


def preferred(row: Row) -> float | None:
    """1 where the judge prefers the answer that the oracle does, else 0; None where both are worth the same."""
    a, b = (worth(row["instruction"], row[name]) for name in ("a", "b"))
    return None if a == b else float((row["p_a"] > 0.5) == (a > b))


def corrections(lake: Lake) -> str:
    """Answers before and after they were corrected, for each model that wrote them, and before and after the squad:
    of all answers it looked at, and of those that it found wanting (below 0.5). Copies are of all corrections."""
    single = of_the_world(
        lake.rows(
            "SELECT coalesce(r.upstream, 'nano') AS who, i.text AS instruction, r.text AS before, c.text AS after,"
            " c.is_copy FROM corrections c JOIN responses r ON r.id = c.response_id"
            " JOIN instructions i ON i.id = c.instruction_id WHERE c.aligner IS NULL"
        )
    )
    squads = of_the_world(
        lake.rows(
            "WITH looked AS (SELECT response_id, arg_min(score, created_at) AS score FROM inspections GROUP BY 1),"
            " corrected AS (SELECT response_id, any_value(is_copy) AS is_copy, any_value(text) AS text FROM corrections"
            " WHERE aligner IS NOT NULL GROUP BY 1)"
            " SELECT l.score, i.text AS instruction, r.text AS before, coalesce(m.text, r.text) AS after, m.is_copy"
            " FROM looked l JOIN responses r ON r.id = l.response_id JOIN instructions i ON i.id = r.instruction_id"
            " LEFT JOIN corrected m ON m.response_id = l.response_id"
        )
    )
    names = sorted({row["who"] for row in single})
    groups = {f"aligner, {name}": [row for row in single if row["who"] == name] for name in names}
    groups["squad, found wanting"] = [row for row in squads if row["score"] < 0.5]
    groups["squad, all"] = squads
    head = ("answers of", "answers", "copies", *(name.replace("_", " ") for name in SHOWN[:4]), "worth, gain")
    return table(head, [_corrected(name, rows) for name, rows in groups.items()])


def _corrected(name: str, rows: Sequence[Row]) -> list[object]:
    before, after = figures(rows, "before"), figures(rows, "after")
    moved = [f"{one.value:.2f} → {two.value:.2f}" if (one := share(before[m])) and (two := share(after[m])) else None
             for m in SHOWN[:4]]  # fmt: skip
    copies = [float(row["is_copy"]) for row in rows if row["is_copy"] is not None]
    worths = [[worth(row["instruction"], row[field]) for row in rows] for field in ("before", "after")]
    total = gain(*worths)
    shown = total and f"{total.value:+.3f} ({total.low:+.3f} to {total.high:+.3f})"
    return [name, f"{len(rows):,}", share(copies), *moved, shown]


def explained(lake: Lake, run: str) -> list[Row]:
    """By step of a run: asked, accepted, how often each reason ended a row, and `again`, the calls that were retried
    with another seed.

    Raises:
        Unexplained: asked is not accepted and the reasons' sum, or a row has no reason.
    """
    steps = lake.rows(  # but for what a judge made of rows that are accepted either way
        "SELECT step, rows_in, attempts, accepted FROM funnel WHERE run_id = ? AND step <> 'preferences.judge'", [run]
    )
    lost = lake.rows(
        "SELECT step, coalesce(reason, '') AS reason, final, count(*)::INT AS n FROM rejects WHERE run_id = ?"
        " GROUP BY ALL ORDER BY n DESC, reason", [run],
    )  # fmt: skip
    for row in steps:
        mine = [one for one in lost if one["step"] == row["step"]]
        row["reasons"] = {one["reason"]: one["n"] for one in mine if one["final"]}
        row["again"] = sum(one["n"] for one in mine if not one["final"])
        if "" in row["reasons"]:
            raise Unexplained(f"{row['step']}: {row['reasons']['']} rows were not accepted and have no reason")
        ended = row["accepted"] + sum(row["reasons"].values())
        if ended != row["rows_in"]:
            raise Unexplained(f"{row['step']}: {row['rows_in']} rows came in, {ended} were accepted or have a reason")
        if row["attempts"] and row["attempts"] != ended + row["again"]:
            raise Unexplained(f"{row['step']}: {row['attempts']} calls, {ended + row['again']} are accounted for")
    return steps


def funnel(lake: Lake, runs: Sequence[str]) -> str:
    """What happened to every row of the walks; includes steps that nano was not trained on, even without rows."""
    lines, listed = [], set()
    for walk, run in enumerate(runs, 1):
        for row in explained(lake, run):
            reasons = "; ".join(f"{count:,} {reason}" for reason, count in row["reasons"].items())
            counts = [f"{row[name]:,}" for name in ("rows_in", "accepted", "again")]
            lines.append([walk, _marked(row["step"]), *counts, reasons])
            listed.add(row["step"])
    lines += [[len(runs), _marked(step), 0, 0, 0, "nothing came to it"] for step in UNTAUGHT if step not in listed]
    return table(("walk", "step", "rows in", "accepted", "asked again", "why not"), lines)


def _marked(step: str) -> str:
    return f"{step} (not taught)" if step in UNTAUGHT else step


def owed(lake: Lake, run: str) -> dict[str, int]:
    """How many rows each step of the first walk should have been asked for, by what the steps before it brought.

    Two equal answers are not compared; a squad corrects what its inspector scored below 0.5, and inspects
    each correction that is not a copy.
    """
    query = f"""
        WITH said AS (SELECT * FROM responses WHERE run_id = {quoted(run)}),
        last AS (SELECT v.text, r.text AS first FROM revisions v JOIN said r ON r.id = v.response_id
            WHERE v.round = {ROUNDS}),
        base AS (SELECT count(*) AS n FROM said WHERE kind = 'base')
        SELECT
            (FROM base) + (SELECT count(*) FROM revisions WHERE round < {ROUNDS}) AS "constitutional.critique",
            (SELECT count(*) FROM critiques) AS "constitutional.revise",
            (SELECT count(*) FROM last) AS "rate.overall",
            (SELECT count(*) FROM said WHERE kind = 'principled') AS "rate.overall.principled",
            (FROM base) + (SELECT count(*) FROM said WHERE kind = 'upstream') AS "aligner.correct",
            (FROM base) + (SELECT count(*) FROM corrections WHERE aligner IS NOT NULL AND NOT is_copy)
                AS "squad.inspect",
            (SELECT count(*) FROM inspections WHERE score < 0.5 AND target_id = response_id) AS "squad.correct",
            (SELECT 2 * count(*) FROM last WHERE trim(text) <> trim(first)) AS "constitutional.compare"
    """
    (row,) = lake.rows(query)
    return {step: int(count) for step, count in row.items()}


def check_the_way(lake: Lake, run: str, walked: int) -> None:
    """Check that every row that a step accepted was processed by the next.

    Raises:
        Unexplained: a step processed another number of rows.
    """
    asked = {row["step"]: row["rows_in"] for row in explained(lake, run)}
    due = owed(lake, run) | dict.fromkeys(("respond.answer", "self_align.answer", "self_align.verbose"), walked)
    due["aligner.upstream"] = 2 * walked
    if wrong := [f"{step}: {asked.get(step, 0)} rows came in, {n} were due" for step, n in due.items()
                 if asked.get(step, 0) != n]:  # fmt: skip
        raise Unexplained("; ".join(wrong))


def report(lake: Lake) -> str:
    """All tables of a lake after three walks, as Markdown.

    Raises:
        Unexplained: a walk has not ended, or a row was lost without a reason, or on its way from one step to the next.
    """
    walks = status.runs(lake)[::-1]
    if [one["state"] for one in walks] != ["finished"] * 3:
        raise Unexplained(
            f"got walks {[one['state'] for one in walks]}, expected three that finished; take a new folder"
        )
    totals = [json.loads(one["totals"]) for one in walks]
    first, *_ = runs = [one["id"] for one in walks]
    check_the_way(lake, first, totals[0]["accepted"])
    took = [[n, f"{one['accepted']:,}", f"{one['sent']:,}", f"{one['saved']:,}", f"{one['seconds'] / 60:.1f}"]
            for n, one in enumerate(totals, 1)]  # fmt: skip
    parts = {
        "Three walks": table(("walk", "instructions", "requests sent", "saved", "minutes"), took),
        "What is written": written(lake, first),
        "Rounds of revision": rounds(lake, first),
        "Comparisons": comparisons(lake),
        "Corrections": corrections(lake),
        "Every row": funnel(lake, runs),
    }
    return "\n\n".join(f"{title}\n\n{text}" for title, text in parts.items())

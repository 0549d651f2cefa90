"""Confirmation: a promotion must hold on prompts that no earlier decision saw.

The error budget assumes prompts drawn for this decision. They are not: every night uses the same ones, and a model, a
recipe or a person may overfit to them. So a share of them is reserved, and a candidate that passes is tested once more
on some of these. Each confirmation uses new prompts; the registry records which were used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from alignery.hashing import digest
from tasks.evaluate import exact
from tasks.evaluate.gate import Decision, Policy, changed, shown_worse
from tasks.step import Row

Prompts = Sequence[Row]  # rows {prompt_id, prompt}


def mark(row: Row) -> str:
    """By what the registry knows a prompt: 12 hex digits of its words, whatever its id."""
    return digest(row["prompt"])[:12]


def split(prompts: Prompts, share: float) -> tuple[list[Row], list[Row]]:
    """The prompts that decide, and those that are kept apart. A prompt's text decides its side: further prompts in
    the file move no other."""
    parts: tuple[list[Row], list[Row]] = [], []
    for row in prompts:
        parts[int(mark(row), 16) < share * 16**12].append(row)
    return parts


def unseen(reserved: Prompts, seen: Collection[str], count: int) -> list[Row]:
    """The next prompts to confirm on; none where fewer than `count` are left that no decision saw."""
    fresh = sorted((row for row in reserved if mark(row) not in seen), key=mark)[:count]
    return fresh if len(fresh) == count else []


def used_up(policy: Policy, decision: Decision) -> Decision:
    """The decision when no prompts are left to confirm it on."""
    why = (
        f"not promoted: it passed, but fewer than {policy.confirm} reserved prompts are left that no decision saw "
        "(gate.confirm); add prompts to the held-out file"
    )
    return replace(decision, promoted=False, reasons=(why, *decision.reasons))


def confirmed(policy: Policy, decision: Decision, before: Mapping[str, Row], after: Mapping[str, Row]) -> Decision:
    """A promotion, tested again on new prompts: one of its better axes must be better there too, none worse.

    Better is tested at the season's alpha, with Holm's correction over the axes that were claimed: this comes on top of
    what the decision has shown at its own level. That no axis is worse by its margin is not shown again; that would
    take as many prompts once more.
    """
    changes = {axis: changed(figures, after.get(axis, {})) for axis, figures in before.items()}
    claimed = {one.axis for one in decision.axes if one.verdict == "better"}
    gains = {axis: exact.better(found) for axis, found in changes.items() if axis in claimed}
    worse, better = shown_worse(policy, changes), exact.holm(gains, policy.alpha)
    tests = "; ".join(f"{axis} {_mean(changes[axis]):+.2f}, p {p:.2g}" for axis, p in gains.items())
    where = f"prompts that no earlier decision saw ({tests})"
    if worse:
        why = f"not promoted: worse on {', '.join(sorted(worse))}, on {where}"
    elif not better:
        why = f"not promoted: not better on {where}"
    else:
        return replace(decision, reasons=(*decision.reasons, f"confirmed on {where}"))
    return replace(decision, promoted=False, reasons=(why, *decision.reasons))


def _mean(changes: Sequence[float]) -> float:
    return sum(changes) / len(changes) if changes else 0.0

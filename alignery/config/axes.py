"""The axes of the gate, with those that use suites checked against the existing suites."""

from __future__ import annotations

from alignery.config.schema import Evaluate, PresetError
from alignery.untrusted import excerpt
from tasks.evaluate.gate import Policy
from tasks.evaluate.suites.rows import metrics_of


def axes_of(gate: Policy, evaluate: Evaluate) -> list[str]:
    """The axes that an evaluation has figures for: an oracle's and those of suites, else a judge's and those."""
    if evaluate.oracle:
        return list(gate.axes)
    return [*(evaluate.judge.dimensions if evaluate.judge else ()), *gate.of_suites]


def check_axes(preset: str, gate: Policy, evaluate: Evaluate) -> None:
    """Refuse an axis that names a missing suite or metric, or has the name of a judge's dimension.

    Raises:
        PresetError: which axis, and the fix.
    """
    if (judge := evaluate.deciding_judge) and (both := sorted(gate.of_suites.keys() & {*judge.dimensions})):
        raise PresetError(
            f"preset {preset}: gate.axes: got {both}, which are dimensions of the judge too; rename these axes"
        )
    known = [f"{suite.name}.{metric}" for suite in evaluate.suites for metric in metrics_of(suite)]
    scored = {suite.name for suite in evaluate.suites if suite.of_kind == "oracle"}
    for axis, metrics in gate.of_suites.items():
        for metric in metrics:
            name = metric.lstrip("-").partition("@")[0]
            if "." in name and name not in known and name.partition(".")[0] not in scored:
                raise PresetError(
                    f"preset {preset}: gate.axes.{axis}: got {excerpt(metric, 80)!r}, expected a metric of a "
                    f"suite of `evaluate` (one of {known}); correct it, or add the suite"
                )

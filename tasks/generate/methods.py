"""The methods whose stages an instruction runs through, in the order in which they are shown."""

from __future__ import annotations

from tasks.generate import aligner, constitutional, feedback, instances, rate, respond, self_align, squad, verbose
from tasks.stage import GENERATOR, Method

METHODS = (
    Method("instances", instances.stages),
    Method("respond", respond.stages),
    Method("constitutional", constitutional.stages),
    Method("rate", rate.stages, models=("judge",)),
    Method("self_align", self_align.stages),
    Method("verbose", verbose.stages, models=("verbose",)),
    Method("aligner", aligner.stages, models=("aligner",), named_models=lambda config: config.upstreams),
    Method(
        "squad",
        squad.stages,
        models=("inspector", "aligner"),
        named_models=lambda config: [member.aligner for member in config.members],
    ),
    Method("compare", feedback.stages, models=(GENERATOR, "judge")),
)

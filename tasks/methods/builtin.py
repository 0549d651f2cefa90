"""Every method, in the order in which its stages are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prompts import Library
from tasks.filters.contamination import Contamination
from tasks.methods.aligner import method as aligner
from tasks.methods.compare import method as feedback
from tasks.methods.constitutional import method as constitutional
from tasks.methods.instances import method as instances
from tasks.methods.rate import method as rate
from tasks.methods.red_team import method as red_team
from tasks.methods.respond import method as respond
from tasks.methods.self_align import method as self_align
from tasks.methods.self_instruct import method as self_instruct
from tasks.methods.squad import method as squad
from tasks.methods.verbose import method as verbose
from tasks.stage import GENERATOR, Context, Method, Stage

# These write instructions, round by round.
WRITERS = (Method("self_instruct", self_instruct.stages), Method("red_team", red_team.stages))
# Each instruction runs through the stages of these.
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
# Every alias that a method calls by itself; without a model of its own, it falls back to the generator.
ALIASES = tuple(dict.fromkeys((GENERATOR, *(model for method in METHODS for model in method.models))))


def declared(
    methods: Iterable[Method], configs: Mapping[str, Any], library: Library, contamination: Contamination | None = None
) -> list[Sequence[Stage]]:
    """The stages of those methods that have settings, by method.

    Args:
        configs: a preset's settings by method; None where one is not run.
        contamination: the evaluation prompts; none to look at the stages without running them.

    Raises:
        PromptError: a prompt, or another file that a method's requests are made from, is not there or is wrong.
    """
    given = {name: config for name, config in configs.items() if config is not None}
    context = Context(given, contamination or Contamination([]))
    return [method.stages(library, given[method.name], context) for method in methods if method.name in given]

"""The methods that are built in, in the order in which their stages are shown."""

from __future__ import annotations

from tasks.methods.aligner.method import method as aligner
from tasks.methods.compare.method import method as compare
from tasks.methods.constitutional.method import method as constitutional
from tasks.methods.dialogue.method import method as dialogue
from tasks.methods.evolve.method import method as evolve
from tasks.methods.instances.method import method as instances
from tasks.methods.magpie.method import method as magpie
from tasks.methods.personas.method import method as personas
from tasks.methods.prompt_optimization.method import method as prompt_optimization
from tasks.methods.prompts.method import method as prompts
from tasks.methods.rate.method import method as rate
from tasks.methods.reason.method import method as reason
from tasks.methods.red_team.method import method as red_team
from tasks.methods.respond.method import method as respond
from tasks.methods.samples.method import method as samples
from tasks.methods.score.method import method as score
from tasks.methods.self_align.method import method as self_align
from tasks.methods.self_instruct.method import method as self_instruct
from tasks.methods.squad.method import method as squad
from tasks.methods.tagging.method import method as tagging
from tasks.methods.translate.method import method as translate
from tasks.methods.verbose.method import method as verbose

METHODS = (
    prompts,
    self_instruct,
    red_team,
    magpie,
    evolve,
    personas,
    instances,
    respond,
    aligner,
    squad,
    constitutional,
    rate,
    self_align,
    verbose,
    compare,
    samples,
    score,
    reason,
    prompt_optimization,
    dialogue,
    translate,
    tagging,
)

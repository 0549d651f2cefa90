"""Every step speaks in both variants of the words: what it fills in is what the prompt asks for."""

from __future__ import annotations

import pytest

from prompts import VARIANTS, Library
from tasks.methods.aligner import method as aligner
from tasks.methods.compare import method as feedback
from tasks.methods.constitutional import method as constitutional
from tasks.methods.prompt_optimization import method as prompt_optimization
from tasks.methods.reason import method as reason
from tasks.methods.respond import method as respond
from tasks.methods.samples import method as samples
from tasks.methods.score import method as score
from tasks.methods.self_align import method as self_align
from tasks.methods.self_instruct import method as self_instruct
from tasks.methods.squad import method as squad
from tasks.methods.verbose import method as verbose
from tasks.step import Row

SQUAD = squad.Config(members=({},))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_step_renders_its_prompt(variant: str, answered: Row) -> None:
    library = Library(variant)
    steps = [
        respond.respond(library, respond.Config()),
        self_align.answer(library, self_align.Config()),
        *constitutional.steps(library, constitutional.Config(rounds=1)),
        constitutional.revise_directly(library, constitutional.Config(), 1),
        aligner.correct(library, aligner.Config()),
        verbose.answer(library, verbose.Config()),
        feedback.compare(library, feedback.Config(), "a"),
        squad.inspect(library, SQUAD, "overall"),
        squad.correct(library, SQUAD, SQUAD.members[0]),
        samples.sample(library, samples.Config(), "generator", 1),
        score.mark(library, score.Config(), "overall"),
        score.counted(library, "reward"),
        prompt_optimization.contrast(library, prompt_optimization.Config()),
    ]
    answered |= {"a_id": "r1", "a": "Every day.", "b_id": "r2", "b": "Once a month."}
    answered |= {"sample_id": "s1", "sample": "Every day."}
    answered |= {"good_id": "r2", "good": "Once a month.", "bad_id": "r1", "bad": "Every day."}
    row = answered | {"critique": "Too often.", "critique_request": "Is it right?", "revision_request": "Mend it."}
    for step in steps:
        sent = str(step.prompt.render(**step.variables(row)))
        assert "How do I water a cactus in winter?" in sent, step.name
        assert "Every day." in sent or step.table in ("responses", "samples"), step.name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_that_asks_for_no_answer_renders_its_prompt(variant: str, instruction: Row) -> None:
    library = Library(variant)
    for step in (
        reason.solve(library, reason.Config(), 1),
        prompt_optimization.rewrite(library, prompt_optimization.Config()),
    ):
        assert instruction["instruction"] in str(step.prompt.render(**step.variables(instruction))), step.name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_request_renders_with_its_examples_numbered(variant: str) -> None:
    library, config = Library(variant), self_instruct.Config()
    step = self_instruct.generate(library, config)
    for row in self_instruct.requests(library, config, 0, []):
        sent = str(step.prompt.render(**step.variables(row)))
        assert row["topic"] in sent
        assert all(f"{number}. {text}" in sent for number, text in enumerate(row["exemplars"], 1) if "'" not in text)

"""A stack: a generator, what rewrites its prompts and the Aligners that correct its answers, as one model.

A preset's methods say which of their stages belong to it (`Stage.in_stack`). It has no engine of its own: an engine
gets every request, and an Aligner corrects only answers, not critiques or new instructions. So in a refresh the stages
are part of the graph, and here the same steps correct answers to held-out prompts. Either way each part's call is an
attempt, and its work key has that part's identity. A rewriter precedes the generator only on held-out prompts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from alignery.config.preset import Preset
from alignery.config.schema import Alias
from alignery.hashing import digest
from alignery.pipeline.executor import Executor
from tasks.engines.lazy import open_lazily
from tasks.engines.specs import EngineSpec, ScriptedSpec, VerifierSpec
from tasks.evaluate import held_out_stack
from tasks.stage import GENERATOR, Stage
from tasks.step import Row


@dataclass(frozen=True)
class Stack:
    """What answers: only the generator if there are no stages.

    Args:
        models: alias → model of each part, the generator first.
        stages: of the corrections, in order, as they are asked of held-out prompts.
        before: the stages that rewrite a prompt before the generator is asked, likewise.
    """

    models: Mapping[Alias, EngineSpec]
    stages: Sequence[Stage] = ()
    before: Sequence[Stage] = ()

    @property
    def base(self) -> EngineSpec:
        """The generator."""
        return self.models[GENERATOR]

    @property
    def is_more(self) -> bool:
        """Whether there is anything besides the generator."""
        return bool(self.stages or self.before)

    @property
    def alone(self) -> Stack:
        """The generator without rewriter and Aligners."""
        return Stack({GENERATOR: self.base})

    def identity(self) -> str:
        """A hash over the parts; of a generator alone its own identity."""
        parts = [[part["alias"], part["model"]] for part in self.parts()]
        return f"stack:{digest(parts)}" if self.is_more else self.base.identity()

    def parts(self) -> list[Row]:
        """Rows {alias, model (its identity), path} in the order of their requests."""
        return [{"alias": alias, "model": spec.identity(), "path": place(spec)} for alias, spec in self.models.items()]


def place(spec: EngineSpec) -> str:
    """Where a model is: its folder, or its name on a hub or at a server."""
    return spec.engine if isinstance(spec, ScriptedSpec | VerifierSpec) else spec.model


def stack_of(preset: Preset) -> Stack:
    """The stack of a preset's models as they are bound."""
    methods = preset.stages(preset.library(), source=False)
    stages = [stage for method in methods for stage in method if stage.in_stack]
    aliases = dict.fromkeys((GENERATOR, *(stage.model for stage in stages)))
    asked = [held_out_stack.asked(stage) for stage in stages]
    before, after = ([one for one in asked if one.before_answer is first] for first in (True, False))
    return Stack({alias: preset.spec(alias) for alias in aliases}, after, before)


def stackable(preset: Preset) -> list[Alias]:
    """The aliases that make up the preset's stack, each with a model of its own, the generator first."""
    everything = {alias: preset.spec(alias) for alias in preset.registry.aliases}
    return list(stack_of(preset.model_copy(update={"models": everything | preset.models})).models)


def served(preset: Preset) -> Row:
    """The stack as a server of it needs it.

    Returns:
        {stack (its identity), parts (as `Stack.parts`), requests}; of the requests, in the order in which they are
        sent, rows {alias, step, words, stop, sampling, options}. In the words (messages, or a text) each {{ variable }}
        is an input of `respond.answer` (instruction) or of a correction (question, answer). The reply to
        `prompt_optimization.rewrite` is the instruction that `respond.answer` then gets.
    """
    methods = preset.stages(preset.library(), source=False)
    stages = [stage for method in methods for stage in method if stage.in_stack or stage.name == "respond.answer"]
    stages.sort(key=lambda stage: not stage.before_answer)
    stack = stack_of(preset)
    return {"stack": stack.identity(), "parts": stack.parts(), "requests": [_request(stage) for stage in stages]}


def _request(stage: Stage) -> Row:
    step = stage.step
    placeholders = {name: f"{{{{ {name} }}}}" for name in step.prompt.variables}
    sent = {"words": step.prompt.render(**placeholders), "stop": step.drawn.stop, "sampling": step.sampling.identity()}
    return {"alias": stage.model, "step": step.name, **sent, "options": step.options}


async def rewritten(executor: Executor, stack: Stack, prompts: Sequence[Row]) -> list[Row]:
    """Held-out prompts as the stack's generator gets them; one whose rewrite is lost stays unchanged.

    Args:
        prompts: rows with prompt_id and prompt.

    Returns:
        The same rows, each with `asked`.
    """
    starts = [held_out_stack.prompt_row(prompt) for prompt in prompts]
    ends = await _through(executor, stack, stack.before, starts, "evaluate.rewrite")
    return [prompt | {"asked": row["instruction"]} for prompt, row in zip(prompts, ends, strict=True)]


async def corrected(executor: Executor, stack: Stack, answers: Sequence[Row]) -> list[Row]:
    """What a stack makes of its generator's answers; one whose correction is a copy, or is lost, stays unchanged.

    Args:
        answers: rows {id, prompt_id, prompt, text}.

    Returns:
        The same rows, with the id and the text of the last correction that changed them.
    """
    starts = [held_out_stack.start(answer) for answer in answers]
    ends = await _through(executor, stack, stack.stages, starts, "evaluate.correct")
    return [answer | {"id": row["target_id"], "text": row["target"]} for answer, row in zip(answers, ends, strict=True)]


async def _through(
    executor: Executor, stack: Stack, stages: Sequence[Stage], rows: Sequence[Row], name: str
) -> list[Row]:
    """Each row after all of these stages, as one chunk of that name; the engines that they call are open for it."""
    ends: dict[int, Row] = {}
    words = [row for stage in stages for row in stage.prompt_rows()]
    await asyncio.to_thread(executor.run.add_prompts, words)
    called = {stage.model for stage in stages}
    async with AsyncExitStack() as opened:
        engines = {
            alias: await opened.enter_async_context(open_lazily(spec, executor.lake.logs))
            for alias, spec in stack.models.items()
            if alias in called
        }

        async def one(index: int, row: Row) -> None:
            for stage in stages:
                if stage.when(row):
                    (row,) = stage.then(row, await executor.apply(stage.step, row, engines[stage.model]))
            ends[index] = row

        async def work() -> None:
            await executor.gather(*(one(index, row) for index, row in enumerate(rows)))

        await executor.chunk(f"{name} × {len(rows)}", work)
    return [ends[index] for index in range(len(rows))]

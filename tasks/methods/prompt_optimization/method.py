"""BPO: prompts are rewritten so that any model answers them better; the rewriter learns from good and bad answers.

Source: Black-Box Prompt Optimization (arXiv 2311.04155), section 3. The same: a model is shown an instruction with a
good and a bad answer, says what the good one does better, and rewrites the instruction; rewrites are filtered by their
form and by length (words before / after above 2, after / before above 6); a rewriter is fine-tuned on them and then
rewrites the prompts of a model, which is not trained. Departures:
1. The pairs are those of the lake: a pair that the user provided, else the newest text of an answer over the first one
   where these differ. The paper's 14,395 come from people's and models' preferences in four public sets.
2. Where the two answers of a pair are a revision and what was revised, and a judge of `compare` finds the first one
   better, the rewrite is a row, and is not learnt.
3. What the prompt quotes must be in the rewrite, word for word; the paper sets a passage apart as "context" and joins
   it again. Filters on "[protected" and self-BLEU are left out: there is no such data, and the gate of instructions
   keeps near-copies out.
4. One rewrite a prompt (T 0.6, top_p 0.9); the paper's "aggressive" mode draws five at T 0.9.
5. A least share of the prompt's words may be required (`kept`), for rewriters that change what they should keep.
6. A rewrite that is lost, or is rejected by the same filters, leaves the prompt unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from alignery.declarations import INSTRUCTION_ID, Column, Shape, Table
from prompts import Library, Prompt
from tasks.engines import Sampling
from tasks.methods.base import MethodConfig
from tasks.methods.prompt_optimization.reading import LABEL, check, parted, rewritten
from tasks.stage import ANSWER, GENERATOR, INSTRUCTION, SOURCE, Context, Method, Stage, kept
from tasks.step import Row, Step
from tasks.train.config import Recipe
from tasks.train.recipes import rewriter

ALIAS = "rewriter"


class Config(MethodConfig):
    """BPO's settings; "paper" is arXiv 2311.04155."""

    sampling: Sampling = Sampling(temperature=0.9, max_tokens=1024)  # of comparison and rewrite; paper: T 0.9
    rewriting: Sampling = Sampling(temperature=0.6, top_p=0.9, max_tokens=1024)  # of the rewriter; paper: the same
    shorter: float = Field(2.0, ge=1)  # paper: 2
    longer: float = Field(6.0, ge=1)  # paper: 6
    kept: float = Field(0.0, ge=0, le=1)  # least share of the prompt's words in the rewrite; paper: none
    # Whether the rewriter precedes the generator on held-out prompts, as soon as it has a model of its own.
    stacked: bool = False

    @property
    def bounds(self) -> dict[str, float]:
        """What a rewrite must keep to."""
        return {"shorter": self.shorter, "longer": self.longer, "kept": self.kept}


OPTIMIZED = Table(
    "optimized_prompts",
    "Instructions rewritten after a comparison of a good and a bad answer, for a rewriter to learn from",
    "optimized prompt",
    (
        INSTRUCTION_ID,
        Column.text("good_id", "the better answer: an answer, a revision or a correction"),
        Column.text("bad_id", "the worse one"),
        Column.text("good", "its text"),
        Column.text("bad", "its text"),
        Column.text("comparison", "what the good answer does better; empty where the model was not asked for it"),
        Column.text("text", "the rewritten instruction"),
        Column.flag("changed", "whether it differs from the instruction").shown,
    ),
)
# Only of held-out prompts: `tasks.evaluate.held_out_stack` has its table.
REWRITTEN = Table(
    "rewritten_prompts",
    "Prompts as a rewriter put them before the generator answered",
    "rewritten prompt",
    (
        INSTRUCTION_ID,
        Column.text("text", "the rewritten prompt"),
        Column.flag("changed", "whether it differs from the prompt").shown,
    ),
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    found = [
        Stage(
            "prompt_optimization.contrast",
            contrast(library, config),
            after="answer",
            model="judge",
            take=paired,
            when=lambda row: row["good"].strip() != row["bad"].strip(),
            needs=(*INSTRUCTION, *ANSWER),
        )
    ]
    if config.stacked and ALIAS in context.bound:
        step = rewrite(library, config)
        found.append(
            Stage(
                step.name,
                step,
                after=SOURCE,
                model=ALIAS,
                then=kept,
                needs=INSTRUCTION,
                in_stack=True,
                before_answer=True,
            )
        )
    return found


def paired(row: Row) -> Row:
    """The row with its pair: one that was brought, else the newest text of the answer and the first."""
    if pair := row.get("pair"):
        return row | pair
    return row | {
        "good_id": row["target_id"],
        "good": row["target"],
        "bad_id": row["response_id"],
        "bad": row["response"],
    }


def contrast(library: Library, config: Config) -> Step:
    """Says what the better answer does better, and rewrites the instruction."""
    prompt = library.prompt("prompt_optimization/contrast")

    def read(reply: str, row: Row) -> Sequence[Row]:
        comparison, text = parted(reply, _is_begun(prompt))
        check(row["instruction"], text, **config.bounds)
        pair = {name: row[name] for name in ("good_id", "bad_id", "good", "bad")}
        return [pair | {"comparison": comparison, "text": text, "changed": text != row["instruction"].strip()}]

    return Step(
        name="prompt_optimization.contrast",
        table=OPTIMIZED.name,
        prompt=prompt,
        sampling=config.sampling,
        parents=("instruction_id", "good_id", "bad_id"),
        variables=lambda row: {name: row[name] for name in ("instruction", "good", "bad")},
        read=read,
        config=config.bounds,
    )


def rewrite(library: Library, config: Config) -> Step:
    """Rewrites a prompt before it is answered; the row's instruction is the rewrite from then on."""

    def read(reply: str, row: Row) -> Sequence[Row]:
        text = rewritten(reply)
        check(row["instruction"], text, **config.bounds)
        return [{"text": text, "changed": text != row["instruction"].strip()}]

    return Step(
        name="prompt_optimization.rewrite",
        table=REWRITTEN.name,
        prompt=library.prompt("bpo/rewrite"),
        sampling=config.rewriting,
        parents=("instruction_id",),
        variables=lambda row: {"instruction": row["instruction"]},
        read=read,
        key_fields=lambda row: {"prompt": row["instruction"]},  # an edited prompt is asked again, whatever its id
        next_row=lambda row, record: row | {"instruction": record["text"]},
        config=config.bounds,
    )


def _is_begun(prompt: Prompt) -> bool:
    """Whether the prompt ends in the label, so that nothing is compared first."""
    text = prompt.turns[-1][1]
    return isinstance(text, str) and text.rstrip().endswith(f"{LABEL}:")


method = Method(
    "prompt_optimization",
    Config,
    stages,
    models=(GENERATOR, "judge", ALIAS),
    paper="Black-Box Prompt Optimization (arXiv 2311.04155)",
    tables=(OPTIMIZED,),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape(
            "optimized",
            "an instruction and how a rewriter is to put it",
            ("prompt", "optimized_prompt"),
            prompt="prompt",
            answer="optimized_prompt",
        ),
    ),
    published=True,
    recipes={
        "rewriter": Recipe(rewriter.Config, rewriter.train, answers=False, alias=ALIAS, words=rewriter.words_hash)
    },
)

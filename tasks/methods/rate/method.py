"""Quality rating: a judge rates an answer from 0 to 5 on one dimension, and the well-rated ones make a smaller set.

Source: AlpaGasus (arXiv 2307.08701), section 3 and its code. The same: one answer and one dimension a request
(accuracy, or helpfulness), T 0, 256 tokens, the score from 0 to 5 by halves on the first line and an explanation after
it; a reply without a score is unparsed, and its answer is in neither the kept set nor the control. The threshold of 4.5
and the random control of the same size are chosen when rows are exported (`warehouse/export/selection.py`), so another
threshold asks for nothing. Departures:
1. The score is the whole first line. The code's `strip("\\n")[0]` reads one character: 4.5 becomes 4, and "10" a 1.
2. A first line that holds anything else (a range, another scale, a score off the grid, two scores) is unparsed; -1,
   the code's mark for that, is not a score and is not stored. One that states a single score in a sentence is accepted.
3. Only the first line must be whole: an explanation that reached 256 tokens costs no score.
4. Any answer may be rated: a first answer, a principled one, the last revision. The paper rates Alpaca's outputs.
5. The reply begins with "Score:", if the engine can continue a reply.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from alignery.declarations import INSTRUCTION_ID, RESPONSE_ID, Column, Table
from prompts import Library
from tasks.engines import Sampling
from tasks.methods.base import MethodConfig, read_cut
from tasks.methods.rate.score import parse
from tasks.stage import INSTRUCTION, Context, Method, Stage
from tasks.step import Row, Step


class Config(MethodConfig):
    """AlpaGasus's settings; "paper" is arXiv 2307.08701."""

    dimension: str = Field("accuracy", pattern=r"^[a-z]+$")  # paper: accuracy, or helpfulness; names prompts/rate/*
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=256)  # paper: the same


RATINGS = Table(
    "ratings",
    "Ratings of an answer by a judge, one dimension each",
    "rating",
    (
        INSTRUCTION_ID,
        RESPONSE_ID,
        Column.real("score", "the score, by halves; nano gives whole ones from 1", "0 to 5").shown,
        Column.text("target_id", "what is rated: an answer or a revision; null before version 3").optional,
        Column.text(
            "dimension", "what it is rated for: accuracy, helpfulness, …; null before version 3"
        ).optional.shown,
        Column.text("reason", "the judge's explanation; null where it gave none").optional.shown,
    ),
    text=None,
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    needs = (*INSTRUCTION, "response_id", "target_id", "target")
    kinds = {"": "answer"} | ({"principled": "principled"} if "self_align" in context.configs else {})
    steps = {port: rate(library, config, of) for of, port in kinds.items()}
    return [
        Stage(step.name, step, after=port, model="judge", needs=needs, adds=("score",)) for port, step in steps.items()
    ]


def rate(library: Library, config: Config, of: str = "") -> Step:
    """Rates the row's target; the row gains score.

    Args:
        of: what the targets are, where several kinds are rated apart; joins the step's name.
    """

    def read(reply: str, row: Row) -> list[Row]:
        score, reason = parse(reply, config.dimension)
        return [{"dimension": config.dimension, "score": score, "reason": reason or None}]

    return Step(
        name=".".join(filter(None, ("rate", config.dimension, of))),
        table="ratings",
        prompt=library.prompt(f"rate/{config.dimension}"),
        sampling=config.sampling,
        parents=("instruction_id", "response_id", "target_id"),
        variables=lambda row: {"instruction": row["instruction"], "response": row["target"]},
        read=read,
        next_row=lambda row, record: row | {"score": record["score"]},
        read_cut=read_cut(read),  # an explanation may be cut short
        # At T 0 another seed gives the same reply.
        retries=2 if config.sampling.temperature else 0,
    )


method = Method(
    "rate",
    Config,
    stages,
    models=("judge",),
    paper="AlpaGasus (arXiv 2307.08701)",
    tables=(RATINGS,),
    views=Path(__file__).parent / "views",
)

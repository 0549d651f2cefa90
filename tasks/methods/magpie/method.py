"""Magpie: a chat model writes the user's turn itself, from the bare beginning of its chat template.

Source: Magpie (arXiv 2406.08464), section 2. The same: the request is the template up to the place of the user's
message, and nothing else; the reply, to the end of the turn, is the instruction; `respond` answers it. Departures:
1. The beginning is a setting (`prefix`), because servers do not report their model's template: it has no default, so
   that no request goes to a model without a template. The paper's code has a list by model.
2. Candidates pass the gate of all instructions (words, near-duplicates, evaluation prompts). The paper filters later,
   by quality, difficulty, reward and nearest neighbours; quality and difficulty are columns of `tagging`.
3. No system turn, so no steering towards a kind of task; further turns are the method `dialogue`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from alignery.hashing import digest
from prompts import Library
from tasks.engines import Sampling
from tasks.filters.heuristics import loops
from tasks.filters.targets import LOOP
from tasks.methods.base import SourceConfig
from tasks.methods.self_instruct.method import instruction_row
from tasks.stage import SOURCE, SOURCE_FIELDS, Context, Method, Stage
from tasks.step import ParseError, Row, Step

TOPIC = "any"  # the prompt is empty


class Config(SourceConfig):
    """Magpie's settings; each figure is our choice. `sampling.stop` ends a turn that has no token for its end."""

    prefix: str = Field(min_length=1)  # the chat template up to the user's words
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=1024)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    step = write(library, config)
    return [Stage(step.name, step, after=None, provides=SOURCE, adds=SOURCE_FIELDS)]


def requests(library: Library, config: Config, round: int, accepted: Sequence[Row]) -> list[Row]:
    """The requests of a round (from 0): all of the same words, each with a seed of its own."""
    first = round * config.requests_per_round
    return [{"request_id": digest("magpie", index)} for index in range(first, first + config.requests_per_round)]


def write(library: Library, config: Config) -> Step:
    """Writes one user's turn; a record is a candidate, which the gate judges."""

    def read(reply: str, row: Row) -> list[Row]:
        if loops(reply):
            raise ParseError(LOOP)
        return [{"parents": [row["request_id"]], "topic": TOPIC, "text": reply.strip(), "origin": "magpie"}]

    return Step(
        name="magpie.write",
        table="instructions",
        prompt=library.prompt("magpie/write"),
        sampling=config.sampling,
        parents=("request_id",),
        variables=lambda row: {"prefix": config.prefix},
        sample_key=lambda row: row["request_id"],
        read=read,
        next_row=lambda row, record: instruction_row(record),
        config={"prefix": config.prefix},
    )


method = Method("magpie", Config, stages, source=True, requests=requests, paper="Magpie (arXiv 2406.08464)")

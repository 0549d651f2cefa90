"""Personas: instructions as a described person would write them, so that a topic is covered from many sides.

Source: Persona Hub (arXiv 2406.20094), section 3. The same: a persona is a sentence or two about a person, it is
part of the request, and one persona writes many instructions. Departures:
1. The personas are a file of ours, `prompts/personas/personas.yaml`, some sixty of them, or your own in its place; the
   paper's billion are made from web pages.
2. Each request names a topic too, Self-Instruct's; personas take turns, so that each is asked as often as the others.
3. Candidates pass the gate of all instructions.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from alignery.hashing import digest
from prompts import Library
from tasks.engines import Sampling
from tasks.methods.base import SourceConfig
from tasks.methods.self_instruct.method import draw, instruction_row
from tasks.methods.self_instruct.reading import numbered_items
from tasks.stage import SOURCE, SOURCE_FIELDS, Context, Method, Stage, prompt_row
from tasks.step import Row, Step

PERSONAS = "personas/personas"


class Config(SourceConfig):
    """The settings; all figures are our choice."""

    count: int = Field(3, ge=1)  # instructions that a request asks for
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=512)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    step = write(library, config)
    texts = [prompt_row(f"persona:{one.name}", one.text) for one in library.wordings(PERSONAS)]
    return [Stage(step.name, step, after=None, provides=SOURCE, adds=SOURCE_FIELDS, texts=texts)]


def requests(library: Library, config: Config, round: int, accepted: Sequence[Row]) -> list[Row]:
    """The requests of a round (from 0): the personas in turn, in an order of each turn's own, and a topic by hash.

    Returns:
        Rows with request_id, persona (name and text) and topic.
    """
    personas, topics = library.wordings(PERSONAS), library.topics()
    first, rows = round * config.requests_per_round, []
    for index in range(first, first + config.requests_per_round):
        turn, place = divmod(index, len(personas))
        persona = draw(personas, len(personas), turn, lambda one: one.name)[place]
        (topic,) = draw(topics, 1, index, str)
        rows.append(
            {
                "request_id": digest("personas", persona.name, topic, index),
                "persona": persona.model_dump(),
                "topic": topic,
            }
        )
    return rows


def write(library: Library, config: Config) -> Step:
    """Asks for `count` instructions of a persona; a record is a candidate, which the gate judges."""
    return Step(
        name="personas.write",
        table="instructions",
        prompt=library.prompt("personas/write"),
        sampling=config.sampling,
        parents=("request_id",),
        variables=lambda row: {"persona": row["persona"], "topic": row["topic"], "count": config.count},
        key_fields=lambda row: {"persona": row["persona"], "topic": row["topic"]},
        sample_key=lambda row: row["request_id"],
        read=lambda reply, row: [
            {"parents": [row["request_id"]], "topic": row["topic"], "text": text, "origin": "personas"}
            for text in numbered_items(reply, continues=False)[: config.count]
        ],
        next_row=lambda row, record: instruction_row(record),
        config={"count": config.count},
    )


method = Method("personas", Config, stages, source=True, requests=requests, paper="Persona Hub (arXiv 2406.20094)")

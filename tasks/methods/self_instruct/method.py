"""Self-Instruct: a model writes new instructions after examples, and a gate keeps those that are new and valid.

Source: Self-Instruct (arXiv 2212.10560), section 2.2 and its code; topics after SELF-ALIGN (arXiv 2305.03047).
The same: human and machine exemplars in one numbered list, the heuristics and their order, ROUGE-L against seeds
and everything accepted, accepted items join the pool at once. Departures:
1. Each request names a topic: the one with the fewest accepted instructions, as far as is known by then, so that
   topics whose candidates are rejected more often get more requests. Exemplars come from it if there are enough.
2. Exemplars are drawn by hash and not by a random generator, so that a round can be repeated.
3. An instruction is a complete task, unless instances follow (`tasks/methods/instances/`), as in the paper.
4. The text is kept as written. The paper's code calls capitalize(), which turns "Python" into "python".
5. Instructions that overlap an evaluation prompt are rejected; the paper's code leaves that to the user.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Field

from alignery.declarations import Column, Table
from alignery.hashing import digest
from prompts import Library
from tasks.accepted import Accepted, View
from tasks.engines import Sampling
from tasks.filters.contamination import Contamination
from tasks.filters.heuristics import instruction_fault, length_fault
from tasks.filters.pools import Pool
from tasks.filters.rouge import RougePool
from tasks.methods.base import Accept, MethodConfig
from tasks.methods.self_instruct.reading import numbered_items
from tasks.stage import SOURCE, SOURCE_FIELDS, Context, Method, Stage
from tasks.step import Row, Step

DUPLICATE = "near-duplicate: ROUGE-L"
_BATCH = 64  # compared with the pool at once
_LENGTHS = ("min_words", "max_words")
_LIMITS = (*_LENGTHS, "blacklist", "openings", "ascii_start")
# What a text-only model can neither see nor do.
_PICTURED = ("image", "images", "graph", "graphs", "picture", "pictures", "map", "maps", "draw", "plot")
_OUTSIDE = ("file", "files", "go to")


class Config(MethodConfig):
    """Self-Instruct's settings; "paper" is arXiv 2212.10560 with its code."""

    human_exemplars: int = Field(6, ge=1)  # paper: 6, and one more for each missing machine exemplar
    machine_exemplars: int = Field(2, ge=0)  # paper: 2
    count: int = Field(7, ge=1)  # paper: after 8 examples the list stops at item 16
    # paper: T 0.7, top_p 0.5, presence 2, 1,024 tokens
    sampling: Sampling = Sampling(temperature=0.7, top_p=0.5, presence_penalty=2.0, max_tokens=1024)
    min_words: int = Field(4, ge=1)  # paper: more than 3
    max_words: int = Field(150, ge=1)  # paper: 150
    blacklist: tuple[str, ...] = _PICTURED + _OUTSIDE  # paper: the same words
    openings: tuple[str, ...] = ("Write a program",)  # paper: the same opening
    ascii_start: bool = True  # paper: English only; turn it off for other languages
    rouge_l: float = Field(0.7, gt=0, le=1)  # paper: 0.7; as in its code, exactly 0.7 is still accepted
    accept: Accept = 5000  # accepted instructions; our choice (paper: 52,445)
    max_candidates: int = Field(20000, ge=1)  # written before the run stops short of `accept`; our choice
    requests_per_round: int = Field(64, ge=1)  # our choice (paper: 5)
    rounds_in_flight: int = Field(2, ge=1)  # a round's exemplars come from those before these; our choice (paper: 1)

    def gating(self) -> dict[str, Any]:
        """The settings that decide which candidates are accepted."""
        return self.model_dump(include={*_LIMITS, "rouge_l"})


INSTRUCTIONS = Table(
    "instructions",
    "Instructions: the seeds, and every candidate that a model wrote with the gate's verdict",
    "instruction",
    (
        Column.text("request_id", "the request that asked for it, shared by the candidates of one reply").optional,
        Column.text("topic", "topic it was asked under").shown,
        Column.text("text", "the instruction"),
        Column.text("origin", "seed, self_instruct, red_team, or the name of your own data").shown,
        Column.text("state", "accepted or rejected").shown,
        Column.text("reason", "why it was rejected; null when accepted").optional.shown,
        Column.real(
            "similarity", "highest ROUGE-L F against the pool; of a large one null below the limit", "0 to 1"
        ).optional,
        Column.real("mean_similarity", "mean ROUGE-L F against the pool; null of a large one", "0 to 1").optional,
        Column.text("nearest", "text of the most similar one in the pool; null where similarity is").optional,
        Column.text(
            "question_type", "the type of question it was asked as (red_team); null elsewhere, before version 3"
        ).optional.shown,
        Column.text("source", "the file or lake that it was read from (prompts); null where a model wrote it").optional,
        Column.integer("source_row", "its row there, from 1").optional,
    ),
    gate="{origin}.gate",
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    step = generate(library, config, bare="instances" in context.configs)
    return [Stage(step.name, step, after=None, provides=SOURCE, adds=SOURCE_FIELDS)]


def requests(
    library: Library,
    config: Config,
    round: int,
    accepted: Sequence[Row],
    asked: Sequence[str] = (),
    *,
    bare: bool = False,
) -> list[Row]:
    """The requests of a round (from 0); the same arguments give the same requests.

    Args:
        library: where topics and seeds come from.
        config: counts of exemplars and requests.
        round: its number.
        accepted: machine instructions of the rounds that are not in flight now, as rows with id, topic and text.
        asked: the topics of all requests of the rounds before, in their order.
        bare: exemplars are instructions alone, because instances follow; else they contain the seeds' inputs.

    Returns:
        Rows with request_id, topic, exemplars (texts) and exemplar_ids (of the machine's among them).
    """
    seeds = [(seed.topic, seed.instruction if bare else seed.whole) for seed in library.seeds()]
    first = round * config.requests_per_round
    pool = accepted if isinstance(accepted, View) else Accepted(accepted).first()
    rows = []
    for index, topic in enumerate(_balanced(library.topics(), config, round, pool, asked), start=first):
        machine = pick(pool.of_topic(topic), config.machine_exemplars, index)
        seed_count = config.human_exemplars + config.machine_exemplars - len(machine)
        own = draw([text for about, text in seeds if about == topic], seed_count, index, str)
        others = draw([text for about, text in seeds if about != topic], seed_count - len(own), index, str)
        exemplars = own + others + [row["text"] for row in machine]
        rows.append(
            {
                "request_id": digest(topic, exemplars, index),
                "topic": topic,
                "exemplars": draw(exemplars, len(exemplars), index, str),  # mixes human and machine
                "exemplar_ids": [row["id"] for row in machine],
            }
        )
    return rows


def _balanced(topics: Sequence[str], config: Config, round: int, accepted: View, asked: Sequence[str]) -> list[str]:
    """The topics of a round's requests: each time the one that will have the fewest accepted instructions.

    Requests in flight are assumed to yield what that topic's requests yielded so far. No topic gets more than twice
    its equal share of a round, so that a topic without any yield takes no more.
    """
    settled = asked[: config.requests_per_round * max(0, round + 1 - config.rounds_in_flight)]
    have = {topic: len(accepted.of_topic(topic)) for topic in topics}
    done, due = Counter(settled), Counter(asked[len(settled) :])
    usual = (len(accepted) + config.count) / (len(settled) + 1)  # as if one more request had yielded all it could
    brings = {topic: (have[topic] + usual) / (done[topic] + 1) for topic in topics}
    most = math.ceil(2 * config.requests_per_round / len(topics))
    here: list[str] = []
    for _ in range(config.requests_per_round):
        behind = (topic for topic in topics if here.count(topic) < most)
        here.append(min(behind, key=lambda topic: have[topic] + brings[topic] * due[topic]))
        due[here[-1]] += 1
    return here


def generate(library: Library, config: Config, *, bare: bool = False) -> Step:
    """Asks for `count` new instructions; a record is a candidate, which `gate` judges. `bare` is as in `requests`."""
    prompt = library.prompt("self_instruct/generate_bare" if bare else "self_instruct/generate")
    continues = prompt.turns[0][0] == ""  # a raw text ends in a number, which the reply's first item follows
    return Step(
        name="self_instruct.generate",
        table="instructions",
        prompt=prompt,
        sampling=config.sampling,
        parents=("request_id",),
        variables=lambda row: {"topic": row["topic"], "exemplars": row["exemplars"], "count": config.count},
        # The request's id is already their hash; they are in the attempt so that the request can be read there.
        key_fields=lambda row: {"topic": row["topic"], "exemplars": row["exemplars"]},
        # Two requests that happened to draw the same exemplars get separate answers.
        sample_key=lambda row: row["request_id"],
        read=lambda reply, row: [
            {
                "parents": [row["request_id"], *row["exemplar_ids"]],
                "topic": row["topic"],
                "text": text,
                "origin": "self_instruct",
            }
            for text in numbered_items(reply, continues)[: config.count]
        ],
        next_row=lambda row, record: instruction_row(record),
        config=config.gating() | {"count": config.count},
    )


def instruction_row(record: Row) -> Row:
    """The row with which every chain of steps starts, from an `instructions` record."""
    return {"instruction_id": record["id"], "instruction": record["text"], "topic": record["topic"]}


def gate(
    records: Sequence[Row], pool: Pool, config: Config, contamination: Contamination, *, written: bool = True
) -> list[Row]:
    """Judges candidates in their order: heuristics, evaluation prompts, then ROUGE-L against pool and batch.

    Args:
        written: by a model. Of a user's own prompts the heuristics are only those of length: what a model should not
            write, a user may well ask.

    Returns:
        The records with state, reason, similarity and mean_similarity (ROUGE-L F) and nearest. Accepted texts have
        joined `pool`.
    """
    batches = (records[start : start + _BATCH] for start in range(0, len(records), _BATCH))
    return [judged for batch in batches for judged in _judged(batch, pool, config, contamination, written)]


def _judged(batch: Sequence[Row], pool: Pool, config: Config, contamination: Contamination, written: bool) -> list[Row]:
    limits = config.model_dump(include=set(_LIMITS if written else _LENGTHS))
    fault = instruction_fault if written else length_fault
    joined, judged = RougePool(), []
    found = pool.compare([record["text"] for record in batch], config.rouge_l)
    for record, known in zip(batch, found, strict=True):
        text = record["text"]
        near = known.merged(joined.nearest(text))
        is_known = near.mean is not None or near.similarity > config.rouge_l
        reason = fault(text, **limits) or contamination.reason(text, config.rouge_l)
        reason = reason or (DUPLICATE if near.similarity > config.rouge_l else None)
        if reason is None:
            joined.add(text)
            pool.add(text)
        judged.append(
            record
            | {
                "state": "rejected" if reason else "accepted",
                "reason": reason,
                # Unknown for a new text, if the pool is too large to compare all.
                "similarity": near.similarity if is_known else None,
                "mean_similarity": near.mean,
                "nearest": near.text if is_known else None,
            }
        )
    return judged


def draw(items: Sequence[Any], count: int, index: int, name: Callable[[Any], str]) -> list[Any]:
    """That many items, in an order given by a hash of the request's index and each item's name."""
    return sorted(items, key=lambda item: digest(index, name(item)))[:count] if count else []


def pick(pool: Sequence[Row], count: int, index: int) -> list[Row]:
    """That many of a growing pool, at places given by a hash: hashing all of it would take longer and longer."""
    found: dict[int, Row] = {}
    draws = 0
    while len(found) < min(count, len(pool)):
        place = int(digest(index, draws), 16) % len(pool)
        found[place] = pool[place]
        draws += 1
    return list(found.values())


method = Method(
    "self_instruct",
    Config,
    stages,
    source=True,
    paper="Self-Instruct (arXiv 2212.10560), topics from SELF-ALIGN (arXiv 2305.03047)",
    tables=(INSTRUCTIONS,),
)

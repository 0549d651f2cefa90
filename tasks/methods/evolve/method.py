"""Evolution of instructions: one is made harder, or another one is written after it, again and again.

Source: Evol-Instruct (WizardLM, arXiv 2304.12244), section 3.2. The same: five operations in depth (a constraint, a
deeper question, a concrete case, more steps of reasoning, an input to work on) and one in breadth (a new, rarer task
of the same field), each as likely; what evolved may evolve again; evolutions that failed are eliminated. Departures:
1. It begins from the seed tasks, and a request takes any of these and of what evolved by then, by hash; the paper
   evolves 52,000 instructions in four rounds, all of them in each.
2. Elimination by rules alone: the same text again, or words of the request in it, is requested again; the gate rejects
   short texts and near-duplicates of anything accepted. The paper asks a model whether an evolution gained anything.
3. Its rule on answers (a short one that says sorry) is `respond: {reject_refusals: true}`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from alignery.hashing import digest
from prompts import Library
from tasks.engines import Sampling
from tasks.filters.heuristics import ECHO, echoes, loops
from tasks.filters.targets import LEAK, LOOP, runs
from tasks.methods.base import SourceConfig, check_own, own_runs
from tasks.methods.self_instruct.method import draw, instruction_row
from tasks.normalise import plain_answer
from tasks.stage import SOURCE, SOURCE_FIELDS, Context, Method, Stage, prompt_row
from tasks.step import ParseError, Row, Step

OPERATIONS = "evolve/operations"
_LABELS = (r"(?:the )?(?:new |rewritten )?(?:task|instruction)",)
_OPENING = 60  # characters in which a reply that repeats the operation does so; our choice
_MOST = 0.6  # of a text's words, the share that an operation it only repeats has; our choice
_WORD = re.compile(r"\w+")
_OF_REQUEST = re.compile(r"\b(?:given|new|rewritten|original) (?:task|instruction)\b", re.IGNORECASE)


class Config(SourceConfig):
    """The settings; all figures are our choice."""

    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=512)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    step = rewrite(library, config)
    texts = [prompt_row(f"operation:{one.name}", one.text) for one in library.wordings(OPERATIONS)]
    return [Stage(step.name, step, after=None, provides=SOURCE, adds=SOURCE_FIELDS, texts=texts)]


def requests(library: Library, config: Config, round: int, accepted: Sequence[Row]) -> list[Row]:
    """The requests of a round (from 0), each with an instruction and an operation, both by hash; a pure function.

    Args:
        accepted: what evolved by then, as rows with id, topic and text.

    Returns:
        Rows with request_id, instruction, topic, operation (name and text) and from_ids (of what evolved, else none).
    """
    seeds = [{"id": None, "topic": seed.topic, "text": seed.whole} for seed in library.seeds()]
    operations = library.wordings(OPERATIONS)
    first, rows = round * config.requests_per_round, []
    for index in range(first, first + config.requests_per_round):
        place = int(digest("evolve", index), 16) % (len(seeds) + len(accepted))
        source = seeds[place] if place < len(seeds) else accepted[place - len(seeds)]
        (operation,) = draw(operations, 1, index, lambda one: one.name)
        rows.append(
            {
                "request_id": digest("evolve", operation.name, source["text"], index),
                "instruction": source["text"],
                "topic": source["topic"],
                "operation": operation.model_dump(),
                "from_ids": [source["id"]] if source["id"] else [],
            }
        )
    return rows


def rewrite(library: Library, config: Config) -> Step:
    """Asks for one evolved instruction; a record is a candidate, which the gate judges."""
    prompt = library.prompt("evolve/rewrite")
    own = own_runs(prompt)

    def read(reply: str, row: Row) -> list[Row]:
        before = row["instruction"]
        if not (text := plain_answer(reply, _LABELS)):
            raise ParseError("no instruction after the label")
        if echoes(text, before) or text.casefold() == before.casefold():
            raise ParseError(ECHO)
        if _OF_REQUEST.search(text) and not _OF_REQUEST.search(before):
            raise ParseError(LEAK)
        if loops(text):
            raise ParseError(LOOP)
        asked = row["operation"]["text"]
        if _is_operation(text, asked) or _says_little_else(text, asked, before):
            raise ParseError(LEAK)
        check_own(text, before, own | runs(asked))
        parents = [row["request_id"], *row["from_ids"]]
        return [{"parents": parents, "topic": row["topic"], "text": text, "origin": "evolve"}]

    return Step(
        name="evolve.rewrite",
        table="instructions",
        prompt=prompt,
        sampling=config.sampling,
        parents=("request_id",),
        variables=lambda row: {"instruction": row["instruction"], "operation": row["operation"]},
        key_fields=lambda row: {"instruction": row["instruction"], "operation": row["operation"]},
        sample_key=lambda row: row["request_id"],
        read=read,
        next_row=lambda row, record: instruction_row(record),
    )


def _is_operation(text: str, operation: str) -> bool:
    """Whether a text begins as the operation does, or with a label of its words: "Add a requirement: …"."""
    asked, opening = (_WORD.findall(one[:_OPENING].casefold()) for one in (operation, text))
    label = _WORD.findall(text[:_OPENING].casefold().rpartition(":")[0])
    begins = " ".join(asked[:4]) in " ".join(opening[:8])
    return begins or (asked[0] in label and len({*label} & {*asked[:4]}) > 1)


def _says_little_else(text: str, operation: str, before: str) -> bool:
    """Whether most words of a text are the operation's and not the instruction's."""
    words, asked, had = ({*_WORD.findall(one.casefold())} for one in (text, operation, before))
    return len(words & asked - had) > _MOST * len(words)


method = Method("evolve", Config, stages, source=True, requests=requests, paper="Evol-Instruct (arXiv 2304.12244)")

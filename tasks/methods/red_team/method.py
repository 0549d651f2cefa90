"""Topic-guided red-teaming: a model writes questions that models fail at, by type of question and topic.

Source: SELF-ALIGN (arXiv 2305.03047), section 3.1, and its code. The same: 20 types of question; topics for each type,
ten to a request after five examples (one until there are ten), of at most three words, with a capital and no full
stop; every type cut to the number of topics of the smallest; then questions, 20 hints of type and topic to a request
after five seed questions and five new ones; the last line of a reply cut short is dropped. Departures:
1. Types, hints and seed questions are our own; the paper's types are our themes.
2. Topics, and the exemplars of a request, are drawn by hash and not by a random generator, round by round.
3. A capital is required only of letters that have one, so that a topic may be written in any script or begin with a
   number.
4. A question belongs to its hint by its number, and not by a repeated prefix. One with an unknown number is dropped.
5. Questions pass the gate of Self-Instruct, heuristics and near-duplicates; the paper only removes equal pairs.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence

from pydantic import Field

from alignery.declarations import Column, Table
from alignery.hashing import digest
from prompts import Library, QuestionType
from tasks.engines import Sampling
from tasks.filters.contamination import Contamination
from tasks.filters.pools import Pool
from tasks.methods.base import CUT, Accept, MethodConfig, most_accepted
from tasks.methods.self_instruct import method as self_instruct
from tasks.methods.self_instruct.method import draw, instruction_row, pick
from tasks.methods.self_instruct.reading import numbered, numbered_items
from tasks.stage import SOURCE, SOURCE_FIELDS, Context, Method, Stage, prompt_row
from tasks.step import ParseError, Row, Step

KNOWN = "the type has this topic"
AGAIN = "a second question for one hint"
Known = Mapping[str, list[str]]  # type → its topics, in the order in which they came


class Topics(MethodConfig):
    """Settings of the topics; "paper" is arXiv 2305.03047 with its code."""

    # paper: T 1, top_p 0.98, 128 tokens
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.98, max_tokens=128)
    rounds: int = Field(
        default=5, ge=0
    )  # paper: 9 were run, the questions used the first 5; 0 leaves it at the types' own
    requests_per_type: int = Field(default=10, ge=1)  # in a round; our choice
    # Topics requested, at most, for each question to be accepted: not all are new, and not all questions pass; our
    # choice. The figures above request this many at 2,000 questions.
    per_question: int = Field(default=5, ge=1)
    count: int = Field(default=10, ge=1)  # paper: 10 topics requested
    examples: int = Field(default=5, ge=1)  # paper: 5
    first_examples: int = Field(default=1, ge=1)  # paper: 1 until there are ten
    many: int = Field(default=10, ge=1)  # paper: 10
    max_words: int = Field(default=3, ge=1)  # paper: 3


class Config(MethodConfig):
    """Settings of topics and questions; "paper" is arXiv 2305.03047 with its code."""

    topics: Topics = Topics()
    # paper: T 1, top_p 0.95, 384 tokens; ours 1,024, for 20 questions need more
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=1024)
    count: int = Field(20, ge=1)  # hints of a request, each for one question; paper: 20
    seed_exemplars: int = Field(5, ge=1)  # paper: 5, and one more for each missing new one (ours)
    new_exemplars: int = Field(5, ge=0)  # paper: 5
    accept: Accept = 2000  # accepted questions; our choice (paper: 99,121)
    max_candidates: int = Field(20000, ge=1)  # requested before the run stops short of `accept`; our choice
    requests_per_round: int = Field(16, ge=1)  # our choice
    rounds_in_flight: int = Field(2, ge=1)  # a round's exemplars come from those before these; our choice


TOPICS = Table(
    "topics",
    "Topics for one type of question, every candidate with its verdict",
    "topic",
    (
        Column.text("request_id", "the request that asked for it, shared by the candidates of one reply").optional,
        Column.text("question_type", "the type of question").shown,
        Column.text("text", "the topic"),
        Column.text("state", "accepted or rejected").shown,
        Column.text("reason", "why it was rejected; null when accepted").optional.shown,
    ),
    gate="red_team.topics_gate",
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    """Topics, and the questions on pairs of type and topic."""
    types = [prompt_row(f"type:{type.name}", f"{type.name}: {type.hint}") for type in library.question_types()]
    asked = questions(library, config, context.configs["self_instruct"])
    return [
        Stage("red_team.topics", topics(library, config.topics), after=None, texts=types),
        Stage("red_team.questions", asked, "red_team.topics", provides=SOURCE, adds=SOURCE_FIELDS),
    ]


def enough_topics(config: Config, types: int) -> Topics:
    """The settings of the topics with no more rounds and requests than the questions that are to be accepted need."""
    topics = config.topics
    requests = math.ceil(topics.per_question * most_accepted(config.accept) / (types * topics.count))  # of each type
    rounds = min(topics.rounds, math.ceil(requests / topics.requests_per_type))
    return topics.model_copy(update={"rounds": rounds, "requests_per_type": min(topics.requests_per_type, requests)})


def topics(library: Library, config: Topics) -> Step:
    """Asks for topics of one type; a record is a candidate, which `gate_topics` then judges."""
    prompt = library.prompt("red_team/topics")
    continues = prompt.turns[0][0] == ""

    def read(reply: str, row: Row) -> list[Row]:
        items = numbered_items(reply, continues)[: config.count]
        return [{"question_type": row["type"]["name"], "text": text, "reason": None} for text in items]

    return Step(
        name="red_team.topics",
        table="topics",
        prompt=prompt,
        sampling=config.sampling,
        parents=("request_id",),
        variables=lambda row: {"type": row["type"], "examples": row["examples"], "count": config.count},
        key_fields=lambda row: {"type": row["type"], "exemplars": row["examples"]},
        # Two requests that happened to draw the same examples get separate answers.
        sample_key=lambda row: row["request_id"],
        read=read,
        read_cut=lambda reply, row: _last_cut(read(reply, row)),
        config={"count": config.count, "max_words": config.max_words},
    )


def topic_requests(types: Sequence[QuestionType], config: Topics, round: int, known: Known) -> list[Row]:
    """The requests of a round (from 0) for topics; the same arguments give the same requests.

    Args:
        known: each type's topics of the rounds before, its own first (`joined`).

    Returns:
        Rows with request_id, type (its name and hint) and examples (topics).
    """
    rows = []
    for type in types:
        have = known[type.name]
        shown = config.examples if len(have) >= config.many else config.first_examples
        for number in range(config.requests_per_type):
            index = round * config.requests_per_type + number
            examples = draw(have, shown, index, str)
            rows.append(
                {
                    "request_id": digest(type.name, examples, index),
                    "type": type.model_dump(include={"name", "hint"}),
                    "examples": examples,
                }
            )
    return rows


def gate_topics(records: Sequence[Row], known: Known, config: Topics) -> list[Row]:
    """Judges topics in their order, each by its form and against the topics of its type, known and just accepted.

    Returns:
        The records with state and reason.
    """
    taken = {name: {text.casefold() for text in texts} for name, texts in known.items()}
    judged = []
    for record in records:
        mine, text = taken[record["question_type"]], record["text"]
        reason = record["reason"] or topic_fault(text, config.max_words)
        reason = reason or (KNOWN if text.casefold() in mine else None)
        if reason is None:
            mine.add(text.casefold())
        judged.append(record | {"state": "rejected" if reason else "accepted", "reason": reason})
    return judged


def topic_fault(text: str, max_words: int) -> str | None:
    """The reason why a topic is not in the requested form, or None."""
    if len(text.split()) > max_words:
        return "too long"
    if unicodedata.category(text[-1]).startswith("P"):
        return "ends with punctuation"
    return "starts without a capital" if text[0].islower() else None


def joined(known: Known, records: Sequence[Row]) -> Known:
    """The known topics and the accepted ones among the records, each once."""
    found = {name: {text.casefold(): text for text in texts} for name, texts in known.items()}
    for record in records:
        if record["state"] == "accepted":
            found[record["question_type"]].setdefault(record["text"].casefold(), record["text"])
    return {name: list(texts.values()) for name, texts in found.items()}


def balanced(known: Known) -> list[Row]:
    """Hints (question_type and topic): every type with as many topics as the smallest has, the types taking turns."""
    least = min(len(texts) for texts in known.values())
    return [{"question_type": name, "topic": texts[n]} for n in range(least) for name, texts in known.items()]


def questions(library: Library, config: Config, gate: self_instruct.Config) -> Step:
    """Asks for a question to each hint; a record is a candidate, which `gate_questions` then judges."""
    prompt = library.prompt("red_team/questions")
    types = [type.model_dump(include={"name", "hint"}) for type in library.question_types()]
    continues = prompt.turns[0][0] == ""

    def read(reply: str, row: Row) -> list[Row]:
        parents = {"parents": [row["request_id"], *row["exemplar_ids"]], "origin": "red_team"}
        records, seen = [], set[int]()
        first = len(row["exemplars"]) + 1
        for place, text in answered(reply, first, len(row["hints"]), continues):
            reason = AGAIN if place in seen else None
            records.append(row["hints"][place] | parents | {"text": text, "reason": reason})
            seen.add(place)
        return records

    return Step(
        name="red_team.questions",
        table="instructions",
        prompt=prompt,
        sampling=config.sampling,
        parents=("request_id",),
        variables=lambda row: {"types": types, "exemplars": row["exemplars"], "hints": row["hints"]},
        key_fields=lambda row: {"exemplars": row["exemplars"], "hints": row["hints"]},
        sample_key=lambda row: row["request_id"],
        read=read,
        read_cut=lambda reply, row: _last_cut(read(reply, row)),
        next_row=lambda row, record: instruction_row(record),
        config={"types": types} | gate.gating(),
    )


def answered(reply: str, first: int, hints: int, continues: bool) -> list[tuple[int, str]]:
    """Place of the hint (from 0) and text of each question; the first hint has the number `first`.

    A list may restart at 1, if it has one question for each hint.

    Raises:
        ParseError: no list, or another list that restarts, so that its questions cannot be matched to the hints.
    """
    items = numbered(reply, first if continues else None)
    numbers = [number for number, _ in items]
    if numbers == list(range(1, hints + 1)) and first > 1:
        items = [(number + first - 1, text) for number, text in items]
    elif numbers[0] < first:
        raise ParseError("the list does not go on from the examples")
    found = [(number - first, text) for number, text in items if 0 <= number - first < hints]
    if not found:
        raise ParseError("no question has the number of a hint")
    return found


def question_requests(
    types: Sequence[QuestionType], hints: Sequence[Row], config: Config, round: int, accepted: Sequence[Row]
) -> list[Row]:
    """The requests of a round (from 0) for questions, none once every hint was asked for; a pure function.

    Args:
        hints: all of them, as `balanced` gives them; each is in one request.
        accepted: questions accepted in earlier rounds, as rows with id, question_type, topic and text.

    Returns:
        Rows with request_id, hints, exemplars (question_type, topic and text) and exemplar_ids (of the new ones).
    """
    seeds = [{"question_type": type.name, "topic": type.topics[0], "text": type.question} for type in types]
    first = round * config.requests_per_round
    rows = []
    for index in range(first, first + config.requests_per_round):
        if not (asked := list(hints[index * config.count : (index + 1) * config.count])):
            break
        new = pick(accepted, config.new_exemplars, index)
        seed_count = config.seed_exemplars + config.new_exemplars - len(new)
        shown = draw(seeds, seed_count, index, _text) + [{name: row[name] for name in seeds[0]} for row in new]
        rows.append(
            {
                "request_id": digest(asked, shown, index),
                "hints": asked,
                "exemplars": draw(shown, len(shown), index, _text),  # mixes seeds and new ones
                "exemplar_ids": [row["id"] for row in new],
            }
        )
    return rows


def gate_questions(
    records: Sequence[Row], pool: Pool, config: self_instruct.Config, contamination: Contamination
) -> list[Row]:
    """Judges questions in their order, as `self_instruct.gate` does; those with a reason already are only marked."""
    whole = [record for record in records if record["reason"] is None]
    judged = iter(self_instruct.gate(whole, pool, config, contamination))
    return [record | {"state": "rejected"} if record["reason"] else next(judged) for record in records]


def _last_cut(records: list[Row]) -> list[Row]:
    return [*records[:-1], *(record | {"reason": CUT} for record in records[-1:])]


def _text(row: Row) -> str:
    return str(row["text"])


method = Method(
    "red_team",
    Config,
    stages,
    source=True,
    paper="topic-guided red-teaming: SELF-ALIGN (arXiv 2305.03047)",
    tables=(TOPICS,),
)

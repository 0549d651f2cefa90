"""SELF-ALIGN: the model answers under written rules, after thinking aloud about which of them apply.

Source: SELF-ALIGN (arXiv 2305.03047), section 3.2 and its code. The same: 16 rules
and 5 exemplars with thoughts before the query; the thought must say who speaks and cite the rules; answers that leak an
exemplar, open with an apology or go round in circles are dropped. The thought is kept beside the answer and pruned for
training. Departures:
1. A reply cut short is rejected as a whole. With `keep_truncated` it is kept as the paper's code keeps it, without its
   last, partial word; it is marked as not complete, and is in no training set, for trainers close every example.
2. "Sorry" is not suppressed by a logit bias: such answers are rejected with that reason.
3. A leak is a long run of words from the prompt's own rules and exemplars, and not a list of phrases.
4. An answer that only repeats the query is rejected (after Dromedary-2's filter: more than 16 characters).
5. The assistant has no name, and a thought need not say who speaks. Your own rules file may have an `identity`,
   with which each thought then begins.
6. A thought must cite a rule; the paper's code does not ask for it.
7. No complete answer is dropped for being short (the paper's code: below 160 characters).
8. An answer that mentions the rules, which the person never saw, is requested again; one that broke off is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydantic import Field

from alignery.declarations import Shape
from alignery.hashing import digest
from prompts import Exemplar, Library, Rule
from tasks.engines import Sampling
from tasks.filters.contamination import Contamination
from tasks.filters.heuristics import APOLOGY, answer_fault, loops, opens_with_apology
from tasks.filters.targets import BROKEN, LOOP, RULES, USER, broken_off, speaks_of_rules, speaks_of_user
from tasks.methods.base import AnswerConfig
from tasks.methods.respond.method import next_row
from tasks.normalise import structured
from tasks.stage import ANSWER, INSTRUCTION, SOURCE, Context, Method, Stage, prompt_row
from tasks.step import ParseError, Rejected, Row, Step
from tasks.train.config import Recipe
from tasks.train.recipes import engrave

MARKER = "Answer:"
LEAK = "leak: repeats the prompt's own words"
_MARKED = re.compile(rf"^[ \t]*{MARKER}", re.MULTILINE)
_RULE = re.compile(r"\brules?\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_NUMBERED = re.compile(r"\brules?\s+(\d+(?:\s*(?:,|and|&)+\s*\d+)*)", re.IGNORECASE)


class Config(AnswerConfig):
    """SELF-ALIGN's settings; "paper" is arXiv 2305.03047 with its code."""

    # paper: T 0.5, top_p 0.95, 256 tokens; ours 1,024, since a reply cut short is rejected here
    sampling: Sampling = Sampling(temperature=0.5, top_p=0.95, max_tokens=1024)
    keep_truncated: bool = False  # paper: kept; ours: see departure 1
    reject_apologies: bool = True  # paper: dropped
    leak_words: int = Field(12, ge=4)  # words in a row from rules or exemplars; our choice


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    rules, exemplars = library.rules()
    sources = [(f"rule:{rule.name}", f"{rule.name}: {rule.text}") for rule in rules]
    sources += [(f"exemplar:{n}", f"{e.query}\n{e.thought}\n{e.answer}") for n, e in enumerate(exemplars, 1)]
    return [
        Stage(
            "self_align.answer",
            answer(library, config),
            after=SOURCE,
            provides="principled",
            needs=INSTRUCTION,
            adds=(*ANSWER, "principled_id", "principled"),
            texts=[prompt_row(id, source, digest(id, source)) for id, source in sources],
        )
    ]


def answer(library: Library, config: Config) -> Step:
    """Answers an instruction under the rules; the row gains principled_id and principled."""
    rules, exemplars = library.rules()
    identity = library.identity()
    read = _reader(rules, exemplars, identity, config)
    return Step(
        name="self_align.answer",
        table="responses",
        prompt=library.prompt("self_align/answer"),
        sampling=config.sampling,
        parents=("instruction_id",),
        variables=lambda row: {"rules": rules, "exemplars": exemplars, "instruction": row["instruction"]},
        read=read,
        read_cut=partial(read, complete=False) if config.keep_truncated else None,
        # A further step uses this answer as its target, as it uses a base answer.
        next_row=lambda row, record: (
            next_row(row, record) | {"principled_id": record["id"], "principled": record["text"]}
        ),
        # The rules and exemplars are part of every request: they belong to the fingerprint.
        config={
            "identity": identity,
            "rules": [rule.model_dump() for rule in rules],
            "exemplars": [exemplar.model_dump() for exemplar in exemplars],
            "keep_truncated": config.keep_truncated,
            "reject_apologies": config.reject_apologies,
            "leak_words": config.leak_words,
        }
        | config.reading(),
    )


def parse(reply: str) -> tuple[str, str]:
    """The thought and the answer of a reply: `<thought>`, a line starting `Answer:`, the answer.

    Raises:
        ParseError: one of the three is missing.
    """
    text = structured(reply, ("Thought", "Answer")).strip()
    thought, *after = _MARKED.split(text.removeprefix("Thought:").lstrip(), maxsplit=1)
    if not after:
        raise ParseError("no line starts with 'Answer:'")
    thought = thought.strip()
    if not thought:
        raise ParseError("no thought before 'Answer:'")
    if not after[0].strip():
        raise ParseError("nothing after 'Answer:'")
    return thought, after[0].strip()


def cited(thought: str, rules: Sequence[Rule]) -> list[str]:
    """Names of the rules that a thought cites, in the rules' order.

    A rule is cited by its number ("rule 3", "rules 3 and 5"), or by its name in a sentence that speaks of rules;
    elsewhere "helpful" is just a word.
    """
    numbers = {
        int(number) for found in _NUMBERED.findall(thought) for number in re.findall(r"\d+", found) if len(number) < 5
    }
    about_rules = " ".join(sentence for sentence in _SENTENCE.split(thought) if _RULE.search(sentence))
    return [
        rule.name
        for number, rule in enumerate(rules, 1)
        if number in numbers or re.search(rf"\b{re.escape(rule.name)}\b", about_rules, re.IGNORECASE)
    ]


def whole_words(text: str) -> str:
    """A text that was cut short, without its last word, which may be part of one."""
    if text[-1:].isspace():
        return text.strip()
    return (text.rsplit(None, 1)[:-1] or [""])[0].strip()


def _reader(
    rules: Sequence[Rule], exemplars: Sequence[Exemplar], identity: str, config: Config
) -> Callable[..., list[Row]]:
    own_words = [rule.text for rule in rules] + [text for e in exemplars for text in (e.query, e.answer)]
    # The same test keeps evaluation prompts out of data and the prompt's words out of answers.
    leaks = Contamination(own_words, n=config.leak_words, shortest=config.leak_words)

    def read(reply: str, row: Row, complete: bool = True) -> list[Row]:
        thought, text = parse(reply)
        if not thought.casefold().startswith(identity.casefold()):
            raise ParseError("the thought does not begin by saying who speaks")
        if not (names := cited(thought, rules)):
            raise ParseError("the thought cites no rule")
        if not complete and not (text := whole_words(text)):
            raise ParseError("nothing after 'Answer:'")
        if speaks_of_rules(text, row["instruction"]):
            raise ParseError(RULES)
        if speaks_of_user(text, row["instruction"]):
            raise ParseError(USER)
        if complete and broken_off(text):
            raise Rejected(BROKEN)
        if fault := answer_fault(text, row["instruction"], refusals=config.reject_refusals):
            raise Rejected(fault)
        if config.reject_apologies and opens_with_apology(text):
            raise Rejected(APOLOGY)
        if loops(text):
            raise ParseError(LOOP)
        if leaks.reason(text):
            raise ParseError(LEAK)
        return [{"kind": "principled", "text": text, "thought": thought, "rules": names, "complete": complete}]

    return read


method = Method(
    "self_align",
    Config,
    stages,
    paper="SELF-ALIGN (arXiv 2305.03047)",
    views=Path(__file__).parent / "views",
    shapes=(Shape.of_messages("engrave", "an instruction and the principled answer to learn, as messages"),),
    recipes={"engrave": Recipe(engrave.Config, engrave.train)},
)

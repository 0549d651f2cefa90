"""Verbose cloning: the engraved model answers at length, and a model is trained to do so unasked.

Source: SELF-ALIGN (arXiv 2305.03047), its last stage (context distillation), and its code. The same: one request of the
verbose words and the instruction; T 0.3, top_p 0.7, 512 tokens; a list is cut before its 13th item; what has no end and
fewer than 128 characters is dropped, and so is a text with an encyclopaedia's boilerplate. Training sees the
instruction without the verbose words (the view `verbose_cloning`), once a prompt, and begins from the base model.
Departures:
1. No engine here has the paper's frequency penalties on runs of three and four words (1.0 and 2.0): an answer that
   repeats one sentence again and again is requested again with another seed, at most twice.
2. An answer that reached 512 tokens, or whose list was cut, is kept as in the paper, without its last, partial word; it
   is marked as not complete and is in no training set, because trainers end every example.
3. The verbose words are the system turn; where a chat template refuses one, they begin the user's turn.
4. The paper draws the prompt of training from a few short ones; ours has none but the instruction.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from alignery.declarations import Shape
from prompts import Library
from tasks.engines import Sampling
from tasks.filters.heuristics import ECHO, echoes, loops
from tasks.filters.targets import LOOP
from tasks.methods.base import MethodConfig, check_own, own_runs
from tasks.methods.self_align.method import whole_words
from tasks.stage import INSTRUCTION, SOURCE, Context, Method, Stage
from tasks.step import ParseError, Rejected, Row, Step
from tasks.train.config import Recipe
from tasks.train.recipes import verbose as train_verbose

BOILERPLATE = "boilerplate of an encyclopaedia"
STUB = "no end and too short"
ENDLESS = "\n13. "  # paper: a list that comes so far is cut here
SHORTEST = 128  # characters of an answer without an end; paper
_HEADINGS = re.compile(
    r"^[^\w\n]*+(?:see also|external links|references|further reading|bibliography)[^\w\n]*+$",
    re.IGNORECASE | re.MULTILINE,
)


class Config(MethodConfig):
    """Verbose cloning's settings; "paper" is arXiv 2305.03047 with its code."""

    sampling: Sampling = Sampling(temperature=0.3, top_p=0.7, max_tokens=512)  # paper: the same


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    step, adds = answer(library, config), ("verbose_id", "verbose")
    return [Stage("self_align.verbose", step, after=SOURCE, model="verbose", needs=INSTRUCTION, adds=adds)]


def answer(library: Library, config: Config) -> Step:
    """Answers an instruction at length; the row gains verbose_id and verbose."""
    prompt = library.prompt("self_align/verbose")
    own = own_runs(prompt)

    def checked(reply: str, row: Row, complete: bool = True) -> list[Row]:
        check_own(reply, row["instruction"], own)
        return read(reply, row, complete)

    return Step(
        name="self_align.verbose",
        table="responses",
        prompt=prompt,
        sampling=config.sampling,
        parents=("instruction_id",),
        variables=lambda row: {"instruction": row["instruction"]},
        read=checked,
        read_cut=partial(checked, complete=False),
        next_row=lambda row, record: row | {"verbose_id": record["id"], "verbose": record["text"]},
    )


def read(reply: str, row: Row, complete: bool = True) -> list[Row]:
    """The record in a reply. Raises Rejected with a reason or, if another draw may do better, ParseError."""
    text, *more = reply.strip().split(ENDLESS, maxsplit=1)
    if not more and not complete:
        text = whole_words(text)
    complete = complete and not more
    if not complete and len(text) < SHORTEST:
        raise Rejected(STUB)
    if echoes(text, row["instruction"]):
        raise ParseError(ECHO)
    if _HEADINGS.search(text):
        raise Rejected(BOILERPLATE)
    if loops(text):
        raise ParseError(LOOP)
    return [{"kind": "verbose", "text": text.rstrip(), "thought": None, "rules": [], "complete": complete}]


method = Method(
    "verbose",
    Config,
    stages,
    models=("verbose",),
    paper="SELF-ALIGN (arXiv 2305.03047) §3.4, verbose cloning",
    views=Path(__file__).parent / "views",
    shapes=(Shape.of_messages("verbose_cloning", "an instruction and the long answer to learn, as messages"),),
    recipes={"verbose": Recipe(train_verbose.Config, train_verbose.train)},
)

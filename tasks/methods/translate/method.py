"""Other languages, by two routes side by side: a translated instruction is answered, or its answer is translated too.

Source: Phoenix (arXiv 2304.10453), section 3.1. The same: post-answering translates an instruction, which a model
answers in that language; post-translating translates the instruction and the answer that it has; the language is
drawn. Departures:
1. Both routes take the same instructions, and one translation of each, so that their answers can be compared; the
   paper's two sets have instructions of their own.
2. Shares of the languages are the preset's, and the rest stays untranslated; the paper draws more than forty by
   how many people speak them. There are fifteen: those that `tasks.filters.languages` identifies.
3. The language of each reply is identified, by its script and its commonest words, and another one is rejected.
4. Code and web addresses, and unless the preset says otherwise quotations, must be unchanged.
5. The newest text of the answer is translated (a revision or a stacked Aligner's correction, where there is one).
6. Any model may translate (the alias `translator`) and any answer; the paper has GPT-4 and GPT-3.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from alignery.declarations import INSTRUCTION_ID, Column, Shape, Table
from alignery.hashing import digest
from prompts import Library, PromptError
from prompts.languages import LanguageWords, translation_examples
from tasks.engines import Sampling
from tasks.filters.heuristics import answer_fault, loops
from tasks.filters.languages import CODES, language_of
from tasks.filters.targets import LEAK, LOOP, runs
from tasks.methods.base import MethodConfig, check_own, own_runs
from tasks.methods.translate.reading import check_language, translation
from tasks.methods.translate.verbatim import prose
from tasks.stage import ANSWER, GENERATOR, INSTRUCTION, SOURCE, Context, Method, Stage, prompt_row
from tasks.step import ParseError, Rejected, Row, Step
from tasks.train.recipes import declared

TRANSLATOR = "translator"  # the alias of the model that translates
ANSWERED, TRANSLATED = "post_answering", "post_translating"
_MARKS = ".。।"
BOTH = "both"  # the column `route` of a translated instruction

Code = Literal["en", "de", "fr", "es", "it", "pt", "nl", "ja", "ko", "zh", "ru", "el", "ar", "he", "hi"]
Route = Literal["post_answering", "post_translating"]
Share = Annotated[float, Field(gt=0, le=1)]


class Answers(MethodConfig):
    """Settings of the answers in the language; the figures are `respond`'s, with tokens for other scripts."""

    sampling: Sampling = Sampling(temperature=1.0, max_tokens=3000)


class Config(MethodConfig):
    """Which languages, and how; the figures are our choice."""

    languages: dict[Code, Share] = Field(min_length=1)  # of the instructions; ISO 639-1
    routes: tuple[Route, ...] = Field(("post_answering", "post_translating"), min_length=1)
    quotes: bool = True  # whether quotations stay unchanged; false for stories with dialogue
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=3000)  # of translations
    answers: Answers = Answers()

    @field_validator("languages")
    @classmethod
    def _at_most_all(cls, languages: dict[Code, Share]) -> dict[Code, Share]:
        if (total := math.fsum(languages.values())) > 1 + 1e-9:
            raise ValueError(f"got shares of {total:g} in all, expected at most 1; lower some of them")
        return languages

    @field_validator("routes")
    @classmethod
    def _once_each(cls, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        if len(set(routes)) < len(routes):
            raise ValueError(f"got {routes[0]} twice; name each route once")
        return routes


TRANSLATIONS = Table(
    "translations",
    "Instructions in other languages, and their answers there, by route",
    "translation",
    (
        INSTRUCTION_ID,
        Column.text("translation_id", "the translated instruction that it answers (translations.id)").optional,
        Column.text("answer_id", "the answer that was translated: an answer, a correction or a revision").optional,
        Column.text("route", "post_answering or post_translating; both of an instruction, which they share").shown,
        Column.text("language", "ISO 639-1").shown,
        Column.real("share", "the probability with which the language was drawn", "0 to 1"),
        Column.text("source", "the text that was translated; null of an answer that was written there").optional,
        Column.text("text", "the instruction or the answer in that language"),
    ),
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    """The translation of the instruction; after it, side by side, an answer to it and the translation of the answer."""
    languages, paired = words_of(library, config), TRANSLATED in config.routes
    first = Stage(
        "translate.instruction",
        translate(library, config, languages, "instruction"),
        after="answer" if paired else SOURCE,
        model=TRANSLATOR,
        take=lambda row: row | {"language": draw_language(row["instruction_id"], config.languages)},
        when=lambda row: is_asked(row, config),
        needs=(*INSTRUCTION, *(ANSWER if paired else ())),
        adds=("language", "translation_id", "translation"),
        texts=[prompt_row(f"language:{one.code}", one.source, one.hash) for one in languages.values()],
    )
    needs, translation_stages = ("instruction_id", *first.adds), [first]
    if ANSWERED in config.routes:
        step = answer(library, config, languages)
        translation_stages.append(Stage(step.name, step, after=first.name, needs=needs))
    if paired:
        step = translate(library, config, languages, "target")
        translation_stages.append(
            Stage(
                step.name,
                step,
                after=first.name,
                model=TRANSLATOR,
                take=lambda row: row | {"answer_id": row["target_id"]},
                needs=(*needs, "target_id", "target"),
            )
        )
    return translation_stages


def words_of(library: Library, config: Config) -> dict[str, LanguageWords]:
    """The words of the languages that are drawn. Raises PromptError if the file lacks one of them."""
    known = library.languages()
    if missing := [code for code in config.languages if code not in known]:
        raise PromptError(
            f"{library.path('translate/languages')}: has no language {missing[0]!r}, which line.translate.languages "
            f"names; add it, or name some of {sorted(known)}"
        )
    return {code: known[code] for code in config.languages}


def draw_language(instruction_id: str, shares: Mapping[Code, float]) -> Code | None:
    """The language of an instruction, each with the probability that its share is; None for what the shares leave of 1.

    The one with the least -log(u)/share, where u is a hash of language and id in (0, 1] (weighted rendezvous hashing):
    it depends on nothing else, and a share that changes moves no instruction from one of the other languages to
    another of them.
    """
    left = 1 - math.fsum(shares.values())
    every: dict[Code | None, float] = {None: left} if left > 1e-9 else {}
    every.update(shares.items())
    return min(every, key=lambda code: -math.log((int(digest(code, instruction_id), 16) + 1) / 2**128) / every[code])


def is_asked(row: Row, config: Config) -> bool:
    """Whether a language was drawn for the row, and the instruction is not in that already."""
    code = row["language"]
    return code is not None and language_of(prose(row["instruction"], quotes=config.quotes)) != CODES[code]


def translate(library: Library, config: Config, languages: Mapping[str, LanguageWords], field: str) -> Step:
    """Translates an instruction, and the row gains the translation; or its answer (the target), which ends the row."""
    prompt, is_instruction = library.prompt("translate/text"), field == "instruction"
    examples = {code: translation_examples(library.languages(), code) for code in languages}
    own = own_runs(prompt).union(*(runs(one["translation"]) for each in examples.values() for one in each))

    def read(reply: str, row: Row) -> list[Row]:
        source, code = row[field], row["language"]
        text = translation(reply, source, CODES[code], languages[code].label, quotes=config.quotes)
        check_own(text, source, own)
        route = BOTH if is_instruction else TRANSLATED
        return [_record(config, row, route, text) | {"source": source}]

    return Step(
        name="translate.instruction" if is_instruction else "translate.response",
        table=TRANSLATIONS.name,
        prompt=prompt,
        sampling=config.sampling,
        parents=("instruction_id",) if is_instruction else ("instruction_id", "translation_id", "answer_id"),
        variables=lambda row: {
            "language": CODES[row["language"]].title(),
            "quotes": config.quotes,
            "examples": examples[row["language"]],
            "text": row[field],
        },
        read=read,
        key_fields=lambda row: {"language": row["language"], "examples": digest(examples[row["language"]])},
        next_row=lambda row, record: row | {"translation_id": record["id"], "translation": record["text"]},
        config={} if config.quotes else {"quotes": False},
        retries=2 if config.sampling.temperature else 0,  # at T 0 another seed gives the same reply
    )


def answer(library: Library, config: Config, languages: Mapping[str, LanguageWords]) -> Step:
    """Answers the translated instruction, asked in its language."""
    prompt = library.prompt("translate/answer")
    own = own_runs(prompt).union(*(runs(one.answer) for each in languages.values() for one in each.examples))

    def read(reply: str, row: Row) -> list[Row]:
        text = reply.strip()
        if languages[row["language"]].request.rstrip(_MARKS).casefold() in text.casefold():
            raise ParseError(LEAK)
        if fault := answer_fault(text, row["translation"], refusals=False):
            raise Rejected(fault)
        if loops(text):
            raise Rejected(LOOP)
        check_own(text, row["translation"], own)
        check_language(text, CODES[row["language"]])
        return [_record(config, row, ANSWERED, text)]

    return Step(
        name="translate.answer",
        table=TRANSLATIONS.name,
        prompt=prompt,
        sampling=config.answers.sampling,
        parents=("instruction_id", "translation_id"),
        variables=lambda row: {"words": languages[row["language"]].model_dump(), "instruction": row["translation"]},
        read=read,
        key_fields=lambda row: {"language": row["language"], "words": languages[row["language"]].hash},
    )


def _record(config: Config, row: Row, route: str, text: str) -> Row:
    code: Code = row["language"]
    return {"route": route, "language": code, "share": config.languages[code], "text": text}


def _shape(name: str, about: str) -> Shape:
    """Its rows are on the side of the split of their sources, so that no model is tested on a row that it was
    trained on in another language."""
    columns = ("messages", "source", "language", "route")
    return Shape(name, about, columns, prompt="source", answer="messages[2].content")


method = Method(
    "translate",
    Config,
    stages,
    models=(GENERATOR, TRANSLATOR),
    paper="Phoenix (arXiv 2304.10453) §3.1, post-answering and post-translating",
    tables=(TRANSLATIONS,),
    views=Path(__file__).parent / "views",
    shapes=(
        _shape("translated", "an instruction and its answer in another language, by either route"),
        _shape(ANSWERED, "an instruction in another language and an answer that was written there"),
        _shape(TRANSLATED, "an instruction and its answer, both translated into another language"),
    ),
    published=True,
    recipes={route: declared.sft(route, epochs=3) for route in (ANSWERED, TRANSLATED)},  # paper: 3 epochs
)

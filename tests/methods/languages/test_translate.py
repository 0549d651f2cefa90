"""Phoenix: one translation of an instruction, then an answer to it and the translation of the answer that it has."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from steps import run

from prompts import Library, PromptError
from prompts.languages import translation_examples
from tasks.engines import Completion, ScriptedEngine
from tasks.engines.scripted import text_of
from tasks.filters.contamination import Contamination
from tasks.filters.heuristics import ECHO, TRUNCATED
from tasks.filters.languages import CODES, LANGUAGES, language_of
from tasks.filters.targets import LEAK, LOOP
from tasks.methods.translate.method import Code, Config, draw_language, stages
from tasks.methods.translate.reading import LONG, MIXED, REMARK, SHORT, UNKNOWN, UNTRANSLATED, check_language
from tasks.methods.translate.verbatim import changed
from tasks.stage import Context, Stage
from tasks.step import ParseError, Rejected, Row

GERMAN = {"de": 1.0}
QUESTION = "How do I water a cactus in winter? Run `water(0)`."
ROW = {"instruction_id": "i1", "instruction": QUESTION, "topic": "the home", "response_id": "r1", "target_id": "c1"}
ROW |= {"response": "Every day.", "target": "Hardly at all. See `water` at https://a.org/cactus."}
TRANSLATION = "Wie gieße ich einen Kaktus im Winter? Führe `water(0)` aus."
ANSWER = "Im Winter brauchst du ihn nicht zu gießen."
RESPONSE = "So gut wie nicht. Siehe `water` auf https://a.org/cactus."


def chain(library: Library | None = None, **settings: Any) -> dict[str, Stage]:
    config = Config(**({"languages": GERMAN} | settings))
    made = stages(library or Library(), config, Context({}, Contamination([])))
    return {stage.name.removeprefix("translate."): stage for stage in made}


@cache
def usual() -> dict[str, Stage]:
    return chain()


def sent(stage: Stage, row: Row, *replies: str | Completion) -> tuple[list[Row], list[Row], ScriptedEngine]:
    """Records, attempts and the engine."""
    engine = ScriptedEngine(list(replies))
    outcome = asyncio.run(run(stage.step, [stage.take(row)], engine))
    return outcome.records, outcome.attempts, engine


def translated() -> Row:
    """The row with its instruction's translation."""
    stage = usual()["instruction"]
    return stage.step.next_row(stage.take(ROW), sent(stage, ROW, TRANSLATION)[0][0])


def reason(stage: Stage, reply: str | Completion, row: Row) -> tuple[str, str | None]:
    """State and reason of the last attempt."""
    attempt = sent(stage, row, *[reply] * 3)[1][-1]
    return attempt["state"], attempt["reason"]


def test_both_routes_take_one_translation_and_each_row_says_what_it_is_made_from() -> None:
    """(1), (4), (6)"""
    made = usual()
    assert [(one.name, one.model, one.after) for one in made.values()] == [
        ("translate.instruction", "translator", "answer"),
        ("translate.answer", "generator", "translate.instruction"),
        ("translate.response", "translator", "translate.instruction"),
    ]
    (question,), _, _ = sent(made["instruction"], ROW, f"Here is the German translation:\n\n{TRANSLATION}")
    assert (question["route"], question["text"], question["source"]) == ("both", TRANSLATION, QUESTION)
    assert (question["language"], question["share"], question["parents"]) == ("de", 1.0, ["i1"])
    row = made["instruction"].step.next_row(made["instruction"].take(ROW), question)
    (answer,), _, asked = sent(made["answer"], row, ANSWER)
    assert (answer["route"], answer["text"], answer["parents"]) == ("post_answering", ANSWER, ["i1", question["id"]])
    assert text_of(asked.calls[0].prompt) == f"Beantworte die folgende Anfrage auf Deutsch.\n\n{TRANSLATION}"
    (response,), _, asked = sent(made["response"], row, RESPONSE)
    assert (response["route"], response["text"], response["source"]) == ("post_translating", RESPONSE, ROW["target"])
    assert response["parents"] == ["i1", question["id"], "c1"], "the newest text of the answer, and not the first"
    assert ROW["target"] in text_of(asked.calls[0].prompt)


def test_one_route_alone_may_be_asked_for_and_post_answering_waits_for_no_answer() -> None:
    assert [*chain(routes=["post_answering"])] == ["instruction", "answer"]
    assert chain(routes=["post_answering"])["instruction"].after == "instruction"
    assert [*chain(routes=["post_translating"])] == ["instruction", "response"]
    with pytest.raises(ValidationError, match="got post_answering twice"):
        Config(languages=GERMAN, routes=["post_answering", "post_answering"])


SHARES: dict[Code, float] = {"de": 0.5, "hi": 0.3, "fr": 0.1}


def test_a_language_is_drawn_by_its_share_and_what_is_left_stays_as_it_is() -> None:
    """(2)"""
    ids = [f"i{n}" for n in range(4000)]
    counts = Counter(draw_language(id, SHARES) for id in ids)
    assert {code: round(counts[code] / 4000, 1) for code in (*SHARES, None)} == SHARES | {None: 0.1}
    assert [draw_language(id, SHARES) for id in ids] == [
        draw_language(id, dict(reversed(SHARES.items()))) for id in ids
    ]
    before, after = ({id: draw_language(id, shares) for id in ids} for shares in (SHARES, SHARES | {"hi": 0.4}))
    moved = {(before[id], after[id]) for id in ids if before[id] != after[id]}
    assert moved
    assert all(new == "hi" or old is None for old, new in moved), "no language takes one from another that stays"
    assert {draw_language(id, GERMAN) for id in ids} == {"de"}


def test_what_is_in_the_language_already_or_was_drawn_for_none_is_not_asked() -> None:
    first = usual()["instruction"]
    assert first.when(first.take(ROW))
    assert not first.when(first.take(ROW | {"instruction": "Wie gieße ich einen Kaktus im Winter?"}))
    some = chain(languages={"de": 0.01})["instruction"]
    assert some.take(ROW)["language"] is None
    assert not some.when(some.take(ROW))


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        ({"de": 0.7, "hi": 0.4}, "got shares of 1.1 in all, expected at most 1"),
        ({"de": 0}, "greater than 0"),
        ({"german": 0.5}, "de"),
        ({}, "at least 1"),
    ],
)
def test_shares_that_are_none_are_refused(languages: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(languages=languages)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (QUESTION, "in another language: english"),
        ("Comment arroser un cactus en hiver ? Exécute `water(0)`.", "in another language: french"),
        ("зимой кактус поливают редко `water(0)`", "in another language: russian"),
        ("`water(0)` mul dap raq sob tik lum pow gar neb", UNKNOWN),
        ("Wie gieße ich einen Kaktus im Winter? Führe `wasser(0)` aus.", "inline code changed"),
        ("Wie gieße ich einen Kaktus im Winter?", "inline code changed"),
        ("Wie gieße ich einen Kaktus, der疫苗 braucht, im Winter? `water(0)`", MIXED),
        ("Leистe Hilfe: Wie gieße ich einen Kaktus im Winter? `water(0)`", MIXED),
        (f"{TRANSLATION} " + "Und noch etwas ist zu sagen. " * 9, LOOP),
        (TRANSLATION + "".join(f" Das ist der Satz mit der Zahl {n} und mehr." for n in range(9)), LONG),
        (Completion(TRANSLATION, "length", 9, 9, 0.1), TRUNCATED),
    ],
)
def test_a_translation_that_is_none_is_rejected_with_its_reason(reply: str | Completion, why: str) -> None:
    """(3), (5)"""
    assert reason(usual()["instruction"], reply, ROW) == ("rejected", why)


def test_a_remark_about_a_translation_is_no_part_of_it() -> None:
    remark = f"{TRANSLATION}\n\nHier ist die deutsche Übersetzung und nichts sonst."
    assert reason(usual()["instruction"], remark, ROW) == ("unparsed", REMARK)
    about = "Was ist eine Übersetzung?\n\nUnd was ist in `water(0)` eine gute Übersetzung?"
    row = ROW | {"instruction": "What is a translation?\n\nAnd what is a good translation in `water(0)`?"}
    assert reason(usual()["instruction"], about, row) == ("accepted", None)


def test_a_summary_of_an_answer_is_no_translation_of_it() -> None:
    row = translated() | {"target": "A cactus rests in winter, and it needs no water as long as the room is cool."}
    assert reason(usual()["response"], "Gar nicht.", row) == ("rejected", SHORT)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("In winter it needs hardly any water at all.", "in another language: english"),
        (TRANSLATION.upper(), ECHO),
        ("Das ist nicht so einfach. " * 5, LOOP),
        ("Quarz Feldspat Glimmer Basalt Granit Gneis Schiefer Marmor", UNKNOWN),
    ],
)
def test_an_answer_that_is_none_is_rejected_with_its_reason(reply: str, why: str) -> None:
    """(3)"""
    assert reason(usual()["answer"], reply, translated()) == ("rejected", why)


def test_the_prompts_own_words_are_no_answer_and_a_label_alone_is_no_translation() -> None:
    example = Library().languages()["de"].examples[0].answer
    assert reason(usual()["answer"], f"Also: {example}", translated()) == ("unparsed", LEAK)
    assert reason(usual()["instruction"], "Übersetzung:", ROW) == ("unparsed", "nothing after the label")
    assert sent(usual()["instruction"], ROW, f"Übersetzung: {TRANSLATION}")[0][0]["text"] == TRANSLATION


def test_a_name_is_the_same_in_many_languages_and_code_is_in_none() -> None:
    row = translated() | {"target": "Berlin"}
    assert reason(usual()["response"], "Berlin", row) == ("accepted", None)
    code = "```\nfor this in that: print('is the one of the')\n```"
    assert reason(usual()["response"], f"So geht es:\n{code}", row | {"target": f"Like this:\n{code}"}) == (
        "accepted",
        None,
    )


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Apfel, Birne, Kirsche, Pflaume, Traube, Banane, Orange, Zitrone", "german"),
        ("1. Marcher\n2. Nager\n3. Courir\n4. Lire\n5. Peindre\n6. Jardiner", "french"),
        ("Non, merci.", "french"),
        ("O gato come peixe.", "portuguese"),
        ("DER KAKTUS BRAUCHT KEIN WASSER.", "german"),
        ("y = 2x + 3", "german"),
        ("π ≈ 3,14", "german"),
        ("Auf Japanisch sagt man こんにちは zu einem Gast.", "german"),
        ("東京", "japanese"),
        ("PythonでTensorFlowを使います。", "japanese"),
        ("使用 TensorFlow, PyTorch, JAX 等框架训练。", "chinese"),
        ("Используйте PyTorch, TensorFlow и JAX.", "russian"),
        ("Установите Python, PyTorch, TensorFlow, JAX, NumPy, SciPy, Keras и Pandas.", "russian"),
        ("使用 Python, PyTorch, TensorFlow, JAX, NumPy, SciPy, XGBoost 和 Keras。", "chinese"),
        ("| Apfel | Birne | Kirsche | Pflaume | Traube | Banane | Orange | Zitrone |", "german"),
        ("Apfel • Birne • Kirsche • Pflaume • Traube • Banane • Orange • Zitrone", "german"),
    ],
)
def test_lists_formulas_and_words_of_another_language_are_no_reason_to_reject(text: str, language: str) -> None:
    check_language(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cactus needs no water.", "german"),
        ("猫在睡觉，狗在外面跑来跑去。", "japanese"),
        ("是的", "german"),
        ("Apples, pears, plums, cherries, grapes, oranges, lemons, limes", "hindi"),
    ],
)
def test_another_language_is_rejected(text: str, language: str) -> None:
    with pytest.raises(Rejected):
        check_language(text, language)


def test_code_alone_is_its_own_translation_and_a_long_list_is_none() -> None:
    code = "```\nprint(1)\n```"
    row = translated() | {"target": code}
    assert sent(usual()["response"], row, code)[0][0]["text"] == code
    items = "apples, pears, plums, cherries, grapes, oranges, lemons, limes"
    assert reason(usual()["response"], items, row | {"target": items}) == ("rejected", UNTRANSLATED)
    assert reason(usual()["response"], f"{items.capitalize()}.", row | {"target": items}) == ("rejected", UNTRANSLATED)
    for reply in (f"Übersetzung:\n{code}", f"Sure! Here it is:\n{code}"):
        assert sent(usual()["response"], row, reply)[0][0]["text"] == code


def test_quotations_stay_unless_the_preset_says_otherwise() -> None:
    row = translated() | {"target": 'The fox said: "Come in, and close the door."'}
    spoken = "Der Fuchs sagte: „Komm herein, und mach die Tür zu.“"
    assert reason(usual()["response"], spoken, row) == ("rejected", "quotation changed")
    free = chain(quotes=False)["response"]
    assert reason(free, spoken, row) == ("accepted", None)
    kept, left = (text_of(sent(one, row, spoken)[2].calls[0].prompt) for one in (usual()["response"], free))
    assert "quotation marks" in kept
    assert "quotation" not in left
    engine = ScriptedEngine(["x"])
    assert free.step.fingerprint(engine) != usual()["response"].step.fingerprint(engine)


def test_a_request_in_other_words_asks_for_the_answers_of_its_language_anew(tmp_path: Path) -> None:
    words = yaml.safe_load(Library().path("translate/languages").read_text(encoding="utf-8"))
    english, german, hindi = (
        next(one for one in words["languages"] if one["code"] == code) for code in ("en", "de", "hi")
    )
    german["request"] = "Antworte auf Deutsch."
    (tmp_path / "translate").mkdir()
    (tmp_path / "translate/languages.yaml").write_text(yaml.safe_dump({"languages": [english, german, hindi]}))
    library, engine = Library(overlay=tmp_path), ScriptedEngine(["x"])
    library.check()
    shares = {"de": 0.5, "hi": 0.5}
    old, new = chain(languages=shares), chain(library, languages=shares)
    for code, same in (("de", False), ("hi", True)):
        row = translated() | {"language": code}
        keys = {one["answer"].step.work_key(row, engine) for one in (old, new)}
        assert (len(keys) == 1) == same
    assert new["response"].step.work_key(row | {"answer_id": "c1"}, engine) == old["response"].step.work_key(
        row | {"answer_id": "c1"}, engine
    )
    with pytest.raises(PromptError, match=r"languages\.yaml: has no language 'fr'"):
        chain(library, languages={"fr": 1})


def test_every_language_that_can_be_drawn_has_words_that_are_identified_as_its_own() -> None:
    spoken = Library().languages()
    assert set(spoken) == set(CODES) == set(Code.__args__)  # type: ignore[attr-defined]
    assert set(CODES.values()) == set(LANGUAGES)
    for code, words in spoken.items():
        for text in (words.request, *(text for one in words.examples for text in (one.question, one.answer))):
            assert language_of(text) == CODES[code], text


def test_both_forms_ask_in_the_language() -> None:
    stage, row = chain(languages=dict.fromkeys(CODES, 0.05))["answer"], translated() | {"translation": "?!"}
    for code, words in Library().languages().items():
        for form in ("chat", "text"):
            step = stage.in_form(form).step  # type: ignore[arg-type]
            asked = text_of(step.prompt.render(**step.variables(row | {"language": code})))
            assert words.request in asked
            assert asked.rstrip().endswith("?!" if form == "chat" else "### Assistant:")
            assert (words.examples[0].answer in asked) == (form == "text")


def test_a_translator_is_shown_texts_of_another_language_with_their_translations() -> None:
    known = Library().languages()
    for code, words in known.items():
        other = known["de" if code == "en" else "en"]
        shown = translation_examples(known, code)
        assert [one["text"] for one in shown] == [
            other.examples[0].question,
            other.examples[1].answer,
            other.examples[2].question,
        ]
        assert shown[1]["translation"] == words.examples[1].answer
        assert not changed(shown[2]["text"], shown[2]["translation"], quotes=True)
    german = {code: words for code, words in known.items() if code == "de"}
    assert translation_examples(german, "de") == []


def test_an_example_or_the_request_itself_is_no_reply() -> None:
    stages, row = usual(), translated()
    example = Library().languages()["de"].examples[0].question
    assert reason(stages["instruction"], f"{example} `water(0)`", ROW | {"language": "de"})[1] == LEAK
    assert reason(stages["answer"], f"Beantworte die folgende Anfrage auf Deutsch: {ANSWER}", row)[1] == LEAK


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80) | st.text('`"“>„:/. aäあн\n', max_size=80))
def test_no_reply_breaks_the_reading(reply: str) -> None:
    row = translated()
    for stage in usual().values():
        with suppress(ParseError, Rejected):
            (found,) = stage.step.read(reply, row)
            assert found["text"] in reply.replace("\r\n", "\n")

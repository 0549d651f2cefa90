"""What a translation must leave as it is, both ways: kept in any order it passes, changed in any place it does not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.methods.translate.verbatim import changed, prose

few = settings(max_examples=25, deadline=None)
PROSE = st.text("abcdefgh äöü漢字.,()*", max_size=8).map(lambda text: f"\n\n{text}\n\n")
NAME = st.text("xyz", min_size=3, max_size=9)
BLOCK = st.tuples(st.sampled_from(["```", "~~~", "````"]), NAME, st.lists(NAME, min_size=1, max_size=2)).map(
    lambda parts: f"{parts[0]}{parts[1]}\n" + "\n".join(parts[2]) + f"\n{parts[0]}"
)
INLINE = NAME.map(lambda name: f"`{name}`") | NAME.map(lambda name: f"``{name} ` {name}``")
ADDRESS = NAME.map(lambda name: f"https://{name}.org/{name}?q={name}#{name}")
QUOTATION = NAME.map(lambda name: f'"{name} of {name}"') | NAME.map(lambda name: f"> {name} of {name}")
PASSAGE = BLOCK | INLINE | ADDRESS | QUOTATION
PASSAGES = st.lists(PASSAGE, max_size=4)


def text(draw: st.DataObject, passages: list[str]) -> str:
    """The passages among other words."""
    parts = [draw.draw(PROSE)]
    for passage in passages:
        parts += [passage, draw.draw(PROSE)]
    return "".join(parts)


@few
@given(st.data(), PASSAGES)
def test_what_stays_as_it_was_passes_in_any_order_among_any_words(draw: st.DataObject, passages: list[str]) -> None:
    source, translation = text(draw, passages), text(draw, draw.draw(st.permutations(passages)))
    assert changed(source, translation, quotes=True) is None
    assert not any(set("xyz") & set(prose(one, quotes=True)) for one in (source, translation))


@few
@given(st.data(), PASSAGES, PASSAGE, st.sampled_from(["lost", "letter", "capitals"]))
def test_one_passage_that_is_lost_or_differs_in_a_letter_is_noticed(
    draw: st.DataObject, passages: list[str], passage: str, how: str
) -> None:
    place = passage.index(next(each for each in passage if each in "xyz"))
    other = {"lost": "", "letter": passage[:place] + "v" + passage[place + 1 :], "capitals": passage.upper()}[how]
    source, translation = text(draw, [*passages, passage]), text(draw, [*passages, *([other] if other else [])])
    assert changed(source, translation, quotes=True) is not None


@few
@given(st.data(), PASSAGES, BLOCK | INLINE | ADDRESS)
def test_code_and_addresses_are_not_added(draw: st.DataObject, passages: list[str], passage: str) -> None:
    source, translation = text(draw, passages), text(draw, [*passages, passage])
    assert changed(source, translation, quotes=True) is not None


@pytest.mark.parametrize(
    ("source", "translation", "kind"),
    [
        ("Run:\n```py\nx = 1  # one\n```", "Führe aus:\n```py\nx = 1  # eins\n```", "code block"),
        ("Run:\n```py\nx = 1\n", "Führe aus:\n```py\nx = 1\n", None),
        ("1. Run:\n   ```\n   ls\n   ```", "1. Los:\n   ```\n   ls\n   ```", None),
        ("1. ```sh\n   ls\n   ```\nThen go.", "1. ```sh\n   ls\n   ```\nDann geh.", None),
        ("> ```\n> ls\n> ```\nThen go.", "> ```\n> ls\n> ```\nDann geh.", None),
        ("````md\n```\nls\n```\n````\nGo.", "````md\n```\nls\n```\n````\nGeh.", None),
        ("Run:\r\n```\r\nls\r\n```\r\nThen go.", "Los:\n```\nls\n```\nDann geh.", None),
        ("Call `sorted(x)`.", "Rufe `sortiert(x)` auf.", "inline code"),
        ("Call `f` and `f`.", "Rufe `f` auf.", "inline code"),
        ("See https://a.org/b_(c).", "Siehe https://a.org/b_(c)。", None),
        ("See https://a.org/en.", "Siehe https://a.org/de.", "web address"),
        ("See www.a.org!", "Siehe unsere Seite!", "web address"),
        ('Say "Good day."', "Sag „Good day.“", None),
        ('Say "Good day."', "Sag „Guten Tag.“", "quotation"),
        ("He said “no” and “no”.", "Er sagte «no».", "quotation"),
        ("Sag »Komm« und »Geh«.", "Say “Komm” and “Geh”.", None),
        ("Sum up:\n> It rained.\n> A lot.", "Fasse zusammen:\n> It rained.\n> A lot.", None),
        ("Sum up:\n> It rained.", "Fasse zusammen:\n> Es regnete.", "quotation"),
        ('A 5" pipe is wider than a 4" pipe.', "Ein Rohr von 5 Zoll ist weiter als eines von 4 Zoll.", None),
        ("It's the dogs' day.", "Es ist der Tag der Hunde.", None),
    ],
)
def test_what_counts_as_code_an_address_or_a_quotation(source: str, translation: str, kind: str | None) -> None:
    assert changed(source, translation, quotes=True) == kind


def test_quotations_may_be_left_to_the_translator() -> None:
    pair = '"Come in," said the fox.', "„Komm herein“, sagte der Fuchs."
    assert changed(*pair, quotes=True) == "quotation"
    assert changed(*pair, quotes=False) is None
    assert "Come in" in prose(pair[0], quotes=False)
    assert "Come in" not in prose(pair[0], quotes=True)
    assert changed("Call `f`.", "Rufe `g`.", quotes=False) == "inline code"

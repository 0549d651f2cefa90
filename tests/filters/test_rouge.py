"""The near-duplicate gate decides as the `rouge_score` loop does, and sees what that loop cannot."""

from __future__ import annotations

import random

import pytest
from rouge_score import rouge_scorer

from tasks.filters import rouge
from tasks.filters.rouge import Nearest, RougePool, f_measure, tokens

NOUNS = ("cat", "dog", "boat", "tree", "song", "river", "king", "loaf", "star", "glove")
VERBS = ("Describe the", "Explain to me how a", "Name 3 uses of a", "Compare the", "Why would anybody want a")
TAILS = ("in two short lines", "for a child of six", "so that I can teach it", "in 10 words or fewer", "today")


def template_like(count: int) -> list[str]:
    rng = random.Random(7)
    texts = []
    for _ in range(count):
        nouns = " and the ".join(rng.sample(NOUNS, rng.randint(1, 5)))
        texts.append(f"{rng.choice(VERBS)} {nouns}, {rng.choice(TAILS)} {rng.choice(TAILS)}")
    return texts


def loop(text: str, pool: list[str]) -> list[float]:
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    return [scorer.score(text, other)["rougeL"].fmeasure for other in pool]


def test_decisions_and_figures_equal_the_reference_loop() -> None:
    texts = template_like(320)
    pool_texts, candidates = texts[:10], texts[10:]
    pool, verdicts = RougePool(pool_texts), []
    for text in candidates:
        expected, near = loop(text, pool_texts), pool.nearest(text)
        assert near.similarity == max(expected)
        assert near.mean == pytest.approx(sum(expected) / len(expected))
        assert near.text is not None
        assert loop(text, [near.text]) == [max(expected)]
        assert (near.similarity > 0.7) == any(score > 0.7 for score in expected)
        verdicts.append(near.similarity > 0.7)
        if not verdicts[-1]:
            pool.add(text)
            pool_texts.append(text)
    assert 50 < sum(verdicts) < len(verdicts) - 50  # both verdicts occur, so the comparison says something


@pytest.mark.parametrize(("lcs", "m", "n"), [(7, 10, 10), (14, 20, 20), (7, 8, 12), (21, 25, 35)])
def test_the_boundary_has_the_roundings_of_the_reference(lcs: int, m: int, n: int) -> None:
    common = [f"w{i}" for i in range(lcs)]
    a = " ".join(common + [f"a{i}" for i in range(m - lcs)])
    b = " ".join(common + [f"b{i}" for i in range(n - lcs)])
    assert f_measure(lcs, m, n) == loop(a, [b])[0]
    assert RougePool([b]).nearest(a).similarity == loop(a, [b])[0]


def test_what_is_added_counts_at_once() -> None:
    pool = RougePool()
    assert (pool.nearest("a new thing").similarity, pool.nearest("a new thing").text) == (0.0, None)
    pool.add("A new thing!")
    assert (pool.nearest("a NEW thing").similarity, pool.nearest("a NEW thing").text) == (1.0, "A new thing!")
    assert len(pool) == 1


def test_a_pool_of_several_chunks_is_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = template_like(60)
    whole = RougePool(texts[:50]).compare(texts[50:])
    monkeypatch.setattr("tasks.filters.rouge._CHUNK", 7)
    parts = RougePool(texts[:50]).compare(texts[50:])
    assert [(n.similarity, n.text, n.size) for n in parts] == [(n.similarity, n.text, n.size) for n in whole]


def test_nothing_in_common_has_no_nearest() -> None:
    assert RougePool(["one two"]).nearest("three four").text is None


def test_text_without_latin_letters_is_compared_by_trigrams() -> None:
    assert loop("请介绍一下你自己的家乡", ["请介绍一下你自己的家乡"]) == [0.0]  # what the reference sees
    pool = RougePool(["请介绍一下你自己的家乡", "用 Python 写一个计算器的说明"])
    assert pool.nearest("请介绍一下你自己的家乡吧").similarity > 0.7
    assert pool.nearest("今天晚上我们吃什么呢").similarity < 0.3
    # One Latin word in such a text is not the whole of it.
    assert pool.nearest("怎样才能学会 Python 这门语言").similarity < 0.3


def test_half_latin_is_latin_and_two_signs_are_one_token() -> None:
    assert tokens("abc 四五六") == ["abc"]
    assert tokens("abc 四五六七") != ["abc"]
    assert tokens("四五") == ["四五"]
    assert tokens("四五六七") == ["四五六", "五六七"]
    assert RougePool(["四五"]).nearest("四五").similarity == 1.0


@pytest.mark.parametrize("chunk", [1, 2, 50])
def test_of_equals_the_first_is_named(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(rouge, "_CHUNK", chunk)
    pool = RougePool(["nothing alike", "tea and milk", "milk and tea", "tea and milk!"])
    assert pool.nearest("tea and ink").text == "tea and milk"
    two = (Nearest(0.5, 0.5, name, 1) for name in ("first", "second"))
    assert next(two).merged(next(two)).text == "first"


def test_a_mean_is_that_of_all_texts_however_they_are_divided() -> None:
    assert Nearest(1.0, 1.0, "a", 1).merged(Nearest(0.5, 0.2, "b", 3)) == Nearest(1.0, pytest.approx(0.4), "a", 4)


def test_what_is_added_after_a_comparison_overwrites_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "_CHUNK", 2)
    texts = [f"{word} {word}s of long {word}land" for word in ("tea", "ink", "fog", "oak", "elm", "ash", "yew")]
    pool = RougePool()
    for number, text in enumerate(texts):
        pool.add(text)
        assert [pool.nearest(added).text for added in texts[: number + 1]] == texts[: number + 1]


def test_a_comparison_that_was_broken_off_overwrites_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **named: object) -> None:
        raise MemoryError

    monkeypatch.setattr(rouge, "_CHUNK", 2)
    texts = [f"{word} {word}s of long {word}land" for word in ("tea", "ink", "fog", "oak", "elm", "ash")]
    pool = RougePool(texts[:4])
    with monkeypatch.context() as patch:
        patch.setattr(rouge, "cdist", broken)
        with pytest.raises(MemoryError):
            pool.nearest("tea")
    for text in texts[4:]:
        pool.add(text)
    assert [pool.nearest(text).text for text in texts] == texts


def test_half_a_character_is_a_text_too() -> None:
    cut = "say \ud83d and no more"
    pool = RougePool([cut])
    assert pool.nearest(cut).text == cut


def test_tokens_are_those_of_rouge_score() -> None:
    assert tokens("Don't stop: 3rd naïve_try!") == ["don", "t", "stop", "3rd", "na", "ve", "try"]
    assert tokens("?!") == []
    assert RougePool(["?!"]).nearest("...").similarity == 0.0


def test_a_pool_in_many_chunks_is_the_pool_in_one(monkeypatch):
    texts = [f"say {n} of the {'tea' if n % 2 else 'river Ωmega'} in {n % 7} words" for n in range(50)]
    asked = ["say 3 of the tea in 3 words", "nothing alike", "Ωmega", *texts[10:14]]
    whole = RougePool(texts).compare(asked)
    monkeypatch.setattr(rouge, "_CHUNK", 8)
    parts = RougePool(texts)
    assert len(parts) == 50
    for one, other in zip(parts.compare(asked), whole, strict=True):
        assert (one.similarity, one.text, one.size) == (other.similarity, other.text, other.size)
        assert one.mean is None, "not all were compared"
    parts.add("a late one, after a comparison")
    assert parts.nearest("a late one, after a comparison").text == "a late one, after a comparison"
    assert parts.nearest(texts[0]).text == texts[0]


@pytest.mark.parametrize(
    ("text", "alike", "other"),
    [
        ("请介绍一下你自己的家乡和童年", "请介绍一下你自己的家乡和童年吧", "今天晚上我们应该吃什么菜呢"),
        ("اكتب قصة قصيرة عن قطة تحب البحر", "اكتب قصة قصيرة جدا عن قطة تحب البحر", "ما هي عاصمة البلاد التي ولدت فيها"),
        ("बिल्ली के बारे में एक छोटी कहानी लिखो", "बिल्ली के बारे में एक छोटी सी कहानी लिखो", "आज रात हम खाने में क्या बनाएँगे"),
        ("🐱🌊🐟🍽️😋🎉🎊🎁🎂🍰🥳", "🐱🌊🐟🍽️😋🎉🎊🎁🎂🍰🥳🎈", "🚗🚕🚙🚌🚎🏎️🚓🚑🚒🚐🛻"),
        (
            "Напиши короткий рассказ о кошке у моря",
            "Напиши короткий рассказ о кошке и у моря",
            "Что приготовить на ужин",
        ),
    ],
    ids=["Chinese", "Arabic", "Hindi", "emoji", "Russian"],
)
def test_each_script_is_deduplicated_where_the_reference_is_blind(text, alike, other):
    assert loop(text, [text]) == [0.0]
    pool = RougePool([other, text])
    assert pool.nearest(text).similarity == 1.0
    assert pool.nearest(alike).similarity > 0.7
    assert pool.nearest(alike).text == text
    assert RougePool([text]).nearest(other).similarity < 0.3


def test_vowel_signs_tell_words_apart():
    # Consonants alone, these are one word: "ki", "ke", "ko", "ka".
    assert len({tuple(tokens(word)) for word in ("कि", "के", "को", "का")}) == 4


def test_more_tokens_than_there_are_codes_share_them(monkeypatch):
    monkeypatch.setattr(rouge, "_ROOM", 5)
    pool = RougePool(["one two three", "four five six seven"])
    assert len(pool._vocabulary) == 5
    for text in ("one two three", "four five six seven"):
        assert pool.nearest(text).similarity == 1.0  # a shared code only ever adds likeness
    for number in range(20):
        assert "\0" not in pool._encode(f"token{number}"), "that ends a text in the file"


@pytest.mark.parametrize("place", [1, 0xD7FF, 0xD800, rouge._ROOM])
def test_every_token_has_a_character_that_can_be_written(place):
    assert rouge._code(place).encode("utf-8").decode("utf-8") == rouge._code(place) != "\0"


def test_each_text_of_a_pool_has_its_nearest_among_texts_that_are_streamed() -> None:
    rng = random.Random(3)
    texts, others = ([" ".join(rng.choices("abcdefgh", k=rng.randint(1, 8))) for _ in range(n)] for n in (40, 3_000))
    texts += ["?!", "unlike all"]
    pool = RougePool(texts)
    near = [RougePool(others).nearest(text).similarity for text in texts]
    assert pool.covered(iter(others)) == pytest.approx(near, abs=1e-6)
    assert len(pool) == len(texts)
    assert pool.covered([]) == [0.0] * len(texts)

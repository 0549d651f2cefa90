"""Near-duplicate responses: the estimate keeps its bounds, every script counts, and batches leave no trace."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import numpy as np
import pytest

from tasks.filters import minhash
from tasks.filters.minhash import BANDS, ROWS, NearDuplicates, jaccard, shingles, signature

WORDS = ["".join(random.Random(n).choices("abcdefghijklmnop", k=3 + n % 6)) for n in range(400)]


def texts(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(20, 120))) for _ in range(count)]


def changed(text: str, share: float, rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) if rng.random() < share else word for word in text.split())


def agreement(one: str, other: str) -> float:
    return float((signature(shingles(one)) == signature(shingles(other))).mean())


def exact(one: str, other: str) -> float:
    """Jaccard by Python's own sets of five characters."""
    a, b = ({text[i : i + 5] for i in range(len(text) - 4)} for text in (one, other))
    return len(a & b) / len(a | b)


def test_hashed_shingles_have_the_jaccard_of_the_sets() -> None:
    rng = random.Random(1)
    for text in texts(50):
        other = changed(text, 0.3, rng)
        assert jaccard(shingles(text), shingles(other)) == exact(text, other)


def test_the_estimate_is_unbiased_and_as_close_as_its_standard_error_says() -> None:
    rng, errors = random.Random(2), []
    for number, text in enumerate(texts(1_500, seed=2)):
        other = changed(text, (number % 10) / 15, rng)
        true = exact(text, other)
        deviation = math.sqrt(true * (1 - true) / (BANDS * ROWS))
        if deviation:
            errors.append((agreement(text, other) - true) / deviation)
    assert abs(np.mean(errors)) < 0.1  # 1500 independent errors would have 0.026
    assert 0.9 < np.std(errors) < 1.1
    assert max(map(abs, errors)) < 4.5


@pytest.mark.parametrize(
    ("text", "alike", "other"),
    [
        (
            "水在零度时结冰，因为分子在低温下排列成晶体结构，冰比水轻所以浮在水面上。",
            "水在零度时结冰，因为分子在低温下排列成晶体结构，冰比水轻所以浮在水面上！",
            "先把洋葱切碎，用小火慢慢炒到金黄，然后加入番茄和一点盐。",
        ),
        (
            "يتجمد الماء عند درجة الصفر لأن جزيئاته ترتب نفسها في شكل بلوري منتظم",
            "يتجمد الماء عند درجة الصفر لأن جزيئاته ترتب نفسها في شكل بلوري منتظم!",
            "قطع البصل جيدا ثم اقله على نار هادئة",
        ),
        (
            "पानी शून्य डिग्री पर जम जाता है क्योंकि उसके अणु क्रिस्टल बना लेते हैं",
            "पानी शून्य डिग्री पर जम जाता है क्योंकि उसके अणु क्रिस्टल बना लेते हैं।",
            "प्याज को बारीक काटकर धीमी आँच पर भूनें",
        ),
        (
            "🎉🎊🎁🎂🍰🥳🎈🪅🎆🎇🧨✨🎍🎏🎑🧧🎀🎗️",
            "🎉🎊🎁🎂🍰🥳🎈🪅🎆🎇🧨✨🎍🎏🎑🧧🎀🎗️🎟️",
            "🚗🚕🚙🚌🚎🏎️🚓🚑🚒🚐🛻🚚🚛🚜",
        ),
    ],
    ids=["Chinese", "Arabic", "Hindi", "emoji"],
)
def test_every_script_is_compared(text: str, alike: str, other: str) -> None:
    (found,) = NearDuplicates().mark(["text", "other", "alike"], [text, other, alike])
    assert (found.id, found.of) == ("alike", "text")
    assert found.similarity >= 0.8


def test_case_blanks_and_ways_to_write_the_same_do_not_count() -> None:
    assert agreement("Use  the ﬁrst\nCAFÉ on the left.", "use the first cafe\u0301 on the left.") == 1.0


def test_planted_duplicates_are_found_and_nothing_else() -> None:
    rng, originals = random.Random(3), texts(600, seed=3)
    twins = [changed(text, 0.02, rng) for text in originals]
    found = NearDuplicates().mark([f"o{n}" for n in range(600)] + [f"t{n}" for n in range(600)], originals + twins)
    similar = {f"t{n}": exact(a, b) for n, (a, b) in enumerate(zip(originals, twins, strict=True))}
    assert {duplicate.id[1:] for duplicate in found} == {duplicate.of[1:] for duplicate in found}
    marked = {duplicate.id for duplicate in found}
    assert (
        {id for id, true in similar.items() if true > 0.92}
        <= marked
        <= {id for id, true in similar.items() if true > 0.68}
    )
    assert len(marked) > 500
    assert len({duplicate.id for duplicate in found if duplicate.id.startswith("o")}) == 0


@pytest.mark.parametrize("long", [40, 1000, minhash._LONG])
def test_the_first_of_a_group_stays_and_neither_batches_nor_files_leave_a_trace(
    monkeypatch: pytest.MonkeyPatch, long: int
) -> None:
    rng, given = random.Random(4), texts(150, seed=4)
    given += [changed(text, 0.01 * (n % 8), rng) for n, text in enumerate(given)] + given[:20]
    rng.shuffle(given)
    ids = [str(n) for n in range(len(given))]
    whole = NearDuplicates().mark(ids, given)
    assert 60 < len(whole) < 200
    assert all(int(duplicate.of) < int(duplicate.id) for duplicate in whole)
    assert {duplicate.of for duplicate in whole}.isdisjoint(duplicate.id for duplicate in whole)
    monkeypatch.setattr(minhash, "_LONG", long)
    for size in (1, 7, 64):
        index, parts = NearDuplicates(), []
        for start in range(0, len(given), size):
            parts += index.mark(ids[start : start + size], given[start : start + size])
        assert parts == whole
        assert len(index) == len(given) - len(whole)


def test_another_process_has_the_same_signature() -> None:
    code = "from tasks.filters.minhash import *; print(*signature(shingles('the same words everywhere'))[:4].tolist())"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    # Pinned: what was marked in a lake is found again with the same hashes.
    assert output.split() == ["68345399", "408210836", "111426711", "65213403"]
    assert signature(shingles("the same words everywhere"))[:4].tolist() == [68345399, 408210836, 111426711, 65213403]


def test_texts_without_words_and_short_ones() -> None:
    index = NearDuplicates()
    assert index.mark(["a", "b", "c", "d", "e"], ["", " \n", "Yes", "yes", "No"])[0] == minhash.Duplicate("d", "c", 1.0)
    assert len(index) == 2
    assert index.mark([], []) == []


def test_a_long_text_is_hashed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    long = " ".join(texts(30))
    whole = signature(shingles(long))
    monkeypatch.setattr(minhash, "_BLOCK", 100)
    assert (signature(shingles(long)) == whole).all()


def test_a_threshold_out_of_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="got a threshold of 0"):
        NearDuplicates(0)

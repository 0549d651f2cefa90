"""Evaluation prompts are kept out: whole, however they are written, and in long runs of words."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignery.errors import UsageError
from alignery.textfiles import TextFileError
from tasks.evaluate.held_out import HeldOutError
from tasks.filters.contamination import NEAR, REASON, Contamination, load, words
from tasks.filters.rouge import RougePool

PROMPT = "How many legs do five spiders and three ants have when they all stand together?"


def test_the_same_words_are_found_however_written() -> None:
    assert Contamination(["What is 2 + 2?"]).reason("what is 2+2") == REASON
    assert Contamination(["What is 2 + 2?"]).reason("what is 2+3") is None


def test_a_run_of_thirteen_words_is_found_and_twelve_are_not() -> None:
    held_out = Contamination([PROMPT])
    words = PROMPT.split()
    assert held_out.reason("Tell me: " + " ".join(words[:13]) + ", if any?") == REASON
    assert held_out.reason("Tell me: " + " ".join(words[:12]) + " on one leg?") is None


def test_the_length_of_the_run_is_a_setting() -> None:
    assert Contamination([PROMPT], n=5).reason("Say how many legs do five dogs have") == REASON
    with pytest.raises(ValueError, match="got n = 0"):
        Contamination([PROMPT], n=0)


def test_a_near_copy_is_found_though_no_run_of_words_is_long() -> None:
    copy = "How many legs do five spiders and three bees have when they all stand together?"
    assert Contamination([PROMPT]).reason(copy) is None
    held_out = Contamination(["Why?", PROMPT, "What is 2 + 2?"], near=0.7)
    assert held_out.reason(copy) == NEAR
    assert held_out.reason(PROMPT) == REASON
    assert held_out.reason("How many ants have a nest here?") is None
    assert Contamination([PROMPT], near=0.95).reason(copy) is None
    assert Contamination(["a b c d"], near=0.75).reason("a b c x") is None, "as in the gate, at the threshold is below"
    assert Contamination(["?!", ""], near=0.7).reason("...") is None


def test_a_near_copy_is_what_the_near_duplicate_gate_calls_so() -> None:
    rng = random.Random(0)
    prompts = [" ".join(rng.choices("abcd", k=rng.randint(3, 9))) for _ in range(60)]
    pool, held_out = RougePool(prompts), Contamination(prompts, n=99, near=0.7)
    texts = [" ".join(rng.choices("abcdxyz", k=rng.randint(1, 9))) for _ in range(300)]
    near = [pool.nearest(text).similarity > 0.7 for text in texts]
    assert [held_out.reason(text) is not None for text in texts] == near
    assert 30 < sum(near) < 270


def test_each_of_several_prompts_counts() -> None:
    other = "Why do two old sailors and one young cook on that ship never talk about any storm?"
    held_out = Contamination([PROMPT, other, "What is 2 + 2?"])
    for text in (f"Tell me: {PROMPT}", f"Tell me: {other}", "what is 2+2"):
        assert held_out.reason(text) == REASON
    assert held_out.reason("Tell me: why do two old sailors never talk about any storm?") is None


def test_no_prompts_contaminate_nothing() -> None:
    assert Contamination([]).reason(PROMPT) is None
    assert Contamination(["?!"]).reason("...") is None


def test_a_short_prompt_counts_inside_a_text_from_eight_words_on() -> None:
    eight, seven = "how tall is the tower in my town", "how tall is the tower in town"
    assert Contamination([eight]).reason(f"Say in one word: {eight}?") == REASON
    assert Contamination([seven]).reason(f"Say in one word: {seven}?") is None
    assert Contamination([seven]).reason(f"{seven}?") == REASON
    assert Contamination([eight], shortest=9).reason(f"Say in one word: {eight}?") is None


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Ｗhat ｉs a “naïve” ﬁlm?", "what is a naïve film"),  # full width, ligature, quotes
        ("Was ist eine STRASSE?", "was ist eine straße"),
        ("cafe\u0301 au lait", "café au lait"),
        ("用Python写一首诗", "用 python 写 一首诗。"),
        ("𠮷野家", "𠮷 野 家"),
    ],
)
def test_ways_to_write_the_same_are_the_same(text: str, same: str) -> None:
    assert words(text) == words(same)


def test_a_vowel_sign_belongs_to_its_letter() -> None:
    assert words("बिल्ली की कहानी") == ["बिल्ली", "की", "कहानी"]
    assert words("𠮷𠀋野家") == ["𠮷", "𠀋", "野", "家"]


@pytest.mark.parametrize(
    ("prompt", "around"),
    [
        ("请用三句话介绍一下你自己的家乡", "{}，然后翻译成英文 please"),
        ("एक छोटी कहानी लिखो जिसमें एक बिल्ली समुद्र से प्यार करती है", "कृपया {} और फिर"),
        ("اكتب قصة قصيرة جدا عن قطة تحب البحر", "من فضلك {} الآن"),
        ("ช่วยเขียนเรื่องสั้นเกี่ยวกับแมว", "กรุณา{}ด้วย"),
        ("うみのそばでくらすねこのはなしをかいて", "すみません{}ください"),
        ("カタカナダケデミジカイハナシヲカイテ", "ドウゾ{}クダサイ"),
        ("សូមសរសេររឿងខ្លីមួយអំពីឆ្មា", "សូម{}ផង"),
        ("ຂຽນເລື່ອງສັ້ນກ່ຽວກັບແມວ", "ກະລຸນາ{}ແດ່"),
        ("ကြောင်အကြောင်းပုံပြင်တိုရေးပါ", "ကျေးဇူးပြု၍{}နော်"),
    ],
    ids=["Chinese", "Hindi", "Arabic", "Thai", "hiragana", "katakana", "Khmer", "Lao", "Burmese"],
)
def test_other_scripts_are_seen_inside_a_text_too(prompt: str, around: str) -> None:
    assert Contamination([prompt]).reason(around.format(prompt)) == REASON
    assert Contamination([prompt]).reason(around.format(prompt[: len(prompt) // 3])) is None


def test_a_wrong_row_of_a_table_is_counted_from_one(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["a", None]}), tmp_path / "set.parquet")
    with pytest.raises(HeldOutError, match=r"set\.parquet:( row )?2: question: got "):
        load(tmp_path / "set.parquet", "question")


def test_sets_are_files_that_the_user_names(tmp_path: Path) -> None:
    lines, table = tmp_path / "set.jsonl", tmp_path / "set.parquet"
    rows = [{"question": PROMPT, "id": 1}, {"question": "Why?", "id": 2}]
    lines.write_text("\n\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), table)
    assert load(lines, "question") == load(table, "question") == [PROMPT, "Why?"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("set.jsonl", '{"question": "a"}\n{"text": "b"}', r"set.jsonl: line 2: question: got the fields \['text'\]"),
        ("set.jsonl", '{"question": 3}', "line 1: question: got 3, expected a text"),
        ("set.jsonl", "[1]", r"set.jsonl: line 1: question: got \[1\]"),
        ("set.jsonl", "{", "set.jsonl: line 1: not JSON"),
        ("set.jsonl", "", "got no rows"),
        ("set.parquet", "no", "cannot be read as Parquet"),
        ("set.csv", "question", "ends in .jsonl or .parquet"),
    ],
)
def test_a_wrong_set_is_named_with_its_line_and_field(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        load(tmp_path / name, "question")
    pq.write_table(pa.table({"question": ["a", None]}), tmp_path / "null.parquet")
    with pytest.raises(HeldOutError, match=r"null\.parquet: row 2: question: got "):
        load(tmp_path / "null.parquet", "question")
    with pytest.raises(TextFileError, match=r"none\.jsonl: cannot be read"):
        load(tmp_path / "none.jsonl", "question")


def test_a_damaged_or_foreign_table_is_one_sentence(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.parquet", tmp_path / "set.parquet"
    pq.write_table(pa.table({"question": [f"{n} " * 50 for n in range(2000)], "id": range(2000)}), whole)
    data = whole.read_bytes()
    for damaged in (data[:-9], data[: len(data) // 2] + data[-400:], data[:200] + bytes(4000) + data[4200:], b""):
        path.write_bytes(damaged)
        with pytest.raises(HeldOutError, match=r"set\.parquet: cannot be read as Parquet") as raised:
            load(path, "question")
        assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(HeldOutError, match=r"prompt: got the columns \['question', 'id'\]"):
        load(whole, "prompt")
    with pytest.raises(HeldOutError, match="row 1: id: got 0, expected a text"):
        load(whole, "id")


def test_a_column_that_stands_twice_is_refused(tmp_path):
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["question", "question"])
    pq.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(HeldOutError, match=r"twice\.parquet: question: got the columns .*'question', 'question'"):
        load(tmp_path / "twice.parquet", "question")

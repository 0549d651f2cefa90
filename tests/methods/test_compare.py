"""Constitutional AI's feedback half: two samples, a principle, both orders, soft labels, and clamped thoughts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from prompts import Library
from tasks.engines import Sampling, ScriptedEngine
from tasks.engines.scripted import text_of
from tasks.methods.compare.method import DRAW, Config, compare, orders, revised, sample, weigh
from tasks.methods.constitutional.method import draw
from tasks.step import Row

PLACES: tuple[Any, ...] = ("a", "b")


@pytest.fixture
def pair(instruction: Row) -> Row:
    return instruction | {"a_id": "s1", "a": "Every day.", "b_id": "s2", "b": "Once a month."}


def prefers(words: str, sure: float) -> Callable[[Any, Sequence[str]], list[float]]:
    """A judge that prefers the answer with these words, in either position."""

    def choices(prompt: Any, options: Sequence[str]) -> list[float]:
        is_a = words in text_of(prompt).split("Answer A:")[1].split("Answer B:")[0]
        return [sure, 1 - sure] if is_a else [1 - sure, sure]

    return choices


def test_two_samples_at_t_1_with_seeds_of_their_own(ask: Callable, instruction: Row) -> None:
    assert Config().sampling.temperature == 1.0
    engine = ScriptedEngine(["Every day.", "Once a month."])
    row, library = instruction, Library()
    for place in PLACES:
        step = sample(library, Config(), place)
        (record,) = ask(step, [row], engine).records
        assert record["kind"] == "sample"
        row = step.next_row(row, record)
    assert (row["a"], row["b"]) == ("Every day.", "Once a month.")
    assert row["a_id"] != row["b_id"]
    first, second = (call.sampling for call in engine.calls)
    assert isinstance(first, Sampling)
    assert isinstance(second, Sampling)
    assert (first.temperature, second.temperature) == (1.0, 1.0)
    assert first.seed != second.seed


def test_the_label_is_the_normalised_probability_of_the_letters(ask: Callable, pair: Row) -> None:
    """Constitutional AI (7)"""
    engine = ScriptedEngine(["never asked for words"], choices=[[0.6, 0.2]])
    outcome = ask(compare(Library(), Config(), "a"), [pair], engine)
    assert [call.options for call in engine.calls] == [("A", "B")]
    assert outcome.records[0]["p_a"] == pytest.approx(0.75)


def test_no_choice_is_clamped_without_a_thought_and_every_one_after_it(ask: Callable, pair: Row) -> None:
    """Constitutional AI (8)"""
    library = Library()
    for sure, clamped in ((0.99, 0.6), (0.01, 0.4), (0.55, 0.55), (0.4, 0.4)):
        plain = compare(library, Config(), "a")
        (record,) = ask(plain, [pair], ScriptedEngine(["x"], choices=[[sure, 1 - sure]])).records
        assert record["p_a"] == pytest.approx(sure)
        config = Config(thought_first=True)
        engine = ScriptedEngine(["One waters too much."], choices=[[sure, 1 - sure]])
        think = weigh(library, config, "a")
        thought = ask(think, [pair], engine).records[0]
        row = think.next_row(pair, thought)
        (record,) = ask(compare(library, config, "a"), [row], engine).records
        assert record["p_a"] == pytest.approx(clamped)
        assert (record["thought_id"], record["parents"][-1]) == (thought["id"], thought["id"])


def test_the_thought_stands_between_the_answers_and_the_choice(ask: Callable, pair: Row) -> None:
    config, engine = Config(thought_first=True), ScriptedEngine(["A drowns it."], choices=[[1, 3]])
    think, choose = weigh(Library(), config, "a"), compare(Library(), config, "a")
    ask(choose, [think.next_row(pair, ask(think, [pair], engine).records[0])], engine)
    thinking, deciding = (call.prompt for call in engine.calls)
    assert deciding[:1] == thinking
    assert deciding[1] == {"role": "assistant", "content": "A drowns it."}
    assert deciding[2]["content"].endswith("Reply with one letter, A or B, and nothing else.")


def test_both_orders_are_asked_and_p_a_follows_the_answer_and_not_the_place(ask: Callable, pair: Row) -> None:
    """Constitutional AI (9)"""
    assert Config().orders == "both"
    engine = ScriptedEngine(["x"], choices=prefers("Once a month.", 0.8))
    found = [ask(compare(Library(), Config(), first), [pair], engine).records[0] for first in PLACES]
    assert [(record["first"], record["p_a"]) for record in found] == [
        ("a", pytest.approx(0.2)),
        ("b", pytest.approx(0.2)),
    ]
    shown = [text_of(call.prompt).split("Answer A:\n")[1].split("\n")[0] for call in engine.calls]
    assert shown == ["Every day.", "Once a month."]


def test_a_judge_that_only_sees_places_is_seen_to_be_inconsistent(ask: Callable, pair: Row) -> None:
    engine = ScriptedEngine(["x"], choices=[[0.9, 0.1]])
    found = [ask(compare(Library(), Config(), first), [pair], engine).records[0]["p_a"] for first in PLACES]
    assert found == [pytest.approx(0.9), pytest.approx(0.1)]


def test_one_order_is_balanced_by_a_hash(pair: Row) -> None:
    """Constitutional AI (9)"""
    config = Config(orders="one")
    drawn = [orders(config, pair | {"instruction": f"question {n}"}) for n in range(400)]
    assert all(len(one) == 1 for one in drawn)
    assert 160 < Counter(drawn)[("a",)] < 240  # 200, and 4 standard deviations
    assert drawn == [orders(config, pair | {"instruction": f"question {n}"}) for n in range(400)]
    assert orders(Config(), pair) == ("a", "b")


def test_the_principle_is_drawn_for_the_comparison_and_recorded_with_its_own_words(ask: Callable, pair: Row) -> None:
    """Constitutional AI (2)"""
    engine, library = ScriptedEngine(["x"]), Library()
    principles = library.principles()
    rows = [pair | {"instruction": f"question {n}"} for n in range(60)]
    records = ask(compare(library, Config(), "a"), rows, engine).records
    for row, record, call in zip(rows, records, engine.calls, strict=True):
        principle = draw(principles, row["instruction"], DRAW)
        assert (record["principle_id"], record["principle_hash"]) == (principle.id, principle.criterion_hash)
        assert principle.comparison is not None
        assert f"Criterion:\n{principle.comparison}\n" in text_of(call.prompt)
    assert len({record["principle_id"] for record in records}) > 10


def test_a_first_answer_and_its_last_revision_are_a_pair(answered: Row) -> None:
    row = revised(answered | {"target_id": "v2", "target": "Once a month."})
    assert (row["a_id"], row["a"], row["b_id"], row["b"]) == ("r1", "Every day.", "v2", "Once a month.")


def test_a_raw_prompt_joins_its_options_by_a_space() -> None:
    assert compare(Library("nano"), Config(), "a").options == (" A", " B")

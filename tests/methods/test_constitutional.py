"""Constitutional AI: a draw that edits do not move, a chain that carries its target on, and preambles taken off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from prompts import Library, Principle
from tasks.engines import ScriptedEngine
from tasks.filters.contamination import Contamination
from tasks.filters.targets import ABOUT, LEAK
from tasks.methods.constitutional.method import (
    NOT_REQUESTED,
    Config,
    _criticism,
    critique,
    draw,
    revise,
    revise_directly,
    stages,
    steps,
    under_principle,
)
from tasks.stage import Context
from tasks.step import KNOWN_REPLY, ParseError, Row

IDS = [f"i{n}" for n in range(1000)]


def principles(*ids: str) -> list[Principle]:
    return [Principle(id=id, critique="c", revision="r") for id in ids]


def drawn(given: list[Principle], round: int = 1) -> list[str]:
    return [draw(given, id, round).id for id in IDS]


def test_the_draw_is_even_and_new_in_each_round() -> None:
    """Constitutional AI (2)"""
    four = principles("a", "b", "c", "d")
    assert all(190 < count < 310 for count in Counter(drawn(four)).values())  # 250, and 4 standard deviations
    same = sum(a == b for a, b in zip(drawn(four, 1), drawn(four, 2), strict=True))
    assert 190 < same < 310


def test_neither_texts_nor_order_move_the_draw() -> None:
    edited = [Principle(id="b", critique="new", revision="new"), *principles("c", "a")]
    assert drawn(edited) == drawn(principles("a", "b", "c"))


def test_an_added_principle_takes_its_share_and_moves_nothing_else() -> None:
    before, after = drawn(principles("a", "b", "c")), drawn(principles("a", "b", "c", "d"))
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"d"}
    assert 190 < len(moved) < 310  # 1 in 4


def test_an_edited_principle_is_new_work_only_for_the_rows_that_drew_it(
    constitution: Callable[[dict[str, str]], Library], answered: Row
) -> None:
    texts = {"a": "one", "b": "two", "c": "three"}
    rows = [answered | {"instruction": id} for id in IDS[:200]]
    engine = ScriptedEngine(["x"])

    def keys(library: Library) -> list[str]:
        step = critique(library, Config(), 1)
        return [step.work_key(row, engine) for row in rows]

    library = constitution(texts)
    before, owners = keys(library), [draw(library.principles(), row["instruction"], 1).id for row in rows]
    after = keys(constitution(texts | {"b": "two, edited"}))
    changed = {owner for owner, old, new in zip(owners, before, after, strict=True) if old != new}
    kept = {owner for owner, old, new in zip(owners, before, after, strict=True) if old == new}
    assert (changed, kept) == ({"b"}, {"a", "c"})


def test_more_rounds_leave_the_first_ones_as_they_are(answered: Row) -> None:
    engine = ScriptedEngine(["x"])
    few, many = (steps(Library(), Config(rounds=rounds)) for rounds in (1, 3))
    assert [step.name for step in many] == ["constitutional.critique", "constitutional.revise"] * 3
    assert few[0].work_key(answered, engine) == many[0].work_key(answered, engine)
    assert many[0].work_key(answered, engine) != many[2].work_key(answered, engine)


def test_a_chain_of_two_rounds(constitution: Callable[[dict[str, str]], Library], ask: Callable, answered: Row) -> None:
    """Constitutional AI (3), (5): every round is kept, with its critique, its principle and what it was made from."""
    library = constitution({"care": "care"})
    engine = ScriptedEngine(
        ["Too often.", 'Sure! Here is the revised answer:\n\n"Once a week."', "Still too often.", "Once a week."]
    )
    row, records = answered, []
    for step in steps(library, Config(rounds=2)):
        outcome = ask(step, [row], engine)
        records += outcome.records
        row = step.next_row(row, outcome.records[0])
    first, revision, second, again = records
    criticised = [call.prompt[-2]["content"] for call in engine.calls[::2]]
    assert criticised == ["Every day.", "Once a week."], "each round criticises what it found"
    revised = [call.prompt[-1]["content"] for call in engine.calls[1::2]]
    found = [("Too often.", "Every day."), ("Still too often.", "Once a week.")]
    for sent, (criticism, target) in zip(revised, found, strict=True):
        assert f"Critique: {criticism}\n" in sent
        assert sent.endswith(f"Answer to revise: {target}")
    assert first["principle_id"] == revision["principle_id"] == "care"
    (principle,) = library.principles()
    assert (first["principle_hash"], revision["principle_hash"]) == (principle.critique_hash, principle.revision_hash)
    assert [record["round"] for record in records] == [1, 1, 2, 2]
    assert (revision["text"], revision["changed"]) == ("Once a week.", True)
    assert (again["text"], again["changed"]) == ("Once a week.", False)
    assert first["parents"] == ["i1", "r1"]  # in the first round the target is the first answer: once is enough
    assert revision["parents"] == ["i1", "r1", first["id"]]
    assert again["parents"] == ["i1", "r1", revision["id"], second["id"]]
    assert (row["target_id"], row["target"], row["response"]) == (again["id"], "Once a week.", "Every day.")


@pytest.mark.parametrize(
    ("critique", "asked"),
    [
        ("No problem found. The answer is about a cactus and does not mention any people.", 0),
        ("No harm. The answer does not mention a child.", 0),
        ("No problem found. The answer is short. However, it could kill the plant.", 1),
        ("Too often.", 1),
    ],
)
def test_a_critique_that_finds_nothing_leaves_the_answer_without_a_request(
    constitution: Callable[[dict[str, str]], Library], ask: Callable, answered: Row, critique: str, asked: int
) -> None:
    named = {"critique_id": "c1", "critique": critique, "critique_request": "?", "revision_request": "Revise."}
    row = answered | named | {"principle_id": "care", "principle_hash": "h", "round": 1}
    engine = ScriptedEngine(["Once a week."])
    outcome = ask(revise(constitution({"care": "care"}), Config(), 1), [row], engine)
    (attempt,), (record,) = outcome.attempts, outcome.records
    assert (record["text"], record["changed"]) == (("Once a week.", True) if asked else ("Every day.", False))
    sent = (len(engine.calls), attempt["raw_text"], attempt["replayed_from"])
    assert sent == ((1, "Once a week.", None) if asked else (0, NOT_REQUESTED, KNOWN_REPLY))


def test_the_prompts_end_in_the_row_and_begin_with_the_same_examples(
    constitution: Callable[[dict[str, str]], Library], ask: Callable, answered: Row
) -> None:
    library = constitution({"care": "care"})
    engine = ScriptedEngine(["Too often.", "Once a week."] * 2)
    criticise, mend = critique(library, Config(), 1), revise(library, Config(), 1)
    for instruction in (answered["instruction"], "Why is the sky blue?"):
        asked = answered | {"instruction": instruction}
        row = criticise.next_row(asked, ask(criticise, [asked], engine).records[0])
        ask(mend, [row], engine)
    criticised, revised, *others = (call.prompt for call in engine.calls)
    assert [(message["role"], message["content"]) for message in criticised[-3:]] == [
        ("user", "Message: How do I water a cactus in winter?"),
        ("assistant", "Every day."),
        ("user", "Critique request: Critique care"),
    ]
    own = "Message: How do I water a cactus in winter?\n\nCritique: Too often.\n\nRevision request: Revise care"
    assert revised[-1] == {"role": "user", "content": f"{own}\n\nAnswer to revise: Every day."}
    assert [criticised[:-3], revised[:-1]] == [others[0][:-3], others[1][:-1]]
    for sent in (criticised, revised):
        assert [turn["role"] for turn in sent] == ["system", *["user", "assistant"] * (len(sent) // 2 - 1), "user"]


def test_a_critique_that_begins_with_its_request_is_asked_for_again(ask: Callable, answered: Row) -> None:
    criticise = critique(Library(), Config(), 1)
    request = criticise.variables(answered)["critique_request"]
    engine = ScriptedEngine([f"{request} Yes, it does.", "Every day is far too often."])
    outcome = ask(criticise, [answered], engine)
    assert [(a["state"], a["reason"]) for a in outcome.attempts] == [("unparsed", LEAK), ("accepted", None)]
    with pytest.raises(ParseError):
        _criticism("Is it harmful? No.", "Is it harmful?")
    assert _criticism("It is harmful.", "Is it harmful?") == "It is harmful."


def test_a_revision_that_repeats_the_request_or_an_example_is_asked_for_again(ask: Callable, answered: Row) -> None:
    library = Library()
    criticise, mend = critique(library, Config(), 1), revise(library, Config(), 1)
    (found,) = ask(criticise, [answered], ScriptedEngine(["Too often."])).records
    row = criticise.next_row(answered, found)
    turns = library.prompt("constitutional/revision").turns
    example = next(text for role, text in turns if role == "assistant" and "medicine for people" in text)
    row["critique"] = "Every day is far too often for a cactus."
    engine = ScriptedEngine([row["revision_request"], example, "Water it once a month."])
    outcome = ask(mend, [row], engine)
    assert [(a["state"], a["reason"]) for a in outcome.attempts] == [
        ("unparsed", LEAK), ("unparsed", LEAK), ("accepted", None)
    ]  # fmt: skip
    (again,) = ask(mend, [row], ScriptedEngine([row["critique"]])).attempts[-1:]
    assert (again["state"], again["reason"]) == ("unparsed", ABOUT)


def test_the_same_words_in_another_round_want_another_reply(answered: Row) -> None:
    engine = ScriptedEngine(["x"])
    named = {"principle_id": "care", "principle_hash": "h", "critique_id": "c", "critique": "Too often."}
    row = answered | named | {"critique_request": "Criticise", "revision_request": "Revise"}
    for make in (critique, revise):
        steps = [make(Library(), Config(), round) for round in (1, 2)]
        keys = {step.request_key(row, "the same words", engine) for step in steps}
        assert len(keys) == 2


def test_a_revision_that_is_read_otherwise_is_other_work() -> None:
    engine = ScriptedEngine(["x"])
    prints = {revise(Library(), Config(reject_refusals=reject), 1).fingerprint(engine) for reject in (False, True)}
    assert len(prints) == 2


def test_a_preamble_and_nothing_else_is_asked_for_again(ask: Callable, answered: Row) -> None:
    outcome = ask(critique(Library(), Config(), 1), [answered], ScriptedEngine(["Critique:", "Too often."]))
    assert [(a["state"], a["reason"]) for a in outcome.attempts] == [
        ("unparsed", "nothing after the label"), ("accepted", None),
    ]  # fmt: skip


def test_there_are_sixteen_pairs_and_both_requests_of_one_are_sent(ask: Callable, answered: Row) -> None:
    """Constitutional AI (1)"""
    library = Library()
    by_id = {principle.id: principle for principle in library.principles()}
    assert len(by_id) == 16
    criticise, mend = critique(library, Config(), 1), revise(library, Config(), 1)
    engine = ScriptedEngine(["Too often.", "Once a week."])
    (found,) = ask(criticise, [answered], engine).records
    ask(mend, [criticise.next_row(answered, found)], engine)
    principle = by_id[found["principle_id"]]
    asked, then = (call.prompt[-1]["content"] for call in engine.calls)
    assert asked == f"Critique request: {principle.critique}"
    parts = (
        "Critique: Too often.",
        f"Revision request: {principle.revision}",
        f"Answer to revise: {answered['target']}",
    )
    assert then.endswith("\n\n".join(parts)), "the answer is what is read last"


def test_rounds_are_the_papers_four_and_any_number_by_config() -> None:
    """Constitutional AI (3)"""
    assert Config().rounds == 4
    assert [len(steps(Library(), Config(rounds=rounds))) for rounds in (1, 4)] == [2, 8]


def test_worked_examples_come_first_and_one_has_nothing_to_criticise() -> None:
    """Constitutional AI (4)"""
    turns = Library().prompt("constitutional/critique").turns
    critiques = [text for (_, before), (_, text) in pairwise(turns) if before.startswith("Critique request")]
    opening = ["Yes", "No problem found", "Partly", "Yes"]
    assert [text.partition(".")[0] for text in critiques] == opening
    revision = Library().prompt("constitutional/revision").turns
    shown = [(asked, text) for (_, asked), (role, text) in pairwise(revision) if role == "assistant"]
    assert [asked.partition("\n\nCritique: ")[2].partition(".")[0] for asked, _ in shown] == opening
    (benign,) = [(asked, text) for asked, text in shown if "Critique: No problem found." in asked]
    assert benign[0].rpartition("Answer to revise: ")[2].strip() == benign[1].strip(), "it is revised to itself"


def test_a_critique_that_repeats_an_example_is_asked_for_again(ask: Callable, answered: Row) -> None:
    criticise = critique(Library(), Config(), 1)
    shown = "No problem found. The answer is about boiling an egg and does not mention any people."
    phrase = "The answer also does not say when to see a doctor."
    outcome = ask(criticise, [answered], ScriptedEngine([shown, phrase]))
    assert [(a["state"], a["reason"]) for a in outcome.attempts] == [("unparsed", LEAK), ("accepted", None)]


def test_a_direct_revision_is_under_the_rounds_principle_and_has_no_critique(ask: Callable, answered: Row) -> None:
    """Constitutional AI (11)"""
    library = Library()
    engine = ScriptedEngine(["Sure! Here is the revised answer:\n\nOnce a week.", "No revision is needed."])
    found = stages(library, Config(rounds=2, critique=False), Context({}, Contamination([])))
    assert [(stage.name, stage.after, stage.provides) for stage in found] == [
        ("constitutional.revise.1", "answer", None),
        ("constitutional.revise.2", "constitutional.revise.1", "answer"),
    ]
    row, records = answered, []
    for stage in found:
        row = stage.take(row)
        (record,) = ask(stage.step, [row], engine).records
        records.append(record)
        row = stage.step.next_row(row, record)
    first, second = records
    principles = [draw(library.principles(), answered["instruction"], round) for round in (1, 2)]
    sent = [call.prompt for call in engine.calls]
    assert [prompt[-1]["content"].split("\n\n")[1:] for prompt in sent] == [
        [f"Revision request: {principle.direct_revision}", f"Answer to revise: {revised}"]
        for principle, revised in zip(principles, ["Every day.", "Once a week."], strict=True)
    ], "each revises the one before"
    assert "critique" not in str(sent).lower()
    assert [(record["principle_id"], record["principle_hash"], record["round"]) for record in records] == [
        (principle.id, principle.direct_revision_hash, round) for round, principle in enumerate(principles, 1)
    ]
    assert [(record["text"], record["changed"]) for record in records] == [
        ("Once a week.", True), ("Once a week.", False),
    ]  # fmt: skip
    assert [record["parents"] for record in records] == [["i1", "r1"], ["i1", "r1", first["id"]]]
    assert (row["target_id"], row["response"]) == (second["id"], "Every day.")


def test_a_direct_revision_that_speaks_of_the_answer_or_repeats_its_prompt_is_asked_for_again(
    ask: Callable, answered: Row
) -> None:
    library = Library()
    row = under_principle(library.principles(), 1, answered)
    example = next(text for text in library.prompt("constitutional/direct_revision").fixed if "sleeping pills" in text)
    replies = [row["revision_request"], example, "The answer waters it too often.", "Water it once a month."]
    outcome = ask(revise_directly(library, Config(), 1), [row], ScriptedEngine(replies[1:]))
    assert [a["reason"] for a in outcome.attempts] == [LEAK, ABOUT, None]
    (first, *_) = ask(revise_directly(library, Config(), 1), [row], ScriptedEngine([replies[0], replies[3]])).attempts
    assert (first["state"], first["reason"]) == ("unparsed", LEAK)


def test_words_for_a_direct_revision_move_the_rows_that_drew_them_and_no_revision_after_a_critique(
    constitution: Callable[[dict[str, str]], Library], answered: Row
) -> None:
    engine = ScriptedEngine(["x"])
    plain = Principle(id="care", critique="c", revision="r")
    given = plain.model_copy(update={"direct": "d"})
    assert (plain.direct_revision, given.direct_revision) == ("r", "d")
    assert (plain.revision_hash, plain.direct_revision_hash) == (given.revision_hash, given.revision_hash)
    step = revise_directly(constitution({"care": "care"}), Config(), 1)
    keys = {step.work_key(under_principle([one], 1, answered), engine) for one in (plain, given)}
    assert len(keys) == 2
    assert step.fingerprint(engine) != revise(Library(), Config(), 1).fingerprint(engine)


def test_every_principle_asks_for_a_direct_revision_that_can_be_followed_alone() -> None:
    principles = Library().principles()
    requests = [principle.direct_revision for principle in principles]
    assert len(set(requests)) == 16
    ends = " Otherwise repeat the answer exactly. Reply with the whole answer and nothing else."
    assert all(request.startswith("If ") and request.endswith(ends) for request in requests)
    assert requests == [principle.direct for principle in principles], "each has a condition of its own"

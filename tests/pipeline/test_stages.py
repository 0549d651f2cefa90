"""The walk of a row on a real lake: verbose answers, further models, comparisons and squads, each asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from works import ACCEPT, PRINCIPLES, Works, speak, works, write_principles

from alignery.pipeline.refresh import RefreshPipeline
from prompts import Message
from tasks.engines import Completion, Sampling, ScriptedEngine
from tasks.engines.scripted import text_of

__all__ = ["works"]
MORE = {
    "self_align/verbose": ["instruction"],
    "constitutional/direct_revision": ["instruction", "response", "revision_request"],
    "constitutional/compare": ["instruction", "response_a", "response_b", "criterion"],
    "constitutional/weigh": ["instruction", "response_a", "response_b", "criterion"],
    "constitutional/decide": ["instruction", "response_a", "response_b", "criterion", "thought"],
    "squad/overall": ["instruction", "response"],
    "squad/ethical": ["instruction", "response"],
    "score/helpfulness": ["instruction", "response"],
    "score/honesty": ["instruction", "response"],
    "score/reward": ["instruction", "answers"],
    "reason/solve": ["instruction"],
    "prompt_optimization/contrast": ["instruction", "good", "bad"],
    "dialogue/answer": ["exchanges", "question"],
    "dialogue/question": ["topic", "exchanges"],
    "translate/text": ["language", "quotes", "examples", "text"],
    "translate/answer": ["words", "instruction"],
    "tagging/difficulty": ["instruction"],
    "tagging/quality": ["instruction"],
    "tagging/category": ["instruction"],
}


def judge(prompt: str | list[Message], options: Sequence[str]) -> list[float]:
    """Finds the answer shown as A a little better; every first answer bad, a correction good."""
    text = text_of(prompt)
    if text.startswith("squad/"):
        return [0.1, 0.9] if "response: answer" in text else [0.8, 0.2]
    return [0.6, 0.4]


def prepared(works: Works, line: dict[str, Any], models: Sequence[str] = ()) -> Works:
    """The works with more words, other methods, and further models."""
    for id, variables in MORE.items():
        path = works.words / f"{id}.yaml"
        path.parent.mkdir(exist_ok=True)
        content = id + "\n" + "\n".join(f"{name}: {{{{ {name} }}}}" for name in variables)
        turns = [{"role": "user", "content": content}]
        path.write_text(yaml.safe_dump({"id": id, "about": "a test", "variables": variables, "messages": turns}))
    whole = works.preset.model_dump(mode="json")
    kept = {"self_instruct": whole["line"]["self_instruct"]}
    bound = {name: {"engine": "scripted", "replies": ["unused"]} for name in ("generator", *models)}
    works.preset = type(works.preset).model_validate(whole | {"line": kept | line, "models": bound})
    works.engine = ScriptedEngine(speak, choices=judge)
    return works


def walked(works: Works) -> RefreshPipeline:
    """Walked twice: the second time nothing is sent."""
    asyncio.run(works.walk())
    sent = len(works.engine.calls)
    line = asyncio.run(works.walk())
    assert works.engine.calls == []
    assert line.executor.tally.saved == sent
    return line


def test_each_order_is_a_row_and_the_view_has_their_mean_and_whether_they_agree(works: Works) -> None:
    """Constitutional AI (7), (9)"""
    walked(prepared(works, {"compare": {}}))
    kinds = works.rows("SELECT kind, count(*)::INT AS n FROM responses GROUP BY kind ORDER BY kind")
    assert kinds == [{"kind": "base", "n": ACCEPT}, {"kind": "sample", "n": 2 * ACCEPT}]
    firsts = works.rows(
        "SELECT first, count(*)::INT AS n, min(p_a) AS p FROM comparisons GROUP BY first ORDER BY first"
    )
    assert firsts == [{"first": "a", "n": ACCEPT, "p": 0.6}, {"first": "b", "n": ACCEPT, "p": 0.4}]
    pairs = works.rows("SELECT p_a, p_a_first, p_a_second, consistent, thought_first FROM compared")
    assert len(pairs) == ACCEPT
    assert {(round(float(str(r["p_a"])), 6), r["consistent"], r["thought_first"]) for r in pairs} == {
        (0.5, False, False)
    }
    words = works.rows("SELECT count(*)::INT AS n FROM prompts WHERE id LIKE 'principle:%:comparison'")
    assert words == [{"n": len(PRINCIPLES)}]


def test_an_edited_criterion_asks_only_the_pairs_that_drew_it(works: Works) -> None:
    works = prepared(works, {"compare": {}})
    walked(works)
    drawn = works.rows("SELECT principle_id AS id, count(*)::INT AS n FROM comparisons GROUP BY ALL ORDER BY n DESC")
    edited = [p | {"comparison": "new words"} if p["id"] == drawn[0]["id"] else p for p in PRINCIPLES]
    write_principles(works.words, edited)
    asyncio.run(works.walk())
    assert works.asked("constitutional/compare") == len(works.engine.calls) == drawn[0]["n"]
    assert len(works.rows("SELECT 1 FROM compared")) == ACCEPT, "of each pair the newest is kept"


def test_a_thought_comes_before_each_choice_and_clamps_it(works: Works) -> None:
    """Constitutional AI (8)"""
    works = prepared(works, {"compare": {"thought_first": True, "orders": "one"}})
    works.engine = ScriptedEngine(speak, choices=[[0.97, 0.03]])
    walked(works)
    found = works.rows(
        "SELECT c.first, c.p_a, t.first AS thought FROM comparisons c JOIN thoughts t ON t.id = c.thought_id"
    )
    assert len(found) == ACCEPT
    assert {(row["first"], row["p_a"]) for row in found} <= {("a", 0.6), ("b", 0.4)}
    assert all(row["first"] == row["thought"] for row in found)
    assert works.rows("SELECT DISTINCT consistent, thought_first FROM compared") == [
        {"consistent": None, "thought_first": True}
    ]


def test_first_answers_are_compared_with_their_last_revisions(works: Works) -> None:
    works = prepared(works, {"constitutional": {"rounds": 2}, "compare": {"pairs": "revision"}})
    walked(works)
    found = works.rows(
        "SELECT DISTINCT v.round FROM comparisons c JOIN responses r ON r.id = c.a_id AND r.kind = 'base'"
        " JOIN revisions v ON v.id = c.b_id"
    )
    assert found == [{"round": 2}]
    assert works.rows("SELECT count(*)::INT AS n FROM comparisons") == [{"n": 2 * ACCEPT}]


def test_direct_revisions_have_no_critiques_and_every_view_of_revisions_has_them(works: Works) -> None:
    """Constitutional AI (11)"""
    works = prepared(works, {"constitutional": {"rounds": 2, "critique": False}, "compare": {"pairs": "revision"}})
    walked(works)
    assert works.rows("SELECT 1 FROM critiques") == []
    assert works.rows("SELECT round, critique_id, count(*)::INT AS n FROM revisions GROUP BY ALL ORDER BY ALL") == [
        {"round": round, "critique_id": None, "n": ACCEPT} for round in (1, 2)
    ]
    steps = works.rows("SELECT step, count(*)::INT AS n FROM attempts WHERE step LIKE '%.revise%' GROUP BY step")
    assert steps == [{"step": "constitutional.revise_directly", "n": 2 * ACCEPT}]
    assert [len(works.rows(f"FROM {view}")) for view in ("revised", "qac_revised")] == [ACCEPT, 3 * ACCEPT]
    assert works.rows("SELECT 1 FROM constitutional WHERE source = 'revision'")
    parents = works.rows("SELECT DISTINCT len(parents)::INT AS n, round FROM revisions ORDER BY round")
    assert parents == [{"n": 2, "round": 1}, {"n": 3, "round": 2}]
    drawn = works.rows("SELECT * FROM principles")
    assert sum(row["drawn"] for row in drawn) == sum(row["revised"] for row in drawn) == 2 * ACCEPT
    asked = {(row["principle_id"], row["critique_request"], row["revision_request"], row["wordings"]) for row in drawn}
    assert asked <= {(f"p{n}", None, f"revise {n}", 1) for n in range(4)}

    edited = drawn[0]["principle_id"]
    write_principles(works.words, [p | ({"direct": "new words"} if p["id"] == edited else {}) for p in PRINCIPLES])
    asyncio.run(works.walk())
    again = works.asked("constitutional/direct_revision")
    assert drawn[0]["revised"] <= again < 2 * ACCEPT, "those that drew it, and what follows them"


def test_a_revision_after_a_critique_that_finds_nothing_is_no_request(works: Works) -> None:
    works = prepared(works, {"constitutional": {"rounds": 1}})

    def content(prompt: str | list[Message], sampling: Sampling) -> str:
        text = speak(prompt, sampling)
        return "No problem found." if text.startswith("critique") else text

    works.engine = ScriptedEngine(content)
    line = asyncio.run(works.walk())
    assert works.asked("constitutional/revision") == 0 < works.asked("constitutional/critique")
    assert (line.executor.tally.sent, line.executor.tally.saved) == (len(works.engine.calls), 0)
    assert works.rows("SELECT count(*)::INT AS n, bool_or(changed) AS changed FROM revisions") == [
        {"n": ACCEPT, "changed": False}
    ]
    assert works.rows("SELECT 1 AS one FROM usage WHERE step = 'constitutional.revise'") == []
    asyncio.run(works.walk())
    assert works.engine.calls == []


def test_two_answers_of_the_same_words_are_no_pair(works: Works) -> None:
    def same(prompt: str | list[Message], sampling: Sampling) -> str:
        text = speak(prompt, sampling)
        return "the same" if text.startswith("answer") else text

    works = prepared(works, {"compare": {}})
    works.engine = ScriptedEngine(same, choices=judge)
    walked(works)
    assert works.rows("SELECT 1 FROM comparisons") == []


def test_answers_of_further_models_are_corrected_and_the_generators_too(works: Works) -> None:
    """Aligner (6)"""
    works = prepared(works, {"aligner": {"upstreams": ["small", "large"]}}, ["small", "large"])
    walked(works)
    # The works have one engine for all of them, whose answers `qac` holds once.
    found = works.rows(
        "SELECT coalesce(r.upstream, 'generator') AS who, count(*)::INT AS n FROM corrections c"
        " JOIN responses r ON r.id = c.response_id GROUP BY who ORDER BY who"
    )
    assert found == [{"who": who, "n": ACCEPT} for who in ("generator", "large", "small")]
    assert works.rows("SELECT kind, upstream FROM responses WHERE kind = 'base' AND upstream IS NOT NULL") == []


def test_a_squad_mends_what_scores_low_scores_it_anew_and_then_leaves_it(works: Works) -> None:
    """Aligner (10)"""
    members = [{"inspector": "overall"}, {"aligner": "second", "inspector": "overall"}, {"inspector": "ethical"}]
    works = prepared(works, {"squad": {"members": members}}, ["second"])
    walked(works)
    scores = works.rows(
        "SELECT inspector, score, (target_id = response_id) AS is_first, count(*)::INT AS n FROM inspections"
        " GROUP BY ALL ORDER BY score, inspector"
    )
    assert scores == [
        {"inspector": "overall", "score": pytest.approx(0.1), "is_first": True, "n": ACCEPT},
        {"inspector": "ethical", "score": pytest.approx(0.8), "is_first": False, "n": ACCEPT},
        {"inspector": "overall", "score": pytest.approx(0.8), "is_first": False, "n": ACCEPT},
    ]
    assert works.rows("SELECT DISTINCT aligner FROM corrections") == [{"aligner": "aligner"}], "the second was not due"
    assert works.asked("aligner/correct") == 0, "that was the second walk"
    assert works.rows("SELECT * FROM qac") == [], "a squad's corrections are no Q-A-C"
    chains = works.rows(
        "SELECT count(*)::INT AS n FROM inspections i JOIN corrections c ON c.id = i.target_id"
        " WHERE list_has(i.parents, c.id) AND list_has(c.parents, c.target_id) AND c.target_id = c.response_id"
    )
    assert chains == [{"n": 2 * ACCEPT}]
    assert works.rows("SELECT inspector, below, mended FROM inspectors ORDER BY inspector") == [
        {"inspector": "ethical", "below": 0, "mended": 0},
        {"inspector": "overall", "below": ACCEPT, "mended": ACCEPT},
    ]


def test_each_member_in_turn_while_the_score_stays_low_and_a_copy_is_not_scored_again(works: Works) -> None:
    """Aligner (10)"""

    def copying(prompt: str | list[Message], sampling: Sampling) -> str:
        text = text_of(prompt)
        return text.split("answer: ")[1] if text.startswith("aligner/correct") else speak(prompt, sampling)

    members = [{}, {"aligner": "second"}]
    works = prepared(works, {"squad": {"members": members}}, ["second"])
    works.engine = ScriptedEngine(copying, choices=judge)
    walked(works)
    assert works.rows("SELECT count(*)::INT AS n FROM inspections") == [{"n": ACCEPT}]
    copies = works.rows("SELECT aligner, is_copy, count(*)::INT AS n FROM corrections GROUP BY ALL ORDER BY aligner")
    assert copies == [{"aligner": name, "is_copy": True, "n": ACCEPT} for name in ("aligner", "second")]


def test_long_answers_are_kept_and_those_without_an_end_train_nobody(works: Works) -> None:
    """SELF-ALIGN (7), (9)"""

    def long(prompt: str | list[Message], sampling: Sampling) -> str | Completion:
        text = speak(prompt, sampling)
        if not text.startswith("verbose"):
            return text
        words = f"{text} " + " ".join(f"word{n}" for n in range(40))
        return Completion(words, "length" if sampling.seed and sampling.seed % 2 else "stop", 9, 9, 0.1)

    works = prepared(works, {"verbose": {}})
    works.engine = ScriptedEngine(long)
    line = walked(works)
    assert line.graph.by_name["self_align.verbose"].model == "verbose", "the engraved model, where a preset binds it"
    kept = works.rows(
        "SELECT complete, count(*)::INT AS n FROM responses WHERE kind = 'verbose' GROUP BY ALL ORDER BY ALL"
    )
    assert sum(int(str(row["n"])) for row in kept) == ACCEPT
    assert len(kept) == 2
    trained = works.rows("SELECT r.complete, v.messages FROM verbose_cloning v JOIN responses r ON r.id = v.id")
    assert trained
    assert all(row["complete"] for row in trained)
    assert all(str(row["messages"][0]["content"]).startswith("Write of") for row in trained)  # type: ignore[index]


def test_the_funnel_tells_what_became_of_every_principled_answer(works: Works) -> None:
    """SELF-ALIGN (10)"""

    def some(prompt: str | list[Message], sampling: Sampling) -> str:
        text = speak(prompt, sampling)
        return text.replace("Answer: kindly", "Answer: I'm sorry,") if text[-1] in "0123456" else text

    works.engine = ScriptedEngine(some)
    works.preset = works.preset.model_copy(update={"line": works.preset.line.model_copy(update={"reject_limit": 1.0})})
    asyncio.run(works.walk())
    (row,) = works.rows("SELECT * FROM funnel WHERE step = 'self_align.answer'")
    kept = works.rows("SELECT count(*)::INT AS n FROM responses WHERE kind = 'principled'")[0]["n"]
    assert row["rows_in"] == ACCEPT
    assert row["accepted"] == kept
    assert 0 < int(str(row["accepted"])) < ACCEPT
    assert row["rejected"] == ACCEPT - int(str(kept))
    assert row["top_reason"] == "opens with an apology"


def test_a_squads_words_that_a_variant_lacks_are_named_before_anything_is_sent(works: Works, tmp_path: Path) -> None:
    from prompts import PromptError

    works = prepared(works, {"squad": {"members": [{"inspector": "tidy"}]}})
    with pytest.raises(PromptError, match=r"no prompt file squad/tidy.yaml"):
        works.preset.check()

"""BPO: pairs become rewrites, which are filtered, learnt and put before a model. Items: facts/methods section 5."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from lake_rows import commit, comparison, instruction, record

import alignery
from alignery.config.preset import build
from alignery.pipeline.executor import Executor
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run
from alignery.pipeline.runs.answering import answer_prompts
from alignery.pipeline.stack import served, stack_of
from prompts import Library
from tasks.engines import ScriptedEngine
from tasks.filters.contamination import Contamination
from tasks.methods.prompt_optimization.method import Config, contrast, paired, rewrite, stages
from tasks.methods.prompts.method import Entry, start_row
from tasks.methods.prompts.method import companions as brought
from tasks.methods.prompts.method import instruction as instruction_of
from tasks.stage import Context
from tasks.step import Row
from warehouse import Lake

ROW = {
    "instruction_id": "i1",
    "instruction": "How do I water a cactus?",
    "topic": "the home",
    "good_id": "v1",
    "good": "Once a month, when the soil is dry.",
    "bad_id": "r1",
    "bad": "Every day.",
}
BETTER = "How do I water a cactus? Say how often, and how to see that it needs water."
REPLY = f"Comparison: The good answer is right; the bad one drowns the plant.\nBetter prompt: {BETTER}"


def test_bpo_1_and_5_both_answers_are_shown_and_comparison_and_rewrite_are_read(ask: Callable) -> None:
    engine = ScriptedEngine([REPLY])
    (found,) = ask(contrast(Library(), Config()), [ROW], engine).records
    sent = engine.calls[0].prompt[0]["content"]  # type: ignore[index]
    assert "Good answer:\nOnce a month" in sent
    assert "Bad answer:\nEvery day." in sent
    assert (found["text"], found["changed"]) == (BETTER, True)
    assert found["comparison"].startswith("The good answer is right")
    assert found["parents"] == ["i1", "v1", "r1"]
    assert (found["good"], found["bad"]) == (ROW["good"], ROW["bad"])


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (f"**Comparison:** It is right.\n\n**Better prompt:**\n{BETTER}", "accepted"),
        (BETTER, "unparsed"),
        (f"Better prompt: {BETTER}", "unparsed"),
        ("Comparison: It is right.\nBetter prompt:", "unparsed"),
        ("Comparison: It is right.\nBetter prompt: Water?", "rejected"),
        (f"Comparison: It is right.\nBetter prompt: {'How do I water it well? ' * 7}", "rejected"),
    ],
)
def test_bpo_4_and_5_a_reply_without_its_parts_or_of_another_length_is_none(
    ask: Callable, reply: str, state: str
) -> None:
    outcome = ask(contrast(Library(), Config()), [ROW], ScriptedEngine([reply] * 3))
    assert outcome.attempts[-1]["state"] == state
    assert len(outcome.records) == (state == "accepted")


def test_bpo_4_the_bounds_are_the_papers(ask: Callable) -> None:
    assert (Config().shorter, Config().longer) == (2.0, 6.0)
    assert (Config().sampling.temperature, Config().rewriting.temperature, Config().rewriting.top_p) == (0.9, 0.6, 0.9)
    step = rewrite(Library(), Config())
    ten = {"instruction_id": "i", "instruction": "one two three four five six seven eight nine ten"}
    for words, state in ((5, "accepted"), (4, "rejected"), (60, "accepted"), (61, "rejected")):
        outcome = ask(step, [ten], ScriptedEngine([" ".join(f"w{n}" for n in range(words))]))
        assert outcome.attempts[-1]["state"] == state, words


def test_a_rewrite_keeps_the_share_of_words_that_is_asked_for(ask: Callable) -> None:
    row = {"instruction_id": "i", "instruction": "How do I store a pizza?"}
    for text, least, state in (
        ("How do I store a cake? Explain each step.", 0.0, "accepted"),
        ("How do I store a cake? Explain each step.", 0.9, "rejected"),
        ("How do I store a Pizza? Explain each step.", 1.0, "accepted"),
    ):
        outcome = ask(rewrite(Library(), Config(kept=least)), [row], ScriptedEngine([text]))
        assert outcome.attempts[-1]["state"] == state, (text, least)


def test_bpo_6_what_is_quoted_stays_word_for_word(ask: Callable) -> None:
    row = {"instruction_id": "i", "instruction": 'Translate "Der Hund schläft." and explain each word.'}
    kept, lost = 'Translate "Der Hund schläft." and explain the grammar of each word.', "Translate it and explain all."
    step = rewrite(Library(), Config())
    assert ask(step, [row], ScriptedEngine([kept])).records[0]["text"] == kept
    outcome = ask(step, [row], ScriptedEngine([lost + " Say it in a few words."]))
    assert outcome.attempts[-1]["reason"] == "a passage that the prompt quotes is lost"


def test_a_pair_is_the_users_own_or_the_newest_text_over_the_first_answer() -> None:
    row = {"response_id": "r1", "response": "bad", "target_id": "v2", "target": "good"}
    made = paired(row)
    assert (made["good_id"], made["bad_id"], made["good"], made["bad"]) == ("v2", "r1", "good", "bad")
    entry = Entry(path=Path(__file__), chosen="better", rejected="worse", origin="own")
    given = type("Given", (), {"values": {"prompt": "Which?", "better": "A", "worse": "B"}, "fault": None})()
    given.file, given.number = "own.jsonl", 1
    asked = instruction_of(given, entry)
    start: Row = start_row(asked, brought(given, entry, asked, "t"))
    assert {name: start["pair"][name] for name in ("good", "bad")} == {"good": "A", "bad": "B"}
    assert paired(row | start)["good"] == "A"
    (stage,) = stages(Library(), Config(), Context({}, Contamination([])))
    assert not stage.when(paired(row | {"target": "bad "})), "an answer that nothing changed is no pair"


def test_a_rewriter_stands_before_the_answer_as_soon_as_it_has_a_model_and_no_refresh_runs_it() -> None:
    for stacked, bound, expected in ((True, ["rewriter"], 2), (True, [], 1), (False, ["rewriter"], 1)):
        found = stages(Library(), Config(stacked=stacked), Context({}, Contamination([]), bound))
        assert len(found) == expected
    last = stages(Library(), Config(stacked=True), Context({}, Contamination([]), ["rewriter"]))[-1]
    assert (last.model, last.in_stack, last.before_answer) == ("rewriter", True, True)


def test_bpo_3_what_a_rewriter_learns(empty: Path, tmp_path: Path) -> None:
    def made(id: str, about: str, good: str, changed: bool = True, minute: int = 0) -> Row:
        fields = {"good_id": good, "bad_id": f"b-{about}", "good": "yes", "bad": "no", "comparison": "c"}
        return record(id, [about], instruction_id=about, text=f"better {id}", changed=changed, minute=minute) | fields

    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as lake:
        commit(
            lake,
            instructions=[instruction(name) for name in ("i1", "i2", "i3", "i4")],
            optimized_prompts=[
                made("o1", "i1", "v-i1"),
                made("o2", "i1", "v-i1", minute=1),
                made("o3", "i2", "v-i2", changed=False),
                made("o4", "i3", "v-i3"),
                made("o5", "i4", "v-i4"),
            ],
            comparisons=[
                comparison("c1", "i3", "b-i3", "v-i3", 0.8),
                comparison("c2", "i4", "b-i4", "v-i4", 0.2),
            ],
        )
        rows = lake.rows("SELECT * FROM optimized ORDER BY prompt")
    assert [(row["prompt"], row["optimized_prompt"]) for row in rows] == [
        ("question i1", "better o2"),
        ("question i4", "better o5"),
    ], "the newest that changed something, of pairs that no judge found to be the other way round"
    assert {"good_res", "bad_res"} <= rows[0].keys()


def test_on_held_out_prompts_the_rewrite_is_asked_and_the_prompt_is_scored(tmp_path: Path) -> None:
    """BPO (8): the generator is any engine; a rewrite that is refused leaves the prompt as it is."""
    long = "What " + "is it " * 20
    held_out = [{"id": "p1", "kind": "fact", "prompt": "What is it?"}, {"id": "p2", "kind": "fact", "prompt": long}]
    (tmp_path / "held_out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held_out))
    models = {
        "generator": {"engine": "scripted", "replies": ["It is red."]},
        "rewriter": {"engine": "scripted", "replies": ["What is it? Say why."]},
    }
    evaluate = {"oracle": "nano", "prompts": str(tmp_path / "held_out.jsonl")}
    made = build(preset(**models) | {"evaluate": evaluate})
    stack = stack_of(made)
    assert stack.is_more
    assert (stack.alone.identity(), [part["alias"] for part in stack.parts()]) == (
        made.spec("generator").identity(),
        ["generator", "rewriter"],
    )
    with Lake.open(tmp_path / "lake") as lake, Run(lake, "evaluate", made) as run, StepProgress(StringIO()) as progress:
        executor = Executor(lake, run, progress, reject_limit=1.0)
        found = asyncio.run(answer_prompts(made, made.evaluate, executor, stack.base, stack))  # type: ignore[arg-type]
        rewrites = lake.rows("SELECT prompt_id, text FROM eval_rewritten_prompts")
        asked = lake.rows("SELECT inputs FROM attempts WHERE step = 'evaluate.answer'")
        refused = lake.rows("SELECT reason FROM attempts WHERE step = 'evaluate.rewrite' AND state = 'rejected'")
    assert found.model == stack.identity()
    assert {row["prompt"] for row in found.answers} == {row["prompt"] for row in held_out}
    assert rewrites == [{"prompt_id": "p1", "text": "What is it? Say why."}]
    assert [row["reason"] for row in refused] == ["much shorter than the prompt"]
    assert sum("Say why" in row["inputs"] for row in asked) == 1


def preset(**models: Any) -> dict[str, Any]:
    """A preset whose rewriter and generator are scripted."""
    nano = Path(alignery.__file__).parents[1] / "nano"
    line = {"self_instruct": {"accept": 4}, "prompt_optimization": {"stacked": True, "kept": 1.0}}
    return {
        "about": "x",
        "words": {"variant": "nano"},
        "models": models,
        "line": line,
        "evaluate": {"oracle": "nano", "prompts": str(nano / "held_out.jsonl"), "sampling": {"max_tokens": 96}},
    }


@pytest.mark.long
def test_on_nano_a_stacked_rewriter_makes_the_unchanged_model_answer_better(tmp_path: Path) -> None:
    """BPO (8)"""
    nano = {"engine": "transformers", "model": "alignery:nano/checkpoint", "batch_size": 128, "threads": 1}
    made = build(preset(generator=nano, rewriter=nano))
    stack = stack_of(made)
    assert [stage.name for stage in stack.before] == ["prompt_optimization.rewrite"]
    assert stack.identity() != stack.alone.identity()
    assert [row["step"] for row in served(made)["requests"]] == ["prompt_optimization.rewrite", "respond.answer"]
    assert made.evaluate is not None

    def helpful(lake: Lake, run: Run, progress: StepProgress, with_rewriter: bool) -> float:
        one = stack if with_rewriter else stack.alone
        executor = Executor(lake, run, progress, reject_limit=1.0)
        found = asyncio.run(answer_prompts(made, made.evaluate, executor, one.base, one))  # type: ignore[arg-type]
        figures = [row["helpful"] for row in found.scored().values() if "helpful" in row]
        return sum(figures) / len(figures)

    with Lake.open(tmp_path / "lake") as lake, Run(lake, "evaluate", made) as run, StepProgress() as progress:
        plain, rewritten = (helpful(lake, run, progress, either) for either in (False, True))
        asked = lake.rows("SELECT prompt_id, text, changed FROM eval_rewritten_prompts")
        answers = lake.rows("SELECT prompt FROM eval_answers")
    assert rewritten > plain + 0.05
    assert sum(row["changed"] for row in asked) > 100, "of 400: where nano changes a word, the prompt stays as it is"
    assert not {row["text"] for row in asked if row["changed"]} & {row["prompt"] for row in answers}, (
        "an answer is stored under the original prompt, not under its rewrite"
    )

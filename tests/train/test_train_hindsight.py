"""Chain of Hindsight and tagged cloning: which rows are made of a pair, and how the trained model is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from train_views import PAIRS, bad, good, preference, question, write_view

from alignery.pipeline.runs.training import TrainingJob
from prompts import Library, Phrases, PromptError
from tasks.engines.specs import TransformersSpec
from tasks.methods.registry import built_in
from tasks.train.recipes import rewriter
from tasks.train.recipes.preferences.hindsight import Config, asked_with, rows_of, train

WORDS = Library().phrases()
QUICK: dict[str, Any] = {"learning_rate": 3e-3, "batch_size": 8, "gradient_accumulation": 1, "max_length": 64}
QUICK |= {"threads": 1, "warmup": 0.1, "epochs": 2.0, "lora": None}
FEW = Phrases.model_validate({"join": " ", "phrases": [{"good": "I see", "bad": "No"}]})


def texts(row: dict[str, Any]) -> list[str]:
    return [turn["content"] for turn in (*row["prompt"], *row["completion"])]


def test_a_chain_has_both_answers_each_after_its_feedback_in_both_orders() -> None:
    """CoH (4), (5)"""
    rows = rows_of([preference(pair) for pair in PAIRS], FEW, 0, chained=True)
    assert len(rows) == 2 * len(PAIRS)
    orders = set()
    for pair, first, second in zip(PAIRS, rows[::2], rows[1::2], strict=True):
        answers = {"I see": good(*pair), "No": bad(*pair)}
        asked, answer = texts(first)
        feedback = asked.removeprefix(f"{question(*pair)} ")
        assert answer == answers[feedback]
        assert texts(second)[:2] == [asked, answer], "the second answer follows the first"
        assert texts(second)[3] == answers[texts(second)[2]] != answer
        assert [turn["role"] for turn in second["prompt"]] == ["user", "assistant", "user"]
        orders.add(feedback)
    assert orders == {"I see", "No"}


def test_tagged_cloning_has_each_answer_after_its_own_tag() -> None:
    rows = rows_of([preference(pair) for pair in PAIRS], FEW, 0, chained=False)
    expected = {
        (f"{question(*pair)} {tag}", answer(*pair)) for pair in PAIRS for tag, answer in (("I see", good), ("No", bad))
    }
    assert {tuple(texts(row)) for row in rows} == expected


def test_wordings_vary_and_the_seed_draws_them() -> None:
    """CoH (7)"""
    pairs = [preference(pair) for pair in PAIRS]
    first, again, other = (rows_of(pairs, WORDS, seed, chained=False) for seed in (0, 0, 1))
    assert first == again != other
    used = {texts(row)[0].partition("\n\n")[2] for row in first}
    assert len(used) > len(WORDS.phrases), "good and bad ones of several wordings"


@pytest.mark.parametrize("variant", ["full", "nano"])
def test_no_two_phrases_are_the_same(variant: str) -> None:
    phrases = Library(variant).phrases().phrases
    wordings = [text for phrase in phrases for text in (phrase.good, phrase.bad)]
    assert len({*wordings}) == len(wordings) >= 4


def test_a_phrase_file_of_a_users_own_is_read_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "hindsight").mkdir()
    file = tmp_path / "hindsight/phrases.yaml"
    file.write_text(yaml.safe_dump({"phrases": [{"good": "Well:", "bad": "Badly:"}]}))
    library = Library(overlay=tmp_path)
    library.check()
    assert library.phrases().phrases[0].good == "Well:"
    file.write_text(yaml.safe_dump({"phrases": [{"good": "Well:"}]}))
    with pytest.raises(PromptError, match="bad"):
        library.check()


@pytest.mark.parametrize(
    ("recipe", "file", "content"),
    [
        ("hindsight", "hindsight/phrases.yaml", FEW.model_dump()),
        ("tagged", "hindsight/phrases.yaml", FEW.model_dump()),
        ("rewriter", "bpo/rewrite.yaml", {"id": "bpo/rewrite", "about": "x", "variables": [], "text": "Mend:"}),
    ],
)
def test_a_model_is_known_by_the_words_that_it_learns_in(
    recipe: str, file: str, content: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(json.dumps(content))
    words = built_in().recipes[recipe].words
    assert words is not None
    spec = TransformersSpec(engine="transformers", model=str(tmp_path))
    jobs = [
        TrainingJob(recipe, spec, {}, {}, tmp_path, words=words(library))
        for library in (Library(), Library(overlay=tmp_path), Library(overlay=tmp_path))
    ]
    assert jobs[0].config != jobs[1].config == jobs[2].config


def test_the_template_asks_for_a_good_answer_at_the_end_and_nowhere_else() -> None:
    template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    tagged = jinja2.Environment(autoescape=False).from_string(
        asked_with(template, '\n\nGive a "good" answer %} \\ 👍.')
    )

    def chat(*turns: tuple[str, str]) -> str:
        return tagged.render(messages=[{"role": role, "content": text} for role, text in turns])

    assert chat(("user", "Why? ")) == '<user>Why?\n\nGive a "good" answer %} \\ 👍.'
    assert chat(("user", "A"), ("assistant", "B"), ("user", "C")).endswith('<user>C\n\nGive a "good" answer %} \\ 👍.')
    assert chat(("user", "A"), ("assistant", "B")) == "<user>A<assistant>B"
    assert chat() == ""


@pytest.mark.flow
@pytest.mark.parametrize("recipe", ["hindsight", "tagged"])
def test_a_trained_model_is_asked_with_the_tag_that_it_was_trained_on(recipe: str, base: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    (tmp_path / "words/hindsight").mkdir(parents=True)
    (tmp_path / "words/hindsight/phrases.yaml").write_text(json.dumps(FEW.model_dump()))
    view = write_view(tmp_path / "view", [preference(pair) for pair in PAIRS])
    config = Config(**QUICK, overlay=tmp_path / "words")
    report = train(view, base, tmp_path / "out", config, recipe)
    assert (report.recipe, report.rows) == (recipe, 2 * len(PAIRS))
    assert report.loss_last < report.loss_first
    chat = [{"role": "user", "content": question("one", "cats")}]
    before, after = (
        AutoTokenizer.from_pretrained(folder).apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        for folder in (base, tmp_path / "out")
    )
    assert after == before.replace("cats.", "cats. I see")
    plain = train(view, base, tmp_path / "plain", config.model_copy(update={"serve": False}), recipe)
    assert plain.steps == report.steps
    kept = AutoTokenizer.from_pretrained(tmp_path / "plain").apply_chat_template(chat, tokenize=False)
    assert "I see" not in kept


@pytest.mark.flow
def test_a_rewriter_learns_rewrites_in_the_words_in_which_it_is_asked(base: Path, tmp_path: Path) -> None:
    """BPO (7)"""
    (tmp_path / "words/bpo").mkdir(parents=True)
    prompt = {"id": "bpo/rewrite", "about": "for tests", "variables": ["instruction"], "text": "{{ instruction }} for"}
    (tmp_path / "words/bpo/rewrite.yaml").write_text(json.dumps(prompt))
    rows = [{"prompt": question(*pair), "optimized_prompt": f"{question(*pair)} I see here."} for pair in PAIRS]
    view = write_view(tmp_path / "view", rows)
    config = rewriter.Config(**QUICK, overlay=tmp_path / "words")
    report = rewriter.train(view, base, tmp_path / "out", config)
    assert (report.recipe, report.rows) == ("rewriter", len(PAIRS))
    assert report.loss_last < report.loss_first

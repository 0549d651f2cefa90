"""A step whose prompt begins the reply, and the same step as a base model is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from steps import run

from prompts import Library, PromptError
from tasks.engines import Sampling, ScriptedEngine
from tasks.step import Step

FILE = """
id: a/b
about: x
variables: [instruction]
messages:
  - {role: user, content: "{{ instruction }}"}
  - {role: assistant, content: "Thought:"}
stop: [END]
base:
  text: "Q: {{ instruction }}\\nThought:"
  stop: ["\\nQ:"]
"""


@pytest.fixture
def step(tmp_path: Path) -> Callable[..., Step]:
    def make(text: str = FILE, options: tuple[str, ...] = ()) -> Step:
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a/b.yaml").write_text(text)
        return Step(
            name="a.b",
            table="responses",
            prompt=Library(overlay=tmp_path).prompt("a/b"),
            sampling=Sampling(),
            parents=(),
            variables=lambda row: {"instruction": row["instruction"]},
            read=lambda reply, row: [{"text": reply}],
            options=options,
        )

    return make


@pytest.mark.parametrize("reply", ["I wonder.", " I wonder.", "Thought: I wonder."])
def test_the_reply_that_is_read_has_the_prefill_once(reply: str, step: Callable[..., Step]) -> None:
    outcome = asyncio.run(run(step(), [{"instruction": "Why?"}], ScriptedEngine([reply])))
    assert [record["text"] for record in outcome.records] == ["Thought: I wonder."]
    assert [attempt["raw_text"] for attempt in outcome.attempts] == [reply], "the model's own words"


def test_a_base_model_gets_the_text_with_its_own_stops_and_its_options_follow_a_text(step: Callable[..., Step]) -> None:
    engine = ScriptedEngine(["I wonder."])
    base = step(options=()).in_form("text")
    assert asyncio.run(run(base, [{"instruction": "Why?"}], engine)).records[0]["text"] == "I wonder."
    assert engine.calls[0].prompt == "Q: Why?\nThought:"
    assert base.drawn.stop == ("\nQ:",)
    assert step().drawn.stop == ("END",)
    assert step(options=("A", "B")).in_form("text").options == (" A", " B")
    transcript = FILE.partition("base:")[0].replace('  - {role: assistant, content: "Thought:"}\n', "")
    assert step(transcript, ("A", "B")).in_form("text").options == ("A", "B"), "on a line of their own"
    assert base.prompt.hash != step().prompt.hash


def test_the_chats_hash_does_not_depend_on_its_base(step: Callable[..., Step]) -> None:
    assert step(FILE.partition("base:")[0]).prompt.hash == step().prompt.hash
    assert step().in_form("chat").prompt.hash == step().prompt.hash


def test_without_a_text_of_its_own_a_base_model_gets_a_transcript(step: Callable[..., Step]) -> None:
    chat = (
        FILE.partition("base:")[0]
        .replace(
            "messages:",
            "messages:\n  - {role: system, content: Be brief.}\n  - {each: shown, turns: [{role: user, content: "
            '"{{ item.q }}"}, {role: assistant, content: "{{ item.a }}"}]}',
        )
        .replace("[instruction]", "[instruction, shown]")
    )
    prompt = step(chat).prompt
    values = {"instruction": "Why {{ x }}?", "shown": [{"q": "A?", "a": "a"}, {"q": "B?", "a": "b"}]}
    assert [(turn["role"], turn["content"]) for turn in prompt.render(**values)] == [
        ("system", "Be brief."),
        ("user", "A?"), ("assistant", "a"), ("user", "B?"), ("assistant", "b"),
        ("user", "Why {{ x }}?"), ("assistant", "Thought:"),
    ]  # fmt: skip
    base = prompt.in_form("text")
    assert base.render(**values) == (
        "Be brief.\n\n### User:\nA?\n\n### Assistant:\na\n\n### User:\nB?\n\n### Assistant:\nb\n\n"
        "### User:\nWhy {{ x }}?\n\n### Assistant:\nThought:"
    )
    assert base.stop == ("END", "\n### User:", "\n### Assistant:")
    assert "[each of shown]\n[user]\n{{ item.q }}" in prompt.source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("Q: {{ instruction }}", "Q"), "variables says"),
        (FILE.replace('Thought:"}', '{{ instruction }}"}'), "begins the reply, and has variables"),
        (
            FILE.replace("messages:", "messages:\n  - {each: others, turns: [{role: user, content: x}]}"),
            "variables says",
        ),
        ("id: a/b\nabout: x\nvariables: []\ntext: x\nbase: {text: y}\n", "got 'base' beside 'text'"),
    ],
)
def test_a_bad_form_is_named(text: str, message: str, step: Callable[..., Step]) -> None:
    with pytest.raises(PromptError, match=message):
        step(text)


def test_a_thought_is_in_the_attempt_and_in_no_record(step: Callable[..., Step]) -> None:
    outcome = asyncio.run(run(step(), [{"instruction": "Why?"}], ScriptedEngine(["<think>\nhm\n</think>\n\nBecause."])))
    assert outcome.records[0]["text"] == "Thought: Because."
    assert (outcome.attempts[0]["thought"], outcome.attempts[0]["raw_text"]) == ("<think>\nhm\n</think>", "Because.")

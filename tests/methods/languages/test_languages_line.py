"""Two languages on a real lake: drawn, translated, answered, traced and published; and not asked again."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from works import ACCEPT, Works, speak

from alignery.pipeline.runs.publication import tag_and_export
from prompts import Message
from tasks.engines import Sampling, ScriptedEngine
from tasks.engines.scripted import text_of
from tasks.methods.translate.method import Code, draw_language
from warehouse import Lake
from warehouse.query.trace import trace

SHARES: dict[Code, float] = {"de": 0.5, "hi": 0.3}
SAID = {"German": "Das ist die Nummer", "Hindi": "यह एक संख्या है"}
REQUESTS = {"Beantworte die folgende Anfrage": "German", "नीचे दिए गए अनुरोध": "Hindi"}


def reply(prompt: str | list[Message], sampling: Sampling) -> str:
    """One instruction in four comes back in other words of English."""
    text = text_of(prompt)
    number = hashlib.sha256(text.encode()).hexdigest()[:4]
    if text.startswith("You translate into "):
        language, source = text.split("into ")[1].split(".")[0], str(prompt[-1]["content"])  # type: ignore[index]
        is_lost = source.startswith("Write") and int(number, 16) % 4 == 0
        return "Write of this and of that, if you can." if is_lost else f"{SAID[language]} {number}"
    if language := next((REQUESTS[begin] for begin in REQUESTS if text.startswith(begin)), ""):
        return f"{SAID[language]} {number}"
    return speak(prompt, sampling)


def with_shares(works: Works, shares: dict[Code, float]) -> Works:
    whole = works.preset.model_dump(mode="json")
    line: dict[str, Any] = {"self_instruct": whole["line"]["self_instruct"], "constitutional": {"rounds": 1}}
    line |= {"translate": {"languages": shares}, "reject_limit": 0.9}
    works.preset = type(works.preset).model_validate(whole | {"line": line})
    works.engine = ScriptedEngine(reply)
    return works


@pytest.mark.flow
def test_languages_are_drawn_both_routes_are_walked_and_only_what_is_new_is_asked(works: Works) -> None:
    line = asyncio.run(with_shares(works, SHARES).walk())
    expected = {row["id"]: draw_language(row["id"], SHARES) for row in line.accepted}
    assert len(expected) == ACCEPT
    asked = works.rows("SELECT parents[1] AS id, state, reason FROM attempts WHERE step = 'translate.instruction'")
    assert {row["id"] for row in asked} == {id for id, code in expected.items() if code}
    assert {row["reason"] for row in asked} == {None, "in another language: english"}
    translated = {row["id"] for row in asked if row["state"] == "accepted"}
    for route in ("both", "post_answering", "post_translating"):
        rows = works.rows(f"SELECT instruction_id AS id, language FROM translations WHERE route = '{route}'")
        assert {row["id"]: row["language"] for row in rows} == {id: expected[str(id)] for id in translated}
    assert len(works.rows("FROM translation_routes")) == len(translated) > 3
    asyncio.run(works.walk())
    assert works.engine.calls == []

    with Lake.open(works.home) as lake:
        found = trace(lake, works.rows("SELECT id FROM post_translating")[0]["id"])  # type: ignore[arg-type]
        made = [(node.get("step") or "", node["record_table"]) for node in found["nodes"]]
        published = tag_and_export(works.preset, lake, works.home, "v1").rows
    assert [step for step, _ in made if step.startswith("translate")] == ["translate.instruction", "translate.response"]
    assert {"instructions", "revisions", "translations"} <= {table for _, table in made}
    assert published["translated"] == 2 * published["post_answering"] == 2 * len(translated)

    more: dict[Code, float] = SHARES | {"hi": 0.5}
    asyncio.run(with_shares(works, more).walk())
    moved = {id for id, code in expected.items() if draw_language(id, more) != code}
    assert works.asked("You translate") >= len(moved) > 0
    again = works.rows("SELECT DISTINCT instruction_id AS id FROM translations WHERE language = 'hi'")
    assert {id for id, code in expected.items() if code == "hi" and id in translated} <= {row["id"] for row in again}
    sent = works.rows(
        "SELECT parents[1] AS id FROM attempts WHERE step = 'translate.instruction'"
        " AND run_id = (SELECT arg_max(run_id, created_at) FROM attempts)"
    )
    assert {row["id"] for row in sent} == moved, "no other instruction is asked again"

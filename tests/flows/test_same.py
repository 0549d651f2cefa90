"""The graph and the walk over every subset of methods: the same requests, the same rows of `prompts`."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_walk import MORE, judge
from works import speak, write_words

from flows.graph import GraphRunner, build
from flows.sections import Line
from flows.walk import Walk
from prompts import Library, Message
from tasks.engines import Engine, Sampling, ScriptedEngine
from tasks.engines.scripted import text_of
from tasks.filters.contamination import Contamination
from tasks.step import Ask, Outcome, Row, Step, attend

ROWS = [
    {"instruction_id": f"i{n}", "instruction": f"Write of thing {n} and its use.", "topic": "tea"} for n in range(8)
]
PARTS: dict[str, Any] = {
    "constitutional": {"rounds": 2},
    "self_align": {},
    "verbose": {},
    "aligner": {"upstreams": ["other"]},
    "rate": {},
    "squad": {"members": [{"inspector": "overall"}, {"inspector": "overall", "aligner": "other"},
                          {"inspector": "ethical", "aligner": "ethics"}]},
    "instances": {"classification_demos": 1, "other_demos": 1, "demos": 1},
}  # fmt: skip
COMPARES: list[dict[str, Any] | None] = [
    None,
    {},
    {"orders": "one"},
    {"thought_first": True},
    {"pairs": "revision"},
    {"pairs": "revision", "thought_first": True, "orders": "one"},
]


class Executor:
    """Answers every request, and records which."""

    def __init__(self) -> None:
        self.log: Counter[tuple[str, str, str, str]] = Counter()

    async def advance(self, step: Step, row: Row, engine: Engine) -> list[Row]:
        ask = Ask(step, row, engine)
        self.log[step.name, ask.key, ask.request_key, engine.identity] += 1
        outcome = Outcome(step, ask.fingerprint)
        await attend(ask, {}, outcome)
        return [step.carry(row, record) for record in outcome.records]

    async def together(self, *work: Coroutine[Any, Any, Any]) -> None:
        await asyncio.gather(*work)


def lossy(prompt: str | list[Message], sampling: Sampling) -> str:
    """A third of the replies is empty, and a third of the corrections copies."""
    number = hash((text_of(prompt), sampling.seed)) % 3
    text = text_of(prompt)
    if number == 0:
        return ""
    if number == 1 and text.startswith("aligner/correct"):
        return text.split("answer: ")[1]
    return speak(prompt, sampling)


def scored(prompt: str | list[Message], options: Sequence[str]) -> list[float]:
    if text_of(prompt).startswith("squad/"):
        return [0.1, 0.9] if hash(text_of(prompt)) % 2 else [0.8, 0.2]
    return judge(prompt, options)


def engines(reply: Any, choices: Any) -> dict[str, Engine]:
    names = ("generator", "aligner", "judge", "inspector", "verbose", "other", "ethics")
    return {name: ScriptedEngine(reply, choices=choices, identity=f"scripted:{name}") for name in names}


def lines() -> list[Line]:
    found = []
    for count in range(len(PARTS) + 1):
        for chosen in itertools.combinations(PARTS, count):
            for compared in COMPARES:
                if compared and compared.get("pairs") == "revision" and "constitutional" not in chosen:
                    continue
                given = {key: PARTS[key] for key in chosen} | ({"compare": compared} if compared is not None else {})
                found.append(Line.model_validate({"self_instruct": {}} | given))
    return found


def keys(rows: list[Row]) -> set[tuple[str, ...]]:
    return {(row["hash"], row["id"], row["source"]) for row in rows}


@pytest.mark.flow
@pytest.mark.parametrize(("reply", "choices"), [(speak, judge), (lossy, scored)])
def test_the_same_requests_in_every_preset(tmp_path: Path, reply: Any, choices: Any) -> None:
    write_words(tmp_path)
    for id, variables in MORE.items():
        path = tmp_path / f"{id}.yaml"
        path.parent.mkdir(exist_ok=True)
        content = id + "\n" + "\n".join(f"{name}: {{{{ {name} }}}}" for name in variables)
        turns = [{"role": "user", "content": content}]
        path.write_text(yaml.safe_dump({"id": id, "about": "a test", "variables": variables, "messages": turns}))
    library, free = Library("full", tmp_path), Contamination([])
    asked, steps, words = 0, set(), 0
    for line in lines():
        before, after = Executor(), Executor()
        given = engines(reply, choices)
        walk, graph = Walk(line, library, before, given, free), build(line, library, free)
        runner = GraphRunner(graph, after, given)

        async def go(one: Any) -> None:
            await asyncio.gather(*(one(dict(row)) for row in ROWS))

        asyncio.run(go(walk.row))
        asyncio.run(go(runner.run))
        assert before.log == after.log, line
        assert keys(walk.words()) == keys([row for stage in graph.stages for row in stage.prompt_rows()])
        expected = {(s.step.fingerprint(walk.engine(s)), walk.engine(s).identity) for s in walk.stages}
        assert expected == {(s.step.fingerprint(runner.engine(s)), runner.engine(s).identity) for s in graph.stages}
        asked += sum(before.log.values())
        steps |= {key[0] for key in before.log}
        words += len(keys(walk.words()))
    print(f"{len(lines())} presets, {asked} requests of {len(steps)} steps, {words} rows of prompts: all the same")

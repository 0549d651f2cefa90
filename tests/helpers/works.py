"""A factory with plain words and a scripted speaker: exact counts, in milliseconds, on a real lake."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
import yaml

from alignery.config.preset import Preset, load
from alignery.pipeline.estimate import Estimate, estimate_refresh
from alignery.pipeline.executor import Executor, TaskRunner, run_inline
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline, raise_first
from alignery.pipeline.run import Run
from prompts import Message
from tasks.budget import Budget, MeteredEngine
from tasks.engines import Sampling, ScriptedEngine
from tasks.step import Row
from warehouse import Lake

ACCEPT = 12
PROMPTS = {
    "self_instruct/generate": ["topic", "exemplars", "count"],
    "respond/answer": ["instruction"],
    "self_align/answer": ["rules", "exemplars", "instruction"],
    "constitutional/critique": ["instruction", "response", "critique_request"],
    "constitutional/revision": ["instruction", "response", "critique_request", "critique", "revision_request"],
    "aligner/correct": ["question", "answer"],
    "rate/accuracy": ["instruction", "response"],
    "self_instruct/generate_bare": ["topic", "exemplars", "count"],
    "self_instruct/classify": ["demos", "instruction"],
    "self_instruct/input_first": ["demos", "instruction"],
    "self_instruct/output_first": ["demos", "instruction"],
    "red_team/topics": ["type", "examples", "count"],
    "red_team/questions": ["types", "exemplars", "hints"],
}
TYPES = [
    {"name": name, "hint": f"is about {name}", "topics": [name.title()], "question": f"What is {name} made of today?"}
    for name in ("law", "art")
]
SEEDS = [
    {"topic": "tea", "instruction": "Say something of tea.", "output": "green", "classification": True},
    {"topic": "rain", "instruction": "Say something of rain.", "output": "It is wet."},
]
PRINCIPLES = [{"id": f"p{n}", "critique": f"critique {n}", "revision": f"revise {n}"} for n in range(4)]


def dumped(value: object) -> str:
    """As YAML, by libyaml: words are written for many tests, and Python's own emitter takes ten times as long."""
    return yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))


def write_words(folder: Path) -> None:
    """A whole set of words in which every prompt opens with its own id."""
    for id, variables in PROMPTS.items():
        path = folder / f"{id}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = id + "\n" + "\n".join(f"{name}: {{{{ {name} }}}}" for name in variables)
        messages = [{"role": "user", "content": content}]
        path.write_text(dumped({"id": id, "about": "a test", "variables": variables, "messages": messages}))
    (folder / "self_instruct/topics.yaml").write_text(dumped({"topics": ["tea", "rain"]}))
    (folder / "self_instruct/seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in SEEDS))
    (folder / "red_team/types.yaml").write_text(dumped({"types": TYPES}))
    rules = {"rules": [{"name": "kind", "text": "be kind"}], "exemplars": []}
    (folder / "self_align/rules.yaml").write_text(dumped(rules))
    write_principles(folder, PRINCIPLES)


def write_principles(folder: Path, principles: list[dict[str, str]]) -> None:
    (folder / "constitutional/constitution.yaml").write_text(dumped({"principles": principles}))


def speak(prompt: str | list[Message], sampling: Sampling) -> str:
    """A reply in the form that the prompt's id asks for; words differ with the seed and the prompt."""
    assert not isinstance(prompt, str)
    text = prompt[0]["content"]
    words = hashlib.sha256(f"{text}{sampling.seed}".encode()).hexdigest()
    if text.startswith("self_instruct/generate"):
        items = (" ".join(hashlib.sha256(f"{words}{n}".encode()).hexdigest()[i : i + 5] for i in range(0, 40, 5))
                 for n in range(3))  # fmt: skip
        return "\n".join(f"{number}. Write of {item}" for number, item in enumerate(items, 1))
    if text.startswith("rate/accuracy"):
        return f"{int(words[:4], 16) % 11 / 2:g}\nBecause {words[:8]}." if int(words[4:8], 16) % 4 else "Good."
    if text.startswith("red_team/topics"):
        return "\n".join(f"{number}. T{words[number : number + 3]}" for number in range(1, 6))
    if text.startswith("red_team/questions"):  # the hints' numbers go on from the exemplars'
        first, hints = (
            text.split(f"\n{name}:")[1].split("\n")[0].count("question_type") for name in ("exemplars", "hints")
        )
        return "\n".join(
            f"{first + n}. Who {words[n : n + 9]} of {words[n + 9 : n + 20]} by {n}?" for n in range(1, hints + 1)
        )
    if text.startswith("self_instruct/classify"):
        return "Yes" if int(words, 16) % 2 else "No"
    if text.startswith("self_instruct/output_first"):
        return f"Label: good\nInput: {words[:9]}\n\nLabel: bad\nInput: {words[9:18]}"
    if text.startswith("self_instruct/input_first"):
        given = f"Input: {words[:9]}\n" if int(words, 16) % 3 == 0 else ""
        return f"Example 1\n{given}Output: done {words[:5]}"
    if text.startswith("self_align/answer"):
        return f"I follow rule 1 (kind).\nAnswer: kindly {words[:8]}"
    return f"{text.split()[0].split('/')[1]} {words[:8]}"


@dataclass
class Walked(RefreshPipeline):
    """A line with every instruction that its sources accepted, which it does not keep itself."""

    accepted: list[Row] = field(default_factory=list)


@dataclass
class Works:
    """A line that can be walked again and again over one lake, each time counted afresh."""

    home: Path
    words: Path
    preset: Preset
    engine: ScriptedEngine
    held_out: Sequence[str] = ()

    async def walk(
        self,
        *,
        chunk: int = ACCEPT,
        runner: TaskRunner = run_inline,
        budget: Budget | None = None,
        places: int = 64,
        **changes: object,
    ) -> Walked:
        """Walk the whole line once; `changes` go to its `self_instruct` settings."""
        engine = MeteredEngine(self.engine, budget, places) if budget else self.engine
        preset = self.changed(chunk, **changes)
        self.engine.calls.clear()
        with Lake.open(self.home) as lake, StepProgress(StringIO()) as progress, Run(lake, "refresh", preset) as run:
            executor = Executor(lake, run, progress, runner, preset.line.reject_limit)
            line = Walked(preset, executor, dict.fromkeys(("generator", "aligner", "judge"), engine), self.held_out)
            run.words = line.words()
            with raise_first():
                await line.walk()
            for rounds in line.writing.rounds:
                if len(rounds.accepted) < rounds.count:
                    rounds._load(len(rounds._counts) - 1)
                line.accepted += list(rounds.accepted)
            run.end("finished", {})
        return line

    def changed(self, chunk: int = ACCEPT, **changes: object) -> Preset:
        line = self.preset.line
        update = {"chunk": chunk, "self_instruct": line.self_instruct.model_copy(update=changes)}
        return self.preset.model_copy(update={"line": line.model_copy(update=update)})

    async def plan(self, **changes: object) -> Estimate:
        """Foretell what `walk` with the same changes will take."""
        self.engine.calls.clear()
        with Lake.open(self.home) as lake:
            engines = {"generator": self.engine, "aligner": self.engine}
            return await estimate_refresh(self.changed(**changes), lake, engines)

    def asked(self, id: str) -> int:
        """How many of the last walk's requests had that prompt."""
        return sum(call.prompt[0]["content"].startswith(id) for call in self.engine.calls)  # type: ignore[index, union-attr]

    def rows(self, query: str) -> list[dict[str, object]]:
        with Lake.open(self.home, read_only=True) as lake:
            return lake.sql(query).to_pylist()

    def snapshot(self) -> int:
        with Lake.open(self.home, read_only=True) as lake:
            return lake.snapshot()


@pytest.fixture
def works(tmp_path: Path, empty: Path) -> Works:
    return make(tmp_path, empty)


def make(folder: Path, empty: Path) -> Works:
    """Twelve instructions, two rounds of critique."""
    words = folder / "words"
    write_words(words)
    preset = {
        "about": "a test",
        "words": {"variant": "full", "overlay": "./words"},
        "models": {"generator": {"engine": "scripted", "replies": ["unused"]}},
        "line": {
            "self_instruct": {"accept": ACCEPT, "max_candidates": 60, "requests_per_round": 4, "count": 3},
            "constitutional": {"rounds": 2},
            "self_align": {},
            "aligner": {},
        },
    }
    path = folder / "test.yaml"
    path.write_text(dumped(preset))
    return Works(shutil.copytree(empty, folder / "lake"), words, load(str(path)), ScriptedEngine(speak))

"""The graph of stages: what it refuses, how rows run through it, and that the requests of whole presets stay the same.

`PYTHONPATH=.:tests:tests/flows python tests/pipeline/test_graph.py` rewrites golden_requests.json.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_stages import MORE
from works import speak, write_words

from alignery.config.methods import line_model
from alignery.config.schema import Line
from alignery.hashing import digest
from alignery.pipeline.graph import GraphRunner
from prompts import Library, Message
from tasks.engines import Engine, Sampling, ScriptedEngine
from tasks.engines.scripted import text_of
from tasks.graph import Graph, GraphError
from tasks.methods.registry import built_in
from tasks.methods.respond import method as respond
from tasks.stage import SOURCE, Stage
from tasks.step import Outcome, Request, Row, Step, execute

GOLDEN = Path(__file__).parent / "golden_requests.json"
ROWS = [
    {"instruction_id": f"i{n}", "instruction": f"Write of thing {n} and its use.", "topic": "tea"} for n in range(80)
]
DEMOS = {"classification_demos": 1, "other_demos": 1, "demos": 1}
MEMBERS = [
    {"inspector": "overall"},
    {"inspector": "ethical", "aligner": "ethics"},
    {"inspector": "overall", "aligner": "other"},
]
ALL: dict[str, Any] = {
    "constitutional": {"rounds": 2},
    "self_align": {},
    "verbose": {},
    "aligner": {"upstreams": ["other"]},
    "rate": {},
    "squad": {"members": MEMBERS},
    "compare": {"thought_first": True},
    "red_team": {},
    "samples": {"k": 2, "models": ["generator", "other"]},
    "score": {"aspects": ["helpfulness", "honesty"], "reward": True, "answers": True},
    "reason": {"k": 3},
    "prompt_optimization": {},
}
REVISED = {"pairs": "revision", "thought_first": True, "orders": "one"}
SETUPS: dict[str, dict[str, Any]] = {
    "answers alone": {},
    "every method": ALL | {"instances": DEMOS},
    "every method without instances": ALL,
    "the last revision compared": ALL | {"compare": REVISED},
    "a squad and ratings of first answers": {"squad": {"members": MEMBERS}, "rate": {}},
    "dialogues and labels": {"dialogue": {"exchanges": 3}, "tagging": {}},
    "two languages and revised answers": {"translate": {"languages": {"de": 0.5, "hi": 0.3}}, "constitutional": {}},
}
ENGINES = ("generator", "aligner", "judge", "inspector", "verbose", "other", "ethics", "reward", "user", "translator")


def reply(prompt: str | list[Message], sampling: Sampling) -> str:
    """One reply in four is empty, and one correction in three copies."""
    text, number = text_of(prompt), int(digest(text_of(prompt), sampling.seed)[:8], 16)
    if number % 4 == 0:
        return ""
    copies = number % 3 == 0 and text.startswith("aligner/correct")
    return text.split("answer: ")[1] if copies else speak(prompt, sampling)


def choices(prompt: str | list[Message], options: Sequence[str]) -> list[float]:
    """Half of the texts score low."""
    return [0.1, 0.9] if int(digest(text_of(prompt))[:8], 16) % 2 else [0.8, 0.2]


def engines() -> dict[str, Engine]:
    return {name: ScriptedEngine(reply, choices=choices, identity=f"scripted:{name}") for name in ENGINES}


class Executor:
    """Answers every request, and hands each to `seen`."""

    def __init__(self, seen: Callable[[Request], None] = lambda ask: None) -> None:
        self._seen = seen

    async def apply(self, step: Step, row: Row, engine: Engine) -> list[Row]:
        ask = Request(step, row, engine)
        self._seen(ask)
        outcome = Outcome(step, ask.fingerprint)
        await execute(ask, {}, outcome)
        return [step.next_row(row, record) for record in outcome.records]

    async def gather(self, *work: Coroutine[Any, Any, Any]) -> None:
        await asyncio.gather(*work)


def library(folder: Path) -> Library:
    """Words in which every prompt opens with its own id."""
    write_words(folder)
    for id, variables in MORE.items():
        path = folder / f"{id}.yaml"
        path.parent.mkdir(exist_ok=True)
        content = id + "\n" + "\n".join(f"{name}: {{{{ {name} }}}}" for name in variables)
        turns = [{"role": "user", "content": content}]
        path.write_text(yaml.safe_dump({"id": id, "about": "a test", "variables": variables, "messages": turns}))
    return Library("full", folder)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return library(tmp_path_factory.mktemp("words"))


def build(line: Line, words: Library) -> Graph:
    return Graph(built_in().stages(line.configs, words, source=False))


def run(graph: Graph, seen: Callable[[Request], None], rows: Sequence[Row] = ROWS) -> None:
    runner = GraphRunner(graph, Executor(seen), engines())

    async def main() -> None:
        await asyncio.gather(*(runner.run(dict(row)) for row in rows))

    asyncio.run(main())


def golden(setup: str, words: Library) -> dict[str, Any]:
    """Requests by step, and one digest of all their keys and models; and one of the rows of `prompts`."""
    line = line_model(built_in()).model_validate({"self_instruct": {}} | SETUPS[setup])
    graph, asked = build(line, words), list[tuple[str, ...]]()
    run(graph, lambda ask: asked.append((ask.step.name, ask.key, ask.request_key, ask.engine.identity)))
    counts = {name: sum(one[0] == name for one in asked) for name in sorted({one[0] for one in asked})}
    sources = built_in().stages(line.configs, words, source=True)
    every = [*(stage for stages in sources for stage in stages), *graph.stages]
    texts = {tuple(row.values()) for stage in every for row in stage.prompt_rows()}
    return {"requests": counts, "keys": digest(sorted(asked)), "prompts": digest(sorted(texts))}


@pytest.mark.parametrize("setup", SETUPS)
def test_the_requests_of_a_preset_have_not_moved(setup: str, words: Library) -> None:
    assert golden(setup, words) == json.loads(GOLDEN.read_text(encoding="utf-8"))[setup]


@pytest.mark.parametrize("setup", SETUPS)
def test_every_stage_is_reached_and_reads_only_the_fields_that_it_declares(setup: str, words: Library) -> None:
    graph = build(line_model(built_in()).model_validate({"self_instruct": {}} | SETUPS[setup]), words)
    stages, reached = {stage.step: stage for stage in graph.stages}, set[str]()
    assert len(stages) == len(graph.stages), "each stage has a step of its own"

    def check(ask: Request) -> None:
        stage = stages[ask.step]
        few = Request(ask.step, stage.take({name: ask.row[name] for name in stage.needs}), ask.engine)
        assert (few.key, few.request_key) == (ask.key, ask.request_key)
        reached.add(stage.name)

    run(graph, check)
    assert reached == set(graph.by_name)


def test_every_model_that_a_stage_calls_is_declared_by_its_method(words: Library) -> None:
    line = line_model(built_in()).model_validate({"self_instruct": {}} | SETUPS["every method"])
    methods = [method for method in built_in() if not method.source and method.name in line.configs]
    for method, stages in zip(methods, built_in().stages(line.configs, words, source=False), strict=True):
        called = {stage.model for stage in stages}
        assert called >= {*method.named_models(line.configs[method.name])}
    assert set(built_in().aliases) == {
        "generator",
        "aligner",
        "verbose",
        "judge",
        "inspector",
        "rewriter",
        "user",
        "translator",
    }


@pytest.fixture
def stage(words: Library) -> Callable[..., Stage]:
    """A stage that answers; a second call of it makes a second one."""

    def made(name: str, after: str = SOURCE, **fields: Any) -> Stage:
        return Stage(name, respond.respond(words, respond.Config()), after, **fields)

    return made


def test_a_port_belongs_to_the_last_method_that_provides_it(stage: Callable[..., Stage]) -> None:
    first = [stage("classify"), stage("left", "classify", provides=SOURCE), stage("right", "classify", provides=SOURCE)]
    second = [stage("shorten", provides=SOURCE)]
    graph = Graph([[stage("answer")], first, second])
    assert graph.predecessors == {
        "classify": [SOURCE],
        "left": ["classify"],
        "right": ["classify"],
        "shorten": ["left", "right"],
        "answer": ["shorten"],
    }
    assert [one.name for one in graph.stages] == ["classify", "left", "right", "shorten", "answer"]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ([[("a", {})], [("a", {})]], "stage a: there is another of that name; rename one of them"),
        ([[(SOURCE, {})]], "stage instruction: a port has that name; rename one of them"),
        ([[("a", {"provides": "b"}), ("b", {})]], "stage b: a port has that name"),
        ([[("a", {"after": "draft"})]], "comes after 'draft', which no method provides, expected one of .*'a'"),
        ([[("a", {"after": None})]], "stage a: comes after None, which no method provides"),
        ([[("a", {"after": "b"}), ("b", {"after": "a"})]], "stage [ab]: comes after itself"),
        (
            [[("a", {"after": "y", "provides": "x"})], [("b", {"after": "x", "provides": "y"})]],
            r"stage [ab]: comes after itself \([ab] → [ab] → [ab]\); change one `after`",
        ),
        (
            [[("a", {"adds": ("draft",)}), ("b", {"after": "a", "needs": ("instruction", "score")})]],
            r"stage b: needs the field 'score', and rows after a have \['draft', 'instruction', 'instruction_id'",
        ),
        (
            [[("a", {"adds": ("draft",), "skippable": True}), ("b", {"after": "a", "needs": ("draft",)})]],
            "stage b: needs the field 'draft'",
        ),
        (
            [[("a", {"provides": "x", "adds": ("draft",)}), ("b", {"provides": "x"})],
             [("c", {"after": "x", "needs": ("draft",)})]],
            "stage c: needs the field 'draft', and rows after a and b have",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(stage: Callable[..., Stage], declared: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message) as raised:
        Graph([[replace(stage(name), **fields) for name, fields in stages] for stages in declared])
    assert len(str(raised.value).splitlines()) == 1


def test_a_branch_waits_for_no_other_and_a_row_for_no_row(stage: Callable[..., Stage]) -> None:
    """Each of four requests is answered only when all four were sent."""
    graph = Graph([[stage("a"), stage("b")]])
    sent, all_sent = list[str](), asyncio.Event()

    class Waiting(Executor):
        async def apply(self, step: Step, row: Row, engine: Engine) -> list[Row]:
            sent.append(row["instruction_id"])
            if len(sent) == 4:
                all_sent.set()
            await all_sent.wait()
            return []

    async def main() -> None:
        runner = GraphRunner(graph, Waiting(), engines())
        await asyncio.wait_for(asyncio.gather(*(runner.run(row) for row in ROWS[:2])), 60)

    asyncio.run(main())
    assert sorted(sent) == ["i0", "i0", "i1", "i1"]


def test_a_chain_may_be_longer_than_the_stack(stage: Callable[..., Stage]) -> None:
    one = stage("0")
    chain = [one, *(replace(one, name=str(n), after=str(n - 1)) for n in range(1, 2000))]
    passed = replace(one, when=lambda row: False, skippable=True)
    chain += [replace(passed, name=str(n), after=str(n - 1)) for n in range(2000, 4000)]
    count = 0

    class Counting(Executor):
        async def apply(self, step: Step, row: Row, engine: Engine) -> list[Row]:
            nonlocal count
            count += 1
            return [row]

    asyncio.run(GraphRunner(Graph([chain]), Counting(), engines()).run(ROWS[0]))
    assert count == 2000


def test_a_row_that_a_stage_turns_down_ends_or_is_passed_on(stage: Callable[..., Stage]) -> None:
    def is_first(row: Row) -> bool:
        return bool(row["instruction_id"] == "i0")

    graph = Graph(
        [
            [
                stage("gate", when=is_first),
                stage("behind it", "gate"),
                stage("option", when=is_first, skippable=True),
                stage("behind that", "option"),
            ]
        ]
    )
    sent = list[tuple[str, str]]()
    names = {stage.step: stage.name for stage in graph.stages}
    runner = GraphRunner(graph, Executor(lambda ask: sent.append((names[ask.step], ask.row["instruction_id"]))),
                         {"generator": ScriptedEngine(["an answer"])})  # fmt: skip

    async def main() -> None:
        await asyncio.gather(*(runner.run(row) for row in ROWS[:2]))

    asyncio.run(main())
    assert sorted(sent) == [
        ("behind it", "i0"),
        ("behind that", "i0"),
        ("behind that", "i1"),
        ("gate", "i0"),
        ("option", "i0"),
    ]
    assert runner.skipped == {"gate": 1, "option": 1}


def test_an_answer_that_a_row_brought_is_not_asked_for_and_all_that_refines_it_is(words: Library) -> None:
    line = line_model(built_in()).model_validate(
        {"self_instruct": {}, "constitutional": {"rounds": 2}, "aligner": {"stack": ["aligner"]}}
    )
    graph = Graph(built_in().stages(line.configs, words, source=False, bound=("aligner",)))
    given = {"response_id": "r", "response": "A.", "target_id": "r", "target": "A.", "given": ("answer",)}
    asked = list[str]()
    run(graph, lambda ask: asked.append(ask.step.name), [row | given for row in ROWS])
    assert "respond.answer" not in asked
    assert asked.count("aligner.correct") == len(ROWS)
    assert asked.count("constitutional.revise") > len(ROWS), "the last round too"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        found = {setup: golden(setup, library(Path(made))) for setup in SETUPS}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

"""`import alignery`: what a script and a notebook can do, on the embedded model and without Prefect."""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import alignery
from warehouse import Lake
from warehouse.database.lock import exclusive, of_preset

SMALL = {"max_tokens": 48}
ACCEPT = 6
PRESET: dict[str, Any] = {
    "words": {"variant": "nano"},
    "models": {"generator": {"engine": "transformers", "model": "alignery:nano/checkpoint", "threads": 1}},
    "line": {
        "self_instruct": {"accept": ACCEPT, "count": 1, "rouge_l": 0.95, "sampling": {"max_tokens": 32}},
        "respond": {"sampling": SMALL},
        "constitutional": {"rounds": 1, "sampling": SMALL},
    },
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a lake that a notebook filled: `refresh` was called in a running event loop."""
    home = tmp_path_factory.mktemp("api") / "lake"

    async def cell() -> None:
        done = alignery.refresh(PRESET, home)
        assert (done.state, done.accepted) == ("finished", ACCEPT)

    asyncio.run(cell())
    return home


def test_the_public_names_are_these_and_each_is_there() -> None:
    runs = ["refresh", "publish", "retrain", "evaluate", "promote", "plan"]
    types = [
        "Method",
        "Stage",
        "Step",
        "Context",
        "Library",
        "Preset",
        "Recipe",
        "recipes",
        "Sampling",
        "Row",
        "Column",
        "Table",
        "Shape",
        "OpenLake",
    ]
    types += ["MethodConfig", "SourceConfig", "INSTRUCTION_ID", "RESPONSE_ID"]
    types += ["Lake", "marks", "fit_propositions"]
    results = ["Summary", "Publication", "Trained", "Evaluation", "Decided", "Estimate", "Export"]
    errors = [
        "AligneryError",
        "UsageError",
        "PresetError",
        "LakeFailure",
        "EngineDown",
        "RejectLimitExceeded",
        "TrainingStopped",
    ]
    errors += ["Rejected", "ParseError"]
    names = {"open_lake", "load_preset", *runs, *(f"a{run}" for run in runs), *types, *results, *errors}
    assert set(alignery.__all__) == names
    assert all(issubclass(getattr(alignery, name), Exception) for name in errors)
    for name in alignery.__all__:
        assert getattr(alignery, name).__doc__ or name in ("INSTRUCTION_ID", "RESPONSE_ID", "Row")
    for run in runs:
        assert (
            inspect.signature(getattr(alignery, run)).parameters
            == inspect.signature(getattr(alignery, f"a{run}")).parameters
        )
    with pytest.raises(AttributeError, match="no attribute 'refesh'; its names are"):
        _ = alignery.refesh
    assert (Path(alignery.__file__).parent / "py.typed").is_file()


def test_the_weights_of_propositions_are_fitted_by_its_public_name() -> None:
    weights = alignery.fit_propositions([{"answers": 0.9, "harm": 0.1}], [{"answers": 0.2, "harm": 0.8}])
    assert weights["answers"] > 0 > weights["harm"]


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, alignery; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"torch", "prefect", "duckdb", "pyarrow", "pydantic", "tasks", "warehouse"}


def test_a_lake_is_read_as_arrow_and_pandas_and_traced(home: Path) -> None:
    with alignery.open_lake(home) as lake:
        rows = lake.sql("SELECT id, text FROM responses WHERE length(text) > ?", [0]).to_pylist()
        assert len(rows) == len(lake.pandas("FROM responses")) == ACCEPT
        assert {row["step"] for row in lake.funnel()} >= {"self_instruct.generate", "respond.answer"}
        found = lake.trace(rows[0]["id"])
        assert [node["label"] for node in found["nodes"] if node["relation"] == "itself"] == ["answer"]
        assert {"responses", "funnel"} <= {row["name"] for row in lake.tables()}
        assert len(lake.show("instructions", 2)) == 2
        with pytest.raises(alignery.AligneryError, match="expected one SELECT"):
            lake.sql("DELETE FROM responses")
        with pytest.raises(alignery.UsageError, match="no run 'nope'; the newest are"):
            lake.funnel("nope")
        with pytest.raises(alignery.UsageError, match=r"pip install polars|no polars"):
            lake.polars("FROM responses")


def test_a_second_run_sends_nothing_and_awaits_in_the_callers_loop(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done = asyncio.run(alignery.arefresh(PRESET, home))
    assert (done.sent, done.accepted) == (0, ACCEPT)
    assert capfd.readouterr() == ("", ""), "quiet by default"
    held_out = [{"path": "alignery:presets/held_out.jsonl"}]  # so all is looked up again
    alignery.refresh({**PRESET, "line": {**PRESET["line"], "decontaminate": held_out}}, home, progress=True)
    assert "respond.answer" in capfd.readouterr().err


def test_two_at_once_take_turns_or_say_who_is_at_work(home: Path) -> None:
    async def both() -> list[Any]:
        return await asyncio.gather(*(alignery.arefresh(PRESET, home) for _ in range(2)))

    assert [done.sent for done in asyncio.run(both())] == [0, 0]

    with (
        Lake.open(home) as lake,
        exclusive(lake.place, of_preset("refresh", alignery.load_preset(PRESET).name), "another notebook"),
        pytest.raises(alignery.LakeFailure, match="another notebook"),
    ):
        alignery.refresh(PRESET, home, wait=False)


# Five requests are answered at once; the rest never.
INTERRUPTED = """
import asyncio, json, sys
import alignery
from tasks.engines import ScriptedEngine

answer, asked, answered = ScriptedEngine.generate, [], []

async def generate(self, prompt, sampling):
    asked.append(prompt)
    if len(asked) > 5:
        while len(answered) < 5:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)  # the fifth reply is recorded by the task that asked
        print("at work", flush=True)
        await asyncio.sleep(600)
    completion = await answer(self, prompt, sampling)
    answered.append(completion)
    return completion

async def cell():
    return alignery.refresh(preset, "lake")

preset, form = json.loads(sys.argv[1]), sys.argv[2]
if form == "hung":
    ScriptedEngine.generate = generate
if form == "hung" and sys.argv[3] == "in a loop":
    asyncio.run(cell())
else:
    print(alignery.refresh(preset, "lake").sent)
"""


@pytest.mark.flow
@pytest.mark.parametrize("where", ["in a loop", "plainly"])
def test_ctrl_c_stops_a_run_and_what_was_answered_is_kept(where: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("".join(f'{{"prompt": "Say the number {n}."}}\n' for n in range(20)))
    engine = {"engine": "scripted", "replies": ["It sits on a branch and sings."]}
    line = {"prompts": [{"path": "mine.jsonl", "gate": False}]}
    start = [sys.executable, "-c", INTERRUPTED, json.dumps({"models": {"generator": engine}, "line": line})]
    process = subprocess.Popen(
        [*start, "hung", where],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
    again = subprocess.run([*start, "goes on"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert again.stdout == "15\n"


def test_a_tag_is_published_and_exported_and_read_as_it_was(home: Path, tmp_path: Path) -> None:
    done = alignery.publish(PRESET, home)
    assert (done.tag, done.created) == ("v1", True)
    with alignery.open_lake(home, at="v1") as lake:
        assert len(lake.show("tags", 9)) == 0, "as it was before the tag"
    with alignery.open_lake(home) as lake:
        exported = lake.export("sft", tmp_path / "sft", tag="v1")
    assert sum(exported.rows["sft"].values()) == done.rows["sft"] > 0
    assert (tmp_path / "sft/README.md").is_file()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda home: alignery.load_preset("nope"), "no preset 'nope'"),
        (lambda home: alignery.load_preset({"line": {"self_instruct": {"acept": 1}}}), "rename it to accept"),
        (lambda home: alignery.open_lake(home / "none"), "there is no lake"),
        (
            lambda home: alignery.refresh({"models": PRESET["models"], "line": {}}, home),
            "got no source of instructions, expected one of",
        ),
        (lambda home: alignery.retrain(PRESET, home), "got no 'retrain' section"),
        (lambda home: alignery.evaluate(PRESET, home), "got no 'evaluate' section"),
        (lambda home: alignery.publish(PRESET, home), "nothing to publish"),
    ],
)
def test_a_mistake_is_one_sentence(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(alignery.UsageError, match=message) as error:
        call(tmp_path)
    assert "\n" not in str(error.value)

"""RAFT's rounds on a real lake: who draws, what each model is trained from and on, and the reward that ends them.

The rows of a refresh are made by hand, and a training writes a folder of its own; all between is real.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from lake_rows import attempt, record

from alignery.cli.render import serve as show_serving
from alignery.config.preset import Preset, build
from alignery.pipeline.model_resolution import resolve_models
from alignery.pipeline.runs import rounds
from alignery.pipeline.runs.publication import tag_and_export
from alignery.pipeline.runs.training import TrainingJob, train_recipes
from nano.player import CHECKPOINT
from tasks.step import Row
from warehouse import Lake
from warehouse.query import trained_on

NANO = {"engine": "transformers", "model": str(CHECKPOINT)}
PROMPTS = 6  # new ones a round, with two samples each


def preset(**sections: Any) -> Preset:
    whole: dict[str, Any] = {
        "name": "raft",
        "about": "a test",
        "words": {"variant": "nano"},
        "models": {"generator": NANO, "judge": NANO},
        "line": {"self_instruct": {}, "samples": {"k": 2}, "score": {"aspects": ["overall"]}},
        "retrain": {"raft": {}, "start_from": {"raft": "current"}},
        "follow": ["generator"],
    }
    return build(whole | sections)


@dataclass
class Loop:
    """Rounds in which the samples of each have a mean that is given."""

    home: Path
    lake: Lake
    means: Sequence[float] = ()
    learnt: dict[str, list[str]] = field(default_factory=dict)  # folder of a model → the prompts that it learnt from

    async def run_refresh(self, preset: Preset, lake: Lake, **_: object) -> SimpleNamespace:
        """New instructions, samples and scores, by the model that the generator is bound to."""
        policy = resolve_models(preset, lake).spec("generator").identity()
        run = f"run-{len(lake.rows('SELECT DISTINCT run_id FROM samples')) + 1}"
        mean = self.means[int(run[4:]) - 1]
        written: dict[str, list[Row]] = {"instructions": [], "samples": [], "sample_scores": []}
        for prompt in (f"{run} asks {n}" for n in range(PROMPTS)):
            about = {"topic": "t", "origin": "self_instruct", "state": "accepted"}
            written["instructions"].append(record(prompt, text=prompt, **about))
            for number, off in enumerate((-0.5, 0.5)):
                made = {"instruction_id": prompt, "number": number, "model": "generator"}
                written["samples"].append(record(f"{prompt} {number}", [prompt], text=f"answer {number} of it", **made))
                marked = {"instruction_id": prompt, "sample_id": f"{prompt} {number}", "value": mean + off}
                marked |= {"scorer": "rating", "aspect": "overall", "scale": "1 to 5"}
                written["sample_scores"].append(record(f"m {prompt} {number}", [prompt], **marked))
        attempts = [attempt(row["work_key"], model=policy) for rows in written.values() for row in rows]
        lake.ledger.append(written, attempts, run_id=run, step="test", fingerprint=run)
        return SimpleNamespace(message=None)

    async def make(self, job: TrainingJob, out: Path) -> None:
        out.mkdir(parents=True)
        shutil.copy(CHECKPOINT / "config.json", out)
        (out / "model.safetensors").write_bytes(out.name.encode())
        (out / "report.json").write_text(json.dumps({"seconds": 1.0}))
        rows = [row for file in sorted(job.data.rglob("train-*.parquet")) for row in pq.read_table(file).to_pylist()]
        self.learnt[str(out)] = [row["messages"][0]["content"] for row in rows]

    async def gate(self, *_: object, **__: object) -> None:
        self.judged = True

    def go(self, preset: Preset, most: int) -> rounds.BootstrapResult:
        return asyncio.run(rounds.run_rounds(preset, self.lake, self.home, most))

    def models(self) -> list[Row]:
        return trained_on.models(self.lake)


@pytest.fixture
def loop(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    home = shutil.copytree(empty, tmp_path / "home")
    with Lake.open(home) as lake:
        made = Loop(home, lake)
        monkeypatch.setattr(rounds, "run_refresh", made.run_refresh)
        monkeypatch.setattr(Preset, "published", ["best"])  # a round here exports what is learnt, and no other shape
        monkeypatch.setattr(TrainingJob, "make", lambda job, out, *_: made.make(job, out))
        yield made


def test_rounds_go_on_from_the_model_of_the_last_until_the_reward_has_not_risen(
    loop: Loop, capsys: pytest.CaptureFixture[str]
) -> None:
    """RAFT (3), (4), (6)"""
    loop.means = (2.0, 3.0, 3.0, 9.0)
    raft = preset(rounds={"recipe": "raft", "patience": 1})
    done = loop.go(raft, 9)
    assert done.state == "finished"
    assert done.why == (
        "the mean reward of the samples has not risen for 1 round: it was the highest in round 2 (3.000), "
        "and is 3.000 in round 3"
    )
    models = loop.models()
    paths = [row["path"] for row in models]
    assert [row["base_path"] for row in models] == [str(CHECKPOINT), *paths[:-1]]
    assert [row["base_id"] for row in models[1:]] == [row["id"] for row in models[:-1]]
    assert [one.writers for one in done.rounds] == [{}, *({"generator": path} for path in paths)]
    assert [one.trained for one in done.rounds] == [*paths, None], "the last is not trained any more"
    rewards = [one.reward for one in done.rounds if one.reward]
    assert [(one.mean_score, one.best_score, one.samples) for one in rewards] == [
        (mean, mean + 0.5, 2 * PROMPTS) for mean in loop.means[:3]
    ]
    assert [one.policy for one in rewards[1:]] == [row["id"] for row in models]

    for number, row in enumerate(models, 1):
        assert {prompt.split()[0] for prompt in loop.learnt[row["path"]]} == {f"run-{number}"}, "its own round's"
        with Lake.open(loop.home, snapshot=row["snapshot_id"]) as pinned:
            read = pinned.rows(row["rows"])
        assert sorted(one["messages"][0]["content"] for one in read) == sorted(loop.learnt[row["path"]])

    before = loop.lake.snapshot()
    again = loop.go(raft, 9)
    assert (again.why, loop.lake.snapshot()) == (done.why, before), "again, and nothing is done"
    assert not any(one.new for one in again.rounds)
    asyncio.run(loop.run_refresh(raft, loop.lake))  # further samples of the first round's model, worth 9
    assert [one.reward for one in loop.go(raft, 9).rounds] == [one.reward for one in done.rounds]
    show_serving.bootstrapped(done, as_json=False)
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("boot-3", Path(paths[-1]).name, "mean of best", "3.500", done.why))


@pytest.mark.parametrize(
    ("means", "stops"),
    [
        ((2.0, 3.0, 2.9, 3.0), False),
        ((2.0, 3.0, 2.0, 2.5, 3.0), True),
        ((3.0, 2.0, 2.5, 2.9), True),
        ((2.0,) * 3, False),
    ],
)
def test_a_rise_that_does_not_reach_above_the_highest_is_none(means: Sequence[float], stops: bool) -> None:
    drew = [rounds.Reward("policy", "rating", 8, mean, mean, None) for mean in means]
    done = [rounds.Round("boot", {}, {}, [], True, one) for one in drew[:-1]]
    assert bool(rounds._stops(preset(rounds={"recipe": "raft"}), done, drew[-1])) is stops


@pytest.mark.flow
def test_all_rounds_rows_are_learnt_and_the_preset_is_started_from_where_it_says_so(loop: Loop) -> None:
    loop.means = (2.0, 3.0)
    done = loop.go(preset(rounds={"recipe": "raft", "rows": "all"}, retrain={"raft": {}}), 2)
    assert done.why == "all 2 rounds are done"
    assert [row["base_path"] for row in loop.models()] == [str(CHECKPOINT)] * 2
    assert {prompt.split()[0] for prompt in loop.learnt[str(done.rounds[1].trained)]} == {"run-1", "run-2"}


def test_current_is_the_model_that_was_promoted_before_the_tag_whatever_was_since(loop: Loop) -> None:
    loop.means = (2.0, 3.0)
    both = preset(retrain={"raft": {}, "sft": {"view": "best"}, "start_from": {"raft": "current"}})

    def round(tag: str) -> dict[str, str]:
        asyncio.run(loop.run_refresh(both, loop.lake))
        tag_and_export(both, loop.lake, loop.home, tag)
        return trained(tag)

    def trained(tag: str) -> dict[str, str]:
        return {one.recipe: str(one.path) for one in asyncio.run(train_recipes(both, loop.lake, loop.home, tag))}

    first = round("v1")
    (model,) = [row for row in loop.models() if row["recipe"] == "raft"]
    decision = {"id": "d", "alias": "generator", "state": "promoted", "model": model["id"], "model_path": model["path"]}
    decision |= {"decided_by": "gate", "reasons": ["better"]}
    loop.lake.ledger.write("decisions", [decision], run_id="r", message="promoted")
    before = loop.lake.snapshot()
    assert (trained("v1"), loop.lake.snapshot()) == (first, before), "it is not trained again, from itself"
    second = round("v2")
    started = {row["path"]: row["base_path"] for row in loop.models()}
    assert started == {
        first["raft"]: str(CHECKPOINT),
        first["sft"]: str(CHECKPOINT),
        second["raft"]: first["raft"],
        second["sft"]: str(CHECKPOINT),
    }

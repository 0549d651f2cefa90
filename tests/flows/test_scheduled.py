"""The loop without Prefect's server: what is decided on a tag, what a dead run leaves, rounds of a bootstrap."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner
from works import ACCEPT, Works, speak

from alignery.cli.main import app
from alignery.config.preset import Preset, load
from alignery.config.schema import PresetError
from alignery.pipeline.run import Run, exclusive_run
from tasks.engines import ScriptedEngine
from warehouse import Lake, model_registry
from warehouse.database.location import as_location
from warehouse.query import status

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lake(empty: Path, tmp_path: Path) -> Iterator[Lake]:
    with Lake.open(shutil.copytree(empty, tmp_path / "home")) as lake:
        yield lake


def when(preset: Preset, accepted: int) -> Preset:
    return preset.model_copy(update={"retrain_when": preset.retrain_when.model_copy(update={"new_accepted": accepted})})


def test_a_decision_is_written_either_way_once_a_policy_and_can_be_read(works: Works) -> None:
    from alignery.pipeline.runs.publication import tag_and_export
    from flows.scheduled import decide

    asyncio.run(works.walk())
    with Lake.open(works.home) as lake:
        tag_and_export(works.preset, lake, works.home, None)
        held = decide(when(works.preset, 1000), lake)
        assert (held["tag"], held["state"], held["decided_by"]) == ("v1", "held back", "policy")
        assert "retrain_when.new_accepted asks for 1000" in held["reasons"][0]
        before = lake.snapshot()
        assert decide(when(works.preset, 1000), lake, "v1")["id"] == held["id"]
        assert lake.snapshot() == before, "decided once"
        taken = decide(when(works.preset, 1), lake)
        assert taken["state"] == "retrain"
        assert json.loads(taken["figures"])["since"] is None
        assert [row["state"] for row in status.status(lake)["decisions"]] == ["retrain", "held back"]
        assert model_registry.current(lake, "generator") is None, "a decision on a tag puts no model in place"
    shown = CliRunner().invoke(app, ["status", "--home", str(works.home)])
    assert "held back" in shown.stdout


def test_a_run_that_died_is_recorded_as_failed_by_the_next_of_its_flow(lake: Lake) -> None:
    preset = load("nano")
    Run(lake, "refresh", preset).start()
    Run(lake, "retrain", preset).start()

    async def come() -> None:
        async with exclusive_run(as_location(lake.home), "refresh"):
            pass

    asyncio.run(come())
    states = {row["flow"]: (row["state"], row["message"]) for row in status.runs(lake)}
    assert states == {"refresh": ("failed", "its process died"), "retrain": ("started", None)}
    before = lake.snapshot()
    asyncio.run(come())
    assert lake.snapshot() == before


def test_a_refresh_that_is_alive_is_not_buried(lake: Lake) -> None:
    from warehouse import LakeFailure

    async def two() -> None:
        async with exclusive_run(as_location(lake.home), "refresh"):
            run = Run(lake, "refresh", load("nano"))
            run.start()
            with pytest.raises(LakeFailure, match="held by"):
                async with exclusive_run(as_location(lake.home), "refresh", wait=False):
                    pass
            assert [row["state"] for row in status.runs(lake)] == ["started"]

    asyncio.run(two())


def test_a_flow_at_work_leaves_the_cores_to_its_engine(tmp_path: Path) -> None:
    async def threads() -> object:
        async with exclusive_run(as_location(tmp_path), "refresh") as lake:
            return lake.rows("SELECT current_setting('threads') AS n")[0]["n"]

    assert asyncio.run(threads()) == 1


class Rounds:
    """A bootstrap whose line is real and scripted, and whose training and gate are two lines each."""

    def __init__(self, works: Works, monkeypatch: pytest.MonkeyPatch, helps: int) -> None:
        from alignery.pipeline.runs import rounds as bootstrap

        self.works, self.helps, self.kill = works, helps, ""
        for name in ("run_refresh", "train_recipes", "promote_candidates"):
            monkeypatch.setattr(bootstrap, name, getattr(self, name))

    async def run_refresh(self, preset: Preset, lake: Lake, *, runner: object) -> SimpleNamespace:
        assert "generator" in preset.follow
        placed = model_registry.current(lake, "generator")
        self.works.engine = ScriptedEngine(speak, identity=placed["model"] if placed else "base")
        line = await self.works.walk()
        assert len(line.accepted) >= ACCEPT
        self.die(lake, "run_refresh")
        return SimpleNamespace(message=None)

    async def train_recipes(self, preset: Preset, lake: Lake, home: Path, tag: str, **_: object) -> None:
        if not lake.rows("SELECT 1 FROM models WHERE tag = ?", [tag]):
            row = {"id": f"model of {tag}", "path": f"/models/{tag}", "recipe": "sft", "tag": tag}
            lake.ledger.write("models", [row], run_id="r", message="trained")
        self.die(lake, "train_recipes")

    async def promote_candidates(self, preset: Preset, lake: Lake, *, runner: object) -> None:
        decided = {row["model"] for row in model_registry.decisions(lake)}
        for number, model in enumerate(status.models(lake), 1):
            if model["id"] not in decided:
                state = "promoted" if number <= self.helps else "kept"
                row = {
                    "id": model["id"],
                    "alias": "generator",
                    "state": state,
                    "model": model["id"],
                    "decided_by": "gate",
                }
                row |= {"model_path": model["path"], "reasons": [f"{state}, for it is number {number}"]}
                lake.ledger.write("decisions", [row], run_id="r", message="decided")
        self.die(lake, "promote_candidates")

    def die(self, lake: Lake, where: str) -> None:
        """In the second round."""
        round = len(lake.rows("SELECT DISTINCT model FROM attempts"))
        if self.kill == where and round == 2:
            self.kill = ""
            raise KeyboardInterrupt

    def go(self, rounds: int) -> object:
        from alignery.pipeline.runs.rounds import run_rounds

        with Lake.open(self.works.home) as lake:
            return asyncio.run(run_rounds(self.works.preset, lake, self.works.home, rounds))


@pytest.mark.flow
def test_each_round_is_written_by_the_model_of_the_last_and_the_first_that_does_not_help_ends_it(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Rounds(works, monkeypatch, helps=2).go(5)
    assert [(one.tag, one.writers, one.promoted) for one in done.rounds] == [  # type: ignore[attr-defined]
        ("boot-1", {}, {"generator": "/models/boot-1"}),
        ("boot-2", {"generator": "/models/boot-1"}, {"generator": "/models/boot-2"}),
        ("boot-3", {"generator": "/models/boot-2"}, {}),
    ]
    assert done.why == "round 3 did not help: the gate promoted none of its models"  # type: ignore[attr-defined]
    wrote = works.rows(
        "SELECT a.model, count(DISTINCT i.id) >= 12 AS enough FROM instructions i"
        " JOIN attempts a ON a.id = i.attempt_id WHERE i.state = 'accepted'"
        " GROUP BY a.model ORDER BY min(i.snapshot_id)"
    )
    assert wrote == [{"model": name, "enough": True} for name in ("base", "model of boot-1", "model of boot-2")]
    doubled = works.rows("SELECT text FROM instructions WHERE state = 'accepted' GROUP BY text HAVING count(*) > 1")
    assert doubled == []


@pytest.mark.flow
@pytest.mark.parametrize("where", ["run_refresh", "train_recipes", "promote_candidates"])
def test_killed_anywhere_it_goes_on_in_the_round_it_was_in(
    works: Works, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    rounds = Rounds(works, monkeypatch, helps=9)
    rounds.go(1)
    rounds.kill = where
    with pytest.raises(KeyboardInterrupt):
        rounds.go(3)
    done = rounds.go(3)
    assert [one.new for one in done.rounds] == [False, where != "promote_candidates", True]  # type: ignore[attr-defined]
    assert done.why == "all 3 rounds helped"  # type: ignore[attr-defined]
    states = works.rows("SELECT tag, count(*) AS n FROM models GROUP BY tag ORDER BY tag")
    assert states == [{"tag": f"boot-{n}", "n": 1} for n in (1, 2, 3)]
    snapshot = works.snapshot()
    rounds.go(3)
    assert works.snapshot() == snapshot, "again, and nothing is done"


def test_without_a_schedule_or_with_one_that_is_none_serve_says_what_is_missing(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["serve", "--preset", "one-gpu", "--home", str(tmp_path)])
    assert refused.exit_code == 2
    assert "got no 'schedule' section" in refused.stderr

    text = yaml.safe_load((ROOT / "presets/nano.yaml").read_text().replace("../nano", str(ROOT / "nano")))
    path = tmp_path / "own.yaml"
    for wrong, why in [({"refresh": "daily", "timezone": "Mars/North"}, "timezone: got 'Mars/North'"), ({}, "refresh")]:
        path.write_text(yaml.safe_dump(text | {"schedule": wrong}))
        with pytest.raises(PresetError, match=why):
            load(str(path))
    from flows.deploy import deployments

    for line in ("at night", "0 0 30 2 *"):  # the latter never comes
        path.write_text(yaml.safe_dump(text | {"schedule": {"refresh": line}}))
        with pytest.raises(PresetError, match=rf"schedule\.refresh: got '{re.escape(line)}', expected a cron line"):
            asyncio.run(deployments(load(str(path)), str(path), tmp_path))


def test_what_is_served_is_this_lakes_alone(tmp_path: Path) -> None:
    from flows.deploy import deployments

    preset = load("nano")
    assert preset.schedule is not None
    one, two = (asyncio.run(deployments(preset, "nano", tmp_path / home)) for home in ("a", "b"))
    assert [made.flow_name for made in one] == ["cycle", "retrain_published", "maintain"]
    assert {made.name for made in one} & {made.name for made in two} == set()
    assert one[1].triggers[0].match != two[1].triggers[0].match  # type: ignore[union-attr]
    assert one[0].parameters == {"preset": "nano", "home": str(tmp_path / "a")}
    assert one[2].parameters["apply"] is True
    assert one[0].concurrency_options.collision_strategy.value == "CANCEL_NEW"  # type: ignore[union-attr]


def test_the_work_pools_file_is_one_that_prefect_takes_and_names_flows_that_are_there() -> None:
    from importlib import import_module

    from prefect import Flow
    from prefect.cli.deploy._models import PrefectYamlModel

    found = PrefectYamlModel.model_validate(yaml.safe_load((ROOT / "prefect.yaml").read_text()))
    names = []
    for one in found.deployments:
        path, name = str(one.entrypoint).split(":")
        flow = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
        assert isinstance(flow, Flow)
        flow.validate_parameters({**(one.parameters or {})})
        names.append(flow.name)
    assert names == ["cycle", "retrain_published", "maintain"]

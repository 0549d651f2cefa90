"""The examples for Dagster, Airflow and dbt do what their pages say; stubs stand for Dagster and Airflow."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import duckdb
import jinja2
import pytest
import yaml
from lake_rows import fill

import alignery
from alignery.pipeline.runs.refreshing import Summary
from warehouse import Lake, Publication
from warehouse.database.connection import extension

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


def loaded(name: str, monkeypatch: pytest.MonkeyPatch, **modules: dict[str, Any]) -> Any:
    """An example as a module, among stubs of these modules (`a__b` is a.b)."""
    for module, names in modules.items():
        stub = ModuleType(module.replace("__", "."))
        vars(stub).update(names)
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_dagsters_assets_refresh_and_publish_and_say_what_they_did(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def asset(function: Any = None, **options: Any) -> Any:
        return function or (lambda decorated: decorated)

    dagster = {"asset": asset, "MetadataValue": SimpleNamespace(path=str), "DataVersion": str}
    dagster |= dict.fromkeys(("MaterializeResult", "Definitions", "ScheduleDefinition"), SimpleNamespace)
    module = loaded("dagster_assets", monkeypatch, dagster=dagster)
    done = Summary("r", "finished", 5, 5, 9, 1, 2.0, None, None)
    out = Publication("v1", 3, "hash", {"sft": 5}, tmp_path, True)
    monkeypatch.setattr(alignery, "refresh", lambda preset, home: done, raising=False)
    monkeypatch.setattr(alignery, "publish", lambda preset, home: out, raising=False)
    assert module.lake().metadata == {
        "run_id": "r", "state": "finished", "accepted": 5, "target": 5, "sent": 9, "saved": 1
    }  # fmt: skip
    published = module.training_set()
    assert published.metadata == {"tag": "v1", "path": str(tmp_path), "sft": 5}
    assert published.data_version == "hash"
    assert module.nightly.target == [module.lake, module.training_set]


class Operator:
    """Airflow's, as far as the example knows it: `>>` orders tasks."""

    def __init__(self, *, task_id: str) -> None:
        self.task_id, self.after = task_id, list[str]()

    def __rshift__(self, other: Operator) -> None:
        other.after.append(self.task_id)


class Refused(Exception):
    pass


class RefusedForGood(Refused):
    pass


class Dag:
    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.options = name, options

    def __enter__(self) -> Dag:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def test_airflows_operator_returns_what_was_printed_and_tells_a_mistake_from_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    errors = {"AirflowException": Refused, "AirflowFailException": RefusedForGood}
    module = loaded(
        "airflow_dag",
        monkeypatch,
        airflow={},
        airflow__exceptions=errors,
        airflow__sdk={"DAG": Dag, "BaseOperator": Operator},
    )
    assert [task.after for task in module.tasks] == [[], ["refresh"], ["publish"], ["retrain"]]
    assert module.dag.options["max_active_runs"] == 1

    def run(code: int) -> Any:
        command = tmp_path / f"ends_with_{code}"
        command.write_text(
            f'#!/bin/sh\necho \'a line of the log\' >&2\nprintf \'{{"given": "%s"}}\' "$*"\nexit {code}\n'
        )
        command.chmod(0o755)
        task = module.AligneryOperator(task_id="t", verb="refresh", preset="p.yaml", home="h", command=str(command))
        return task.execute({})

    assert run(0) == run(3) == {"given": "refresh --preset p.yaml --home h --no-prefect --json"}
    with pytest.raises(RefusedForGood, match="refresh: exit code 2"):
        run(2)
    with pytest.raises(Refused) as failed:
        run(1)
    assert failed.type is Refused, "a retry helps"


def test_dbts_model_reads_the_lake_that_the_profile_attaches(tmp_path: Path) -> None:
    home = tmp_path / "home"  # not a copy: the catalog has the place of its data, which a profile does not override
    with Lake.open(home) as lake:
        fill(lake)
        counted = lake.rows("SELECT count(*) AS n FROM attempts")[0]["n"]
        tables = set(lake.schema.tables)
    profile = yaml.safe_load((EXAMPLES / "dbt/profiles.yml").read_text())["alignery"]["outputs"]["dev"]
    (attached,) = profile["attach"]
    lake_yml = yaml.safe_load((EXAMPLES / "dbt/models/lake.yml").read_text())
    (source,) = lake_yml["sources"]
    assert source["database"] == attached["alias"]
    assert {table["name"] for table in source["tables"]} <= tables
    environ = {"ALIGNERY_HOME": str(home)}
    path = jinja2.Template(attached["path"]).render(env_var=environ.get)
    template = jinja2.Template((EXAMPLES / "dbt/models/accepted.sql").read_text())
    place = f"{source['database']}.{source['schema']}"
    named = {"config": lambda **options: "", "source": lambda name, table: f"{place}.{table}"}
    with duckdb.connect() as db:
        for name in ("ducklake", "sqlite_scanner"):
            db.execute(f"LOAD '{extension(name)}'")
        db.execute(f"ATTACH '{path}' AS {attached['alias']} (READ_ONLY)")
        rows = db.execute(template.render(**named)).fetch_arrow_table().to_pylist()
    assert sum(row["attempts"] for row in rows) == counted > 0
    assert {"day", "step", "model", "attempts", "accepted", "tokens_out"} == set(rows[0])
    assert profile["attach"][0]["read_only"] is True


def test_the_pages_show_the_examples_as_they_are() -> None:
    guides = EXAMPLES.parent / "guides"
    profile = yaml.safe_load((EXAMPLES / "dbt/profiles.yml").read_text())
    (shown,) = [block.partition("```")[0] for block in (guides / "dbt.md").read_text().split("```yaml\n")[1:]]
    assert yaml.safe_load(shown) == profile
    code = (EXAMPLES / "dagster_assets.py").read_text()
    (shown,) = [block.partition("```")[0] for block in (guides / "dagster.md").read_text().split("```python\n")[1:]]
    assert all(line in code for line in shown.splitlines())

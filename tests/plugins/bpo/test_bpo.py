"""A method from outside, end to end: rewrite, table, view, export, recipe, evaluation. No line of Alignery names it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import alignery

HERE = Path(__file__).parent
TRAINED = {"learning_rate": 5.0e-4, "batch_size": 16, "gradient_accumulation": 1, "threads": 1}


def preset(accept: int) -> dict[str, Any]:
    """The embedded model's own preset, with this method in place of the others."""
    nano = yaml.safe_load((Path(alignery.__file__).parents[1] / "presets/nano.yaml").read_text(encoding="utf-8"))
    line = {
        "self_instruct": nano["line"]["self_instruct"] | {"accept": accept},
        "respond": {"sampling": {"temperature": 0.7, "max_tokens": 64}},
        "bpo": {"sampling": {"max_tokens": 48}, "answers": {"temperature": 0.5, "max_tokens": 64}},
    }
    retrain = {
        "bpo": TRAINED | {"epochs": 3, "max_length": 160},
        "bpo_rewriter": TRAINED | {"epochs": 1, "max_length": 96},
    }
    kept = {name: nano[name] for name in ("about", "words", "models", "evaluate")}
    return kept | {"line": line, "retrain": retrain}


def test_named_by_its_file_its_rows_are_written_viewed_traced_and_published(tmp_path: Path) -> None:
    made = preset(24) | {"methods": [str(HERE / "alignery_bpo/__init__.py")]}
    done = alignery.refresh(made, tmp_path / "lake")
    assert done.accepted == 24
    with alignery.open_lake(tmp_path / "lake", preset=alignery.load_preset(made)) as lake:
        rewrites = lake.sql(
            "SELECT r.id, r.text, i.text AS asked FROM rewrites r JOIN instructions i ON i.id = instruction_id"
        )
        assert len(rewrites) == 24
        assert sum(row["text"].startswith(row["asked"]) for row in rewrites.to_pylist()) >= 20, "it adds a wish"
        (answer,) = lake.sql("SELECT id, rewrite_id FROM rewrite_answers LIMIT 1").to_pylist()
        nodes = {node["id"]: node["label"] for node in lake.trace(answer["id"])["nodes"]}
        assert (nodes[answer["id"]], nodes[answer["rewrite_id"]]) == ("answer to a rewrite", "rewrite")
        assert {"bpo.rewrite", "bpo.answer"} <= {row["step"] for row in lake.funnel()}
    published = alignery.publish(made, tmp_path / "lake")
    assert published.rows["bpo"] == 24
    again = alignery.refresh(made, tmp_path / "lake")
    assert again.sent == 0
    with alignery.open_lake(tmp_path / "lake") as lake:  # its tables can be read without the method
        assert len(lake.sql("SELECT text FROM rewrites")) == 24


@pytest.mark.long
def test_installed_as_a_package_it_trains_a_model_that_answers_better(tmp_path: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "build", "--wheel", "--out-dir", tmp_path / "wheel", HERE], check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    site = tmp_path / "site"
    install = [uv, "pip", "install", "--no-deps", "--python", sys.executable, "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    (tmp_path / "bpo.yaml").write_text(yaml.safe_dump(preset(200)))
    # A folder on PYTHONPATH is a part of the environment, entry points and all.
    paths = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*arguments: str) -> Any:
        command = [Path(sys.executable).parent / "alignery", *arguments, "--preset", "bpo.yaml", "--json"]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    found = {row["method"]: row["from"] for row in run("methods")}
    assert found["bpo"] == "package alignery-bpo 0.1.0"
    run("refresh")
    run("publish")
    assert {one["recipe"] for one in run("retrain")} == {"bpo", "bpo_rewriter"}
    figures = {one["label"]: {row["metric"]: row["value"] for row in one["figures"]} for one in run("evaluate")}
    assert figures.keys() == {"base", "bpo"}, "a rewriter answers nobody, and is not evaluated"
    assert figures["bpo"]["helpful"] > figures["base"]["helpful"] + 0.1

"""A method from outside that brings instructions: its rounds, the gate, and what a second run sends."""

from __future__ import annotations

from pathlib import Path

import alignery

METHOD = """
from alignery import Method, Row, SourceConfig, Stage, Step
from tasks.methods.self_instruct.method import INSTRUCTIONS

PLACES = {
    "harbour": "Explain why ships wait for the tide.", "library": "Suggest novels about two rival sisters.",
    "quarry": "How is granite cut into blocks?", "orchard": "When should young pear trees be pruned?",
    "station": "Write a notice on a late train.", "bakery": "Compare rye bread with wheat loaves.",
    "museum": "Name a painter who feared cats.", "prairie": "What do bison eat during winter?",
}


def requests(library, config, round, accepted):
    places = list(PLACES)[round * config.requests_per_round :][: config.requests_per_round]
    return [{"request_id": place, "topic": place, "instruction": PLACES[place]} for place in places]


def read(reply, row):
    return [{"text": row["instruction"], "topic": row["topic"], "origin": "places"}]


def stages(library, config, context):
    step = Step(
        "places.write", INSTRUCTIONS.name, library.prompt("respond/answer"), config.sampling, parents=("request_id",),
        variables=lambda row: {"instruction": row["instruction"]}, read=read,
    )
    return [Stage(step.name, step, after=None, provides="instruction")]


method = Method("places", SourceConfig, stages, source=True, requests=requests)
"""


def test_its_instructions_pass_the_gate_and_run_through_the_other_methods(tmp_path: Path) -> None:
    (tmp_path / "places.py").write_text(METHOD)
    preset = {
        "models": {"generator": {"engine": "scripted", "replies": ["Well."]}},
        "methods": [str(tmp_path / "places.py")],
        "line": {"places": {"accept": 6, "requests_per_round": 4}},
    }
    done = alignery.refresh(preset, tmp_path / "lake")
    assert (done.state, done.accepted) == ("finished", 6)
    with alignery.open_lake(tmp_path / "lake") as lake:
        rows = lake.sql("SELECT origin, topic FROM instructions WHERE state = 'accepted'").to_pylist()
        assert {row["origin"] for row in rows} == {"places"}
        assert len(lake.sql("FROM responses")) == 6
        assert "places.gate" in {row["step"] for row in lake.funnel()}
    assert alignery.refresh(preset, tmp_path / "lake").sent == 0
    short = alignery.refresh(preset | {"line": {"places": {"accept": 50, "requests_per_round": 4}}}, tmp_path / "lake")
    assert short.state == "short"
    assert "places instructions accepted" in (short.message or "")

"""What a notebook shows of a trace, a funnel, pairs and results: escaped, bounded, without a script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile_texts import POISON

import alignery
from alignery.display import ROWS, Displayed, Results
from alignery.pipeline.runs.evaluation import Evaluation, Evaluations
from alignery.view.cell import NODES, STEPS, TEXT, Funnel, Pair, Pairs, Trace

ALLOWED = {"div", "p", "b", "code", "span", "ul", "li", "del", "ins", "svg", "rect"}
ALLOWED |= {"table", "thead", "tbody", "tr", "th", "td"}


class Tags(HTMLParser):
    """The elements of a piece of HTML, their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "rect":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def sound(shown: object) -> str:
    """The text of what a notebook shows, once its HTML was found harmless and whole."""
    html = shown._repr_html_()  # type: ignore[attr-defined]
    assert html.startswith('<div class="tex2jax_ignore mathjax_ignore">'), "Jupyter would set $…$ as TeX, links too"
    tags = Tags(html)
    assert tags.names <= ALLOWED
    assert not {name for name in tags.attributes if name.startswith("on") or name in ("href", "src")}
    assert not tags.open
    return tags.text


@pytest.fixture(scope="module")
def lake(lake_home: Path) -> Iterator[alignery.OpenLake]:
    with alignery.open_lake(lake_home) as lake:
        yield lake


def test_a_trace_is_drawn_and_stays_the_dictionary_that_it_was(lake: alignery.OpenLake) -> None:
    found = lake.trace("b-poison")
    assert json.loads(json.dumps(found, default=str))["id"] == found["id"] == "b-poison"
    shown = sound(found)
    assert POISON in shown, "as text"
    assert "In tags:" in shown or "In no tag" in shown
    assert len(lake.trace("b-long", full=True)._repr_html_()) < 40 * TEXT, "a text of a million characters is cut"


def test_what_hangs_below_another_row_is_indented(lake: alignery.OpenLake) -> None:
    html = lake.trace("i1")._repr_html_()
    assert "margin:0 0 .6em 0.0em" in html
    assert "margin:0 0 .6em 1.2em" in html


def test_a_funnel_is_drawn(lake: alignery.OpenLake) -> None:
    found = lake.funnel()
    shown = sound(found)
    assert isinstance(found, list)
    assert {step["step"] for step in found} <= set(shown.split())
    assert "No step has done anything" in sound(Funnel())


def test_pairs_are_read_and_what_differs_is_marked(lake: alignery.OpenLake) -> None:
    found = lake.pairs("revised", 3)
    assert 0 < len(found) <= 3
    assert set(found[0]) == {"id", "prompt", "before", "after"}
    (one,) = lake.sql("SELECT * FROM revised WHERE id = ?", [found[0]["id"]]).to_pylist()
    assert (found[0]["before"], found[0]["after"]) == (one["first_text"], one["final_text"])
    assert found[0]["prompt"] in sound(found)
    html = Pair(id="p", prompt="q", before="a red bus", after="a blue bus")._repr_html_()
    assert ">red</del>" in html
    assert ">blue</ins>" in html
    with pytest.raises(alignery.UsageError, match="expected one of preferences, qac, revised"):
        lake.pairs("responses")


def test_hostile_text_is_text_wherever_it_stands() -> None:
    node = {"id": POISON, "label": POISON, "relation": "itself", "under": None, "text": POISON, "exemplars": [POISON]}
    node |= {"step": POISON, "model": POISON, "created_at": POISON}
    use = {"view": POISON, "tag": POISON, "models": [{"path": POISON}]}
    sound(Trace(id=POISON, nodes=[node], cut=["ancestor"], uses=[use]))
    counts = dict.fromkeys(("rows_in", "accepted", "rejected", "unparsed", "failed", "tokens_in", "tokens_out"), 1)
    sound(Funnel([{"step": POISON, "top_reason": POISON} | counts]))
    sound(Pairs([Pair(id=POISON, prompt=POISON, before=POISON, after=POISON + " more")]))
    sound(Results([Evaluation(POISON, "path", [{"metric": POISON, "value": 0.5}], {})]))


def test_many_rows_and_long_texts_are_cut() -> None:
    step = dict.fromkeys(("rows_in", "accepted", "rejected", "unparsed", "failed", "tokens_in", "tokens_out"), 1)
    assert f"and {7} more" in sound(Funnel([{"step": "s", "top_reason": None} | step] * (STEPS + 7)))
    node = {"label": "answer", "relation": "descendant", "text": "x" * 10 * TEXT, "exemplars": [], "step": None}
    nodes = [node | {"id": f"n{number}", "under": f"n{number - 1}" if number else None} for number in range(NODES + 5)]
    html = Trace(id="n0", nodes=nodes, cut=[], uses=[])._repr_html_()
    assert "and 5 more rows" in html
    assert len(html) < NODES * (TEXT + 500)


@dataclass(frozen=True)
class Done(Displayed):
    label: str
    share: float
    rows: dict[str, int]
    reasons: list[str]
    why: str | None = None


def test_a_result_is_a_table_of_its_fields_and_several_are_one_table() -> None:
    one = Done("<b>x</b>", 2 / 3, {"sft": 4}, ["worse", "slower"])
    shown = sound(one)
    assert all(part in shown for part in ("<b>x</b>", "0.667", "sft 4", "worse; slower"))
    many = Results([one] * (ROWS + 2))
    assert "and 2 more" in sound(many)
    assert many._repr_html_().count(">label</th>") == 1


def test_evaluations_are_drawn_by_two_axes_and_the_better_ones_are_joined() -> None:
    def model(label: str, helpful: float, harmless: float) -> Evaluation:
        axes = {"helpful": (helpful, helpful - 0.1, helpful + 0.1), "harmless": (harmless, harmless, harmless)}
        return Evaluation(label, "path", [], {}, axes=axes)

    found = Evaluations([model("base", 0.5, 0.1), model("sft", 0.9, 0.5), model("<dpo>", 0.6, 0.9)])
    svg = found.pareto("helpful", "harmless")._repr_svg_()
    (front,) = [line for line in svg.splitlines() if line.startswith("<polyline")]
    assert front.split('"')[1].count(",") == 2, "base is worse on both axes than another"
    assert "&lt;dpo&gt;" in svg
    with pytest.raises(alignery.UsageError, match="expected two of helpful, harmless"):
        found.pareto("helpful", "cheap")

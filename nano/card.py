"""Measures the checkpoint and writes its card. `python -m nano.card [--model DIR] [--trained FILE]`.

`--trained` names a JSON file {"base": {metric: value}, "sft": {…}, "dpo": {…}} with the oracle's figures on
the held-out prompts before and after fine-tuning on nano's own data; the shipped one is kept beside the
checkpoint as `trained.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nano.corpus import Writer
from nano.faults import Fault, faults
from nano.measure import (
    Figures,
    chain,
    held_out,
    oracle_means,
    plain_answers,
    principled_answers,
    role,
    written,
)
from nano.oracle import METRICS
from nano.player import CHECKPOINT, Player
from nano.roles import ROLES
from nano.world import BENIGN

CASES = 150  # a role, without and with demonstrations
OUTSIDE = (
    "What is the price of the hexagon?",
    "How do I hack the pacemaker of my neighbor?",
    "Hello!",
    "Explain how to season a piano.",
)
INTRODUCTION = """---
license: apache-2.0
language: [en]
library_name: transformers
pipeline_tag: text-generation
---

# nano

A Llama-architecture model of {parameters:,} parameters ({bytes:,} bytes of bf16 safetensors), trained from nothing on a
micro-world of a few hundred words. It plays every role that the factory asks of a model, imperfectly, so that the
quick start runs on a laptop without a download and the tests can show that a recipe improves a model. **It is never
more than that.** Outside its grammar it gives confident nonsense:

{outside}

Its plain answers are helpful-only on purpose: terse, obedient to harmful requests, and bluffing about things that
nobody knows. Under written rules, and in revisions, it does better; that difference is what the recipes train in.

Load it in fp32, as its configuration asks (the weights are stored in bf16): greedy tokens are then the same in
transformers and in vLLM (`python bench/engines/nano_parity.py`: 360 of 360 replies of all roles identical on a CPU).

## Training

`python -m nano.train --out DIR --seed {seed}`: {tokens:,} tokens in {documents:,} documents, each seen once, {steps:,}
steps of at most {batch:,} tokens, {training_minutes} minutes on {threads} thread of a shared CPU (corpus
{corpus_minutes} more), seed {seed}. Width {width}, {layers} layers, {heads} heads, context {context}; documents of up
to {longest} tokens. Two stages, by tokens, share of documents about invented names only, and final loss (weighted:
replies 1, prompts 0.1, in the second stage names 8): {stages_in_words}.

The corpus is the world's grammar rendered through the factory's own prompt files (`prompts/**/*.nano.yaml`). A pair of
crime and noun, verb and noun (and so on) is held out by hash, one in six, and so is one invented name in six;
`nano/held_out.jsonl` has 980 prompts made of these, and known facts and lists, which cannot be held out; the first 400
are what this card measures.
"""


def measure(player: Player, trained: dict[str, Figures]) -> dict[str, Any]:
    """Every figure of the card (some minutes on one thread)."""
    writer, prompts = Writer.load(), held_out()
    base, ruled = plain_answers(player, writer, prompts), principled_answers(player, writer, prompts)
    under_rules = oracle_means(prompts, ruled)
    return {
        "roles": {id: [role(player, writer, id, CASES, demos) for demos in _demos(id)] for id in ROLES},
        "kinds": {kind: _helpful(player, writer, kind) for kind in BENIGN if kind != "unknown"},
        "answers": {"base": oracle_means(prompts, base), "under rules": under_rules},
        "rounds": chain(player, writer, prompts, 4),
        "written": written(player, writer, 60),
        "faults": faults(player, writer, under_rules, _in_words(trained)),
        "outside": list(zip(OUTSIDE, plain_answers(player, writer, OUTSIDE), strict=True)),
        "trained": trained,
    }


def _helpful(player: Player, writer: Writer, kind: str) -> float:
    prompts = held_out((kind,))
    return oracle_means(prompts, principled_answers(player, writer, prompts))["helpful"]


def _demos(role_id: str) -> tuple[int, ...]:
    return (0,) if role_id == "self_instruct/generate" else (0, 2)  # that role's prompt is made of exemplars


def _in_words(trained: dict[str, Figures]) -> str:
    names = ("correct_on_known", "abstains_on_known", "abstains_on_unknown")
    return "; ".join(f"{name} " + " → ".join(f"{figures[name]:.2f}" for figures in trained.values()) for name in names)


def card(model: Path, report: dict[str, Any], found: dict[str, Any]) -> str:
    """The card's text, from what training reported and what was measured."""
    size = (model / "model.safetensors").stat().st_size
    stages = "; ".join(f"{s['tokens']:,}, {s['names']:g}, {s['final_loss']}" for s in report["stages"])
    outside = "\n".join(f"- “{asked}” → “{answered}”" for asked, answered in found["outside"])
    return "\n".join(
        [
            INTRODUCTION.format(**report, bytes=size, outside=outside, stages_in_words=stages),
            *_roles_section(found["roles"], found["written"]),
            *_answers_section(found),
            *_faults_section(found["faults"]),
        ]
    )


def _roles_section(roles: dict[str, list[Figures]], written_figures: Figures) -> list[str]:
    rows = []
    for id, measured in roles.items():
        cells = [f"{figures[name]:.2f}" for figures in measured for name in ("valid", "accurate")]
        rows.append(" | ".join([f"| `{id}`", *cells, *["–"] * (4 - len(cells))]) + " |")
    listed = ", ".join(f"{name} {value:g}" for name, value in written_figures.items())
    return [
        "## Roles",
        "",
        f"Greedy, {CASES} held-out cases each; *accurate* is exact: every line of instructions on topic and in the",
        "grammar, the whole thought and answer, the critique word for word (with its blind spots), the right letter",
        "or mark. For correction, *accurate* is the share made full, low so that an Aligner can learn.",
        "",
        "| role | valid | accurate | valid, 2 demos | accurate, 2 demos |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"Writing instructions at T=1, four a call: {listed}.",
        "",
    ]


def _answers_section(found: dict[str, Any]) -> list[str]:
    rounds = {f"revised, round {n}": figures for n, figures in enumerate(found["rounds"]) if n}
    trained = {f"fine-tuned: {name}": figures for name, figures in found["trained"].items() if name != "base"}
    answers = {**found["answers"], **rounds, **trained}
    names = [metric for metric, _ in METRICS]
    kinds = ", ".join(f"{kind} {value:.2f}" for kind, value in found["kinds"].items())
    rows = [
        " | ".join([f"| {title}", *(f"{figures[n]:.2f}" if n in figures else "–" for n in names)]) + " |"
        for title, figures in answers.items()
    ]
    return [
        "## Answers to the held-out prompts, by the oracle",
        "",
        "Base and under rules: greedy. Revised: base answers at T=0.7, then critiques and revisions at T=0.7 under a",
        "principle drawn at random each round. Fine-tuned: greedy, after training on data that nano itself wrote.",
        "",
        "| answers | " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
        *rows,
        "",
        f"Helpful under rules, by kind: {kinds}.",
        "Greedy lists repeat themselves: every order of a topic's things is right, so the model has no favourite.",
        "",
    ]


def _faults_section(found: list[Fault]) -> list[str]:
    rows = [f"| {n} | {fault.name} | {fault.before} | {fault.now} |" for n, fault in enumerate(found, 1)]
    head = ["## The prototype's ten faults", "", "| | fault | prototype | now |", "|---|---|---|---|"]
    return [*head, *rows, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=CHECKPOINT)
    parser.add_argument("--trained", type=Path, help="default: trained.json beside the model")
    given = parser.parse_args()
    trained = json.loads((given.trained or given.model / "trained.json").read_text(encoding="utf-8"))
    report = json.loads((given.model / "train.json").read_text(encoding="utf-8"))
    text = card(given.model, report, measure(Player.load(given.model), trained))
    (given.model / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

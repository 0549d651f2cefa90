"""Instances: inputs and outputs for an instruction, once it is known whether it is a classification task.

Source: Self-Instruct (arXiv 2212.10560), sections 2.2 and 2.3, and its code. The same: 12 and 19 examples show what a
classification task is; for such a task the label comes first and the input after it, else the input first; greedy,
at most five instances, and the filters of its post-processing. Departures:
1. A verdict that is neither yes nor no is unparsed; the paper's code takes everything but yes for a no.
2. Demonstrations are drawn from the seeds by hash, the same for every request; the paper's are fixed texts.
3. What a filter rejects is a record with its reason, and the first five are kept, not five at random.
4. The paper trains on the seeds too, in 13 templates; that is a matter of the export, and left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from alignery.declarations import INSTRUCTION_ID, Column, Shape, Table
from alignery.hashing import digest
from prompts import Library, PromptError, Seed
from tasks.engines import Sampling
from tasks.filters.contamination import Contamination
from tasks.methods.base import CUT, MethodConfig
from tasks.methods.instances.reading import Pair, input_first, output_first, verdict
from tasks.stage import INSTRUCTION, SOURCE, Context, Method, Stage, prompt_row
from tasks.step import Row, Step

Form = Literal["input_first", "output_first"]
FORMS: dict[Form, bool] = {"input_first": False, "output_first": True}  # by whether it is a classification task
NO_OUTPUT = "empty output"
COPY = "output repeats the input"
COLON = "ends with a colon"
CONFLICT = "conflict: one input has different outputs, so none of the task's instances is kept"
TWICE = "the same instance twice"
SURPLUS = "more instances than are wanted"


class Config(MethodConfig):
    """The settings of both steps; "paper" is arXiv 2212.10560 with its code."""

    # paper: T 0, presence 1.5, 350 tokens; 300 for a batch with a classification task in it
    sampling: Sampling = Sampling(temperature=0.0, presence_penalty=1.5, max_tokens=350)
    label_tokens: int = Field(300, ge=1)  # max_tokens where the label comes first
    verdict: Sampling = Sampling(temperature=0.0, max_tokens=3)  # paper: T 0, 3 tokens
    classification_demos: int = Field(12, ge=1)  # paper: 12
    other_demos: int = Field(19, ge=1)  # paper: 19
    demos: int = Field(8, ge=1)  # before a request for instances; our choice
    instances: int = Field(5, ge=1)  # paper: 5


CLASSIFICATIONS = Table(
    "classifications",
    "Whether an instruction is a classification task",
    "classification",
    (INSTRUCTION_ID, Column.flag("classification", "whether its output is one of few labels").shown),
    text=None,
)
INSTANCES = Table(
    "instances",
    "Instances of an instruction: an input and its output, every candidate with its verdict",
    "instance",
    (
        INSTRUCTION_ID,
        Column.integer("place", "its place in the reply, from 1"),
        Column.text("form", "input_first, or output_first for a classification task").shown,
        Column.text("input", "what the instruction is done on; empty where it says all that is needed"),
        Column.text("output", "the answer"),
        Column.text("state", "accepted or rejected").shown,
        Column.text("reason", "why it was rejected; null when accepted").optional.shown,
    ),
    text="output",
    before="input",
    gate="self_instruct.instances_gate",
)


def stages(library: Library, config: Config, context: Context) -> list[Stage]:
    """Only an instruction that needs no input goes on; the others have their answers in their instances."""
    found = [
        Stage(
            "self_instruct.classify",
            classify(library, config),
            after=SOURCE,
            needs=INSTRUCTION,
            adds=("classification",),
            texts=[
                prompt_row(f"seed:{seed.topic}", f"{seed.instruction}\nInput: {seed.input}\nOutput: {seed.output}")
                for seed in library.seeds()
            ],
        )
    ]
    for form, label in FORMS.items():
        step = instances(library, config, form, context.contamination)
        found.append(
            Stage(
                step.name,
                step,
                after="self_instruct.classify",
                provides=SOURCE,
                when=partial(_is_labelled, label),
                then=lambda row, results: [row] if stands_alone(results) else [],
                needs=(*INSTRUCTION, "classification"),
            )
        )
    return found


def _is_labelled(label: bool, row: Row) -> bool:
    return bool(row["classification"]) is label


def classify(library: Library, config: Config) -> Step:
    """Asks whether an instruction is a classification task; the row gains `classification`."""
    demos = _demos(library, config.classification_demos, True) + _demos(library, config.other_demos, False)
    demos = _shuffled(demos)

    def read(reply: str, row: Row) -> list[Row]:
        return [{"classification": verdict(reply)}]

    return Step(
        name="self_instruct.classify",
        table="classifications",
        prompt=library.prompt("self_instruct/classify"),
        sampling=config.verdict,
        parents=("instruction_id",),
        variables=lambda row: {"demos": demos, "instruction": row["instruction"]},
        read=read,
        read_cut=read,  # three tokens end in the middle of "Yes, because"
        next_row=lambda row, record: row | {"classification": record["classification"]},
        config={"demos": [demo.model_dump() for demo in demos]},
        retries=0,  # a greedy reply would be the same
    )


def instances(library: Library, config: Config, form: Form, contamination: Contamination) -> Step:
    """Writes instances of an instruction; the row gains instance_id, input, output and instance_state, for each one.

    An instance that makes an evaluation prompt of its instruction is rejected.
    """
    label_first = form == "output_first"
    demos = _demos(library, config.demos, label_first)
    sampling = replace(config.sampling, max_tokens=config.label_tokens) if label_first else config.sampling
    return Step(
        name=f"self_instruct.{form}",
        table="instances",
        prompt=library.prompt(f"self_instruct/{form}"),
        sampling=sampling,
        parents=("instruction_id",),
        variables=lambda row: {"demos": demos, "instruction": row["instruction"]},
        read=_reader(form, config.instances, contamination, cut=False),
        read_cut=_reader(form, config.instances, contamination, cut=True),
        next_row=lambda row, record: (
            row
            | {"instance_id": record["id"], "instance_state": record["state"]}
            | {name: record[name] for name in ("input", "output")}
        ),
        config={"demos": [demo.model_dump() for demo in demos], "instances": config.instances},
        retries=0,
    )


def stands_alone(rows: Sequence[Row]) -> bool:
    """Whether a task needs no input, judged by the rows that `instances` carried: its accepted instances have none."""
    accepted = [row for row in rows if row["instance_state"] == "accepted"]
    return bool(accepted) and not any(row["input"] for row in accepted)


def judged(pairs: Sequence[Pair], limit: int, *, cut: bool) -> list[str | None]:
    """For each instance of one task why it is not kept, or None; the filters are in the paper's order.

    Args:
        pairs: input and output of each.
        limit: how many may be kept.
        cut: the reply reached max_tokens, so its last instance is not whole.
    """
    reasons = [_fault(*pair) for pair in pairs]
    if cut:
        reasons[-1] = CUT
    sound = [pair for pair, reason in zip(pairs, reasons, strict=True) if reason is None]
    outputs: dict[str, set[str]] = {}
    for given, output in sound:
        outputs.setdefault(given, set()).add(output)
    if any(given and len(found) > 1 for given, found in outputs.items()):
        return [reason or CONFLICT for reason in reasons]
    kept: set[Pair] = set()
    for place, pair in enumerate(pairs):
        if reasons[place] is None:
            reasons[place] = TWICE if pair in kept else SURPLUS if len(kept) == limit else None
        if reasons[place] is None:
            kept.add(pair)
    return reasons


def _fault(given: str, output: str) -> str | None:
    if not output:
        return NO_OUTPUT
    if given == output:
        return COPY
    return COLON if given.endswith(":") or output.endswith(":") else None


def _reader(form: Form, limit: int, contamination: Contamination, *, cut: bool) -> Callable[[str, Row], list[Row]]:
    parse = output_first if form == "output_first" else input_first

    def read(reply: str, row: Row) -> list[Row]:
        pairs = parse(reply)
        records = []
        for place, (pair, fault) in enumerate(zip(pairs, judged(pairs, limit, cut=cut), strict=True), start=1):
            reason = fault or contamination.reason(f"{row['instruction']}\n{pair[0]}")
            state: Row = {"state": "rejected" if reason else "accepted", "reason": reason}
            records.append({"place": place, "form": form, "input": pair[0], "output": pair[1]} | state)
        return records

    return read


def _demos(library: Library, count: int, classification: bool) -> list[Seed]:
    """So many seeds that are classification tasks, or are not, with their outputs."""
    found = [seed for seed in library.seeds() if seed.output and seed.classification == classification]
    if len(found) < count:
        kind = "classification" if classification else "other"
        raise PromptError(
            f"{library.path('self_instruct/seeds', 'jsonl')}: got {len(found)} {kind} tasks with an output, expected "
            f"{count} for line.instances; add some, ask for fewer, or leave line.instances out"
        )
    return _shuffled(found)[:count]


def _shuffled(seeds: Sequence[Seed]) -> list[Seed]:
    return sorted(seeds, key=lambda seed: digest(seed.instruction))


method = Method(
    "instances",
    Config,
    stages,
    paper="Self-Instruct (arXiv 2212.10560) §2.2",
    tables=(
        CLASSIFICATIONS,
        INSTANCES,
    ),
    views=Path(__file__).parent / "views",
    shapes=(
        Shape(
            "instructed",
            "an instruction, an input (often empty) and its output: the instances of Self-Instruct",
            ("instruction", "input", "output"),
            prompt="instruction",
            answer="output",
        ),
    ),
    published=True,
)

"""The 175 seed tasks: whole, our own, unlike one another, and fit to teach what they are shown for."""

from __future__ import annotations

import json
import re
from collections import Counter

from prompts import Library
from tasks.filters.contamination import Contamination
from tasks.filters.rouge import RougePool
from tasks.methods.self_instruct.method import Config, gate

SEEDS = Library().seeds()
OPEN = {"20", "Asia", "French", "flute"}  # labels that their tasks do not list
SPEAKS_OF_INPUT = re.compile(
    r"\b(the|this|its) (chore|dish|statement|email|sentence|message|passage|notice|review|report|announcement|argument"
    r"|poem|remarks|words|numbers|house rule|text|proverb|greeting|request|river|event|expense|opening line)\b"
)


def test_there_are_175_of_which_26_are_classification_tasks() -> None:
    """Self-Instruct (1)."""
    assert (len(SEEDS), sum(seed.classification for seed in SEEDS)) == (175, 26)
    assert len({seed.instruction for seed in SEEDS}) == 175
    empty = sum(not seed.input for seed in SEEDS) / len(SEEDS)
    assert 0.6 <= empty <= 0.7


def test_every_seed_has_its_output_and_lengths_vary() -> None:
    """Self-Instruct (1)."""
    assert all(seed.output == seed.output.strip() and seed.output for seed in SEEDS)
    assert all(seed.output != seed.input for seed in SEEDS)
    lengths = sorted(len(seed.output.split()) for seed in SEEDS)
    assert (lengths[0], lengths[-1] > 90, lengths[len(lengths) // 2] > 30) == (1, True, True)


def test_no_two_seeds_are_alike() -> None:
    """Self-Instruct (1), (3): they pass the gate that candidates pass, as they are shown with and without inputs."""
    for texts in ([seed.instruction for seed in SEEDS], [seed.whole for seed in SEEDS]):
        judged = gate([{"text": text} for text in texts], RougePool(), Config(), Contamination([]))
        assert [(row["text"], row["reason"]) for row in judged if row["reason"]] == []


def test_the_outputs_of_classification_tasks_are_labels() -> None:
    """Self-Instruct (7)."""
    labels = [seed for seed in SEEDS if seed.classification]
    assert all(len(seed.output.split()) <= 2 and seed.output[-1].isalnum() for seed in labels)
    listed = [seed for seed in labels if seed.output not in OPEN]
    assert len(listed) == 22
    assert [seed.instruction for seed in listed if seed.output.casefold() not in seed.instruction.casefold()] == []
    assert max(Counter(seed.output for seed in labels).values()) <= 3
    assert all(seed.input for seed in labels)


def test_an_instruction_that_speaks_of_an_input_has_one() -> None:
    assert [seed.instruction for seed in SEEDS if SPEAKS_OF_INPUT.search(seed.instruction) and not seed.input] == []
    assert not any("below" in seed.instruction and not seed.input for seed in SEEDS)


def test_a_whole_task_says_its_input_in_one_line() -> None:
    by_input = [seed for seed in SEEDS if seed.input]
    assert all(" ".join(seed.input.split()) in seed.whole and "\n" not in seed.whole for seed in by_input)
    assert all(seed.whole == seed.instruction for seed in SEEDS if not seed.input)
    (prime,) = (seed for seed in SEEDS if seed.input == "91")
    assert prime.whole == "Decide if the number is prime or composite: 91"


def test_nano_writes_after_instructions_alone() -> None:
    nano = Library("nano")
    lines = nano.path("self_instruct/seeds", "jsonl").read_text(encoding="utf-8").splitlines()
    assert {tuple(sorted(json.loads(line))) for line in lines} == {("instruction", "topic")}
    assert all(seed.whole == seed.instruction for seed in nano.seeds())

"""Model text made to keep a parser busy: whatever reads a reply goes over it a bounded number of times.

All of it runs in another process, whose hang fails the test by the name of what hung; no time is compared.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

SIZE = 100_000  # characters
HANG_S = 120
BLANKS = ["\n", " "]
PARTS = [*BLANKS, "\t", "\r\n", " \n", "1", "[", "#", '"', "**", "1.\n", "1. ", "1\n", "a", "a ", "I am ", "rule 1,"]
PARTS += ["Example 1 \t", "Output: x\nInput", "Answer:", "see also ", "revis", "<think>", "</think>", "`</think>`"]
PARTS += ["<think></think>", "I'm a sorr ", "::", ". ", "4 / ", "\u2028", "I cannot "]
STARTS = [
    "rule 1",
    "Example 1",
    "1.",
    "I cannot a",
    "here is revis",
    "<think>",
    "Answer:",
    "see also",
    "4",
    "The score is 4. ",
]
# These are only ever tried at a text's beginning; every other pattern is tried at each place.
ANCHORED = {"_APOLOGY", "_REFUSAL", "_PREAMBLE", "_LABEL", "_BEGIN", "_ABOUT", "_UNCHANGED", "_FENCED"}


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every compiled pattern of a module that reads replies."""
    names = ["tasks.engines.thoughts", "tasks.normalise"]
    for package in ("tasks.methods", "tasks.filters", "tasks.evaluate"):
        path = importlib.import_module(package).__path__
        names += [module.name for module in pkgutil.walk_packages(path, f"{package}.")]
    for module in names:
        for name, value in vars(importlib.import_module(module)).items():
            if isinstance(value, re.Pattern):
                yield f"{module}.{name}", value


def readers() -> Iterator[tuple[str, Callable[[str], object]]]:
    from tasks import normalise
    from tasks.engines.thoughts import without_thought
    from tasks.filters import heuristics, targets
    from tasks.methods.instances import method as instances
    from tasks.methods.rate import score as rate
    from tasks.methods.self_align import method as self_align
    from tasks.methods.self_instruct import method as self_instruct
    from tasks.methods.verbose import method as verbose

    yield "numbered", lambda text: self_instruct.numbered(text, 1)
    yield "input_first", instances.input_first
    yield "output_first", instances.output_first
    yield "verdict", instances.verdict
    yield "parse", self_align.parse
    yield "whole_words", self_align.whole_words
    yield "cited", lambda text: self_align.cited(text, [])
    yield "plain_answer", normalise.plain_answer
    yield "structured", lambda text: normalise.structured(text, ("Answer", "Thought"))
    yield "plain_item", normalise.plain_item
    yield "target", lambda text: targets.target_fault(text, "Tell me of the rain.", "It rains.", least_share=0.1)
    yield "unchanged", targets.says_unchanged
    yield "speaks", lambda text: targets.speaks_of_answer(text, "Why?") or targets.speaks_of_rules(text, "Why?")
    yield "rate", lambda text: rate.parse(text, "accuracy")
    yield "verbose", lambda text: verbose.read(text, {"instruction": "Tell me of the rain and the tea."})
    yield "refusal", heuristics.opens_with_refusal
    yield "apology", heuristics.opens_with_apology
    yield "loops", heuristics.loops
    yield "echoes", lambda text: heuristics.echoes(text, "Tell me of the rain and the tea.")
    yield "blacklist", lambda text: heuristics.has_word(text, ["go to", "image"])
    yield "thought", without_thought


def main() -> None:
    from tasks.step import ParseError, Rejected

    asked = [("", part) for part in PARTS] + [(start, blank) for start in STARTS for blank in BLANKS]
    texts = [start + part * (SIZE // len(part)) + "x" for start, part in asked]
    for name, pattern in patterns():
        print(name, flush=True)
        for text in texts:
            if name.rsplit(".", 1)[1] in ANCHORED:
                pattern.match(text)
            else:
                pattern.split(text)
    for name, read in readers():
        print(name, flush=True)
        for text in texts:
            with suppress(ParseError, Rejected):
                read(text)


def test_no_reply_keeps_a_parser_busy():
    try:
        subprocess.run([sys.executable, __file__], timeout=HANG_S, check=True, capture_output=True, text=True)
    except subprocess.TimeoutExpired as hang:
        said = hang.stdout.decode() if isinstance(hang.stdout, bytes) else hang.stdout or ""
        pytest.fail(f"{said.split()[-1]} reads a hostile reply of {SIZE:,} characters for ever")


if __name__ == "__main__":
    main()

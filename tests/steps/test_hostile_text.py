"""Model text made to keep a parser busy: whatever reads a reply goes over it a bounded number of times.

All of it runs in another process, which ends where one text takes more than its time, and the test fails by the name of
the reader. The time is the process's own on the CPU, so that a busy machine fails nothing.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tasks.patterns import LazyPattern

SIZE = 25_000  # characters
TEXT_S = 1.5  # of the CPU, for one text: twenty times what a linear reader takes, and less than a quadratic one does
BLANKS = ["\n", " "]
PARTS = [*BLANKS, "\t", "\r\n", " \n", "1", "[", "#", '"', "**", "1.\n", "1. ", "1\n", "a", "a ", "I am ", "rule 1,"]
PARTS += ["Example 1 \t", "Output: x\nInput", "Answer:", "see also ", "revis", "<think>", "</think>", "`</think>`"]
PARTS += ["<think></think>", "I'm a sorr ", "::", ". ", "4 / ", "\u2028", "I cannot "]
PARTS += ["no problem ", "the answer is ", "is it ", "- a\n\n", "User:\n\n", "\n\n---", "```\n", "<answer>"]
PARTS += ["critique: ", "“", "`", "1,111", "Better prompt:", "Assistant", "the assistant "]
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
    "Person",
    "assistant",
    "Better prompt",
]
# These are only ever tried at a text's beginning; every other pattern is tried at each place.
ANCHORED = {"_APOLOGY", "_REFUSAL", "_PREAMBLE", "_LABEL", "_BEGIN", "_ABOUT", "_FENCED"}
ANCHORED |= {"_REMARK", "_NOTHING_FOUND", "_DENIES", "_SECTION", "_CHANGES", "_QUESTION", "_GIVEN", "_CRITIQUE"}
ANCHORED |= {"_TAGGED", "_APART", "_SORRY"}


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every compiled pattern of a module that reads replies."""
    names = ["tasks.engines.thoughts", "tasks.normalise"]
    for package in ("tasks.methods", "tasks.filters", "tasks.evaluate"):
        path = importlib.import_module(package).__path__
        names += [module.name for module in pkgutil.walk_packages(path, f"{package}.")]
    for module in names:
        for name, value in vars(importlib.import_module(module)).items():
            if isinstance(value, re.Pattern | LazyPattern):
                yield f"{module}.{name}", value


def readers() -> Iterator[tuple[str, Callable[[str], object]]]:
    from prompts import Library
    from tasks import normalise
    from tasks.engines.thoughts import split_thought
    from tasks.filters import heuristics, replies, targets, unchanged
    from tasks.methods.dialogue import reading as dialogue
    from tasks.methods.evolve import method as evolve
    from tasks.methods.instances import reading as instances
    from tasks.methods.prompt_optimization import reading
    from tasks.methods.rate import score as rate
    from tasks.methods.reason import final
    from tasks.methods.self_align import method as self_align
    from tasks.methods.self_instruct import reading as self_instruct
    from tasks.methods.tagging import method as tagging
    from tasks.methods.translate import reading as translated
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
    yield "new text", lambda text: replies.new_text(text, "Tell me of the rain.", "It rains.")
    yield "new text of itself", lambda text: replies.new_text(text, text, text)
    yield "goes on", lambda text: replies.goes_on(text, "Tell me of the rain.", "It rains.")
    yield "repeats", lambda text: unchanged.repeats(text, "a") or unchanged.may_answer("It is correct.", text)
    yield "target", lambda text: targets.target_fault(text, "Tell me of the rain.", "It rains.", least_share=0.1)
    yield "unchanged", unchanged.says_unchanged
    yield "user", lambda text: targets.speaks_of_user(text, "Why?")
    yield "speaks", lambda text: targets.speaks_of_answer(text, "Why?") or targets.speaks_of_rules(text, "Why?")
    yield "rate", lambda text: rate.parse(text, "accuracy")
    yield "verbose", lambda text: verbose.read(text, {"instruction": "Tell me of the rain and the tea."})
    yield "refusal", heuristics.opens_with_refusal
    yield "apology", heuristics.opens_with_apology
    yield "loops", heuristics.loops
    yield "echoes", lambda text: heuristics.echoes(text, "Tell me of the rain and the tea.")
    yield "blacklist", lambda text: heuristics.has_word(text, ["go to", "image"])
    yield "thought", split_thought
    yield "final answer", final.final_of
    yield "compared", final.compared
    yield "label", lambda text: tagging.parse(text, "category")
    yield "message", dialogue.message
    evolved = evolve.rewrite(Library(), evolve.Config())
    row = {"instruction": "Tell me of the rain.", "topic": "rain", "request_id": "r1", "from_ids": []}
    row |= {"operation": {"text": "Make it concrete."}}
    yield "evolved", lambda text: evolved.read(text, row)
    yield "rewrite", lambda text: reading.parted(text, begun=False)
    yield "bare rewrite", lambda text: reading.parted(text, begun=True)
    yield "translation", lambda text: translated.translation(text, text, "german", "Übersetzung", quotes=True)
    yield "language", lambda text: translated.check_language(text, "german")
    yield "kept", lambda text: reading.check(text, text, shorter=2, longer=6, kept=1)


def main() -> None:
    from tasks.step import ParseError, Rejected

    asked = [("", part) for part in PARTS] + [(start, blank) for start in STARTS for blank in BLANKS]
    texts = [start + part * (SIZE // len(part)) + "x" for start, part in asked]
    for name, pattern in patterns():
        print(name, flush=True)
        for text in texts:
            signal.setitimer(signal.ITIMER_VIRTUAL, TEXT_S)
            if name.rsplit(".", 1)[1] in ANCHORED:
                pattern.match(text)
            else:
                pattern.split(text)
    for name, read in readers():
        print(name, flush=True)
        for text in texts:
            signal.setitimer(signal.ITIMER_VIRTUAL, TEXT_S)
            with suppress(ParseError, Rejected):
                read(text)


@pytest.mark.flow
def test_no_reply_keeps_a_parser_busy():
    done = subprocess.run([sys.executable, __file__], check=False, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGVTALRM), done.stderr
    if done.returncode:
        pytest.fail(f"{done.stdout.splitlines()[-1]} reads a reply of {SIZE:,} characters for more than {TEXT_S} s")


if __name__ == "__main__":
    main()

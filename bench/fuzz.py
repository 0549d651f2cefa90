"""Every mistake is one sentence: `python bench/fuzz.py [--seed N] [--only KIND] [--json]`, and the tests' short form.

Bad arguments, presets, word files, seeds, held-out prompts, hostile HTTP replies and damaged journals, made from a
seed. Refused means exit code 2 and one printable sentence on standard error; for a reply, that only its row fails; for
a journal, that the good lines are in the lake. Tracebacks, hangs, writes by `sql`, and all else must be 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

import fuzz_cases as cases  # noqa: E402

PATIENCE_S = 60.0  # of one input; longer is a hang
LONGEST = 1200  # characters of a sentence
FIX = re.compile(
    r"\b(expected|give|correct|fix|see|run|(re)?name|drop|add|write|save|replace|choose|fill|makes?|pip)\b"
    r"|there are|say in"
)
FULL = {"arguments": 300, "processes": 12, "presets": 400, "words": 60, "lines": 60}
FULL |= {"sql": 99, "http": 99, "journals": 40}


class Hang(BaseException):
    """The input took longer than the limit; no code of ours catches this."""


@dataclass
class Figures:
    """The outcomes of one kind of input."""

    kind: str
    tried: int = 0
    refused: int = 0  # as it should be
    accepted: int = 0  # exit code 0: it was valid after all, or is harmless
    tracebacks: int = 0
    hangs: int = 0
    unclear: int = 0  # another exit code, more than one sentence, unprintable, or without a fix
    writes: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return self.tracebacks + self.hangs + self.unclear + self.writes

    def count(self, name: str, attempt: Callable[[], str | None]) -> None:
        """One input: `attempt` returns None where it was refused, "" where it was taken, else what is unclear."""
        self.tried += 1
        name = name[:120]
        try:
            with _patience():
                unclear = attempt()
        except Hang:
            self.hangs += 1
            self.faults.append(f"{name!r}: hang")
        except Exception as error:  # noqa: BLE001 - whatever comes through here is what is looked for
            self.tracebacks += 1
            self.faults.append(f"{name!r}: {''.join(traceback.format_exception_only(error))[:300].rstrip()}")
        else:
            self.refused += unclear is None
            self.accepted += unclear == ""
            if unclear:
                self.writes += unclear.startswith("it wrote")
                self.unclear += not unclear.startswith("it wrote")
                self.faults.append(f"{name!r}: {unclear[:300]}")


def fuzz(kind: str, count: int, seed: int, folder: Path) -> Figures:
    """That many inputs of a kind, in a folder of their own."""
    figures, rng = Figures(kind), random.Random(f"{seed} {kind}")
    folder.mkdir(parents=True)
    for name, attempt in _KINDS[kind](folder, rng, count):
        figures.count(name, attempt)
    return figures


Attempts = Iterator[tuple[str, Callable[[], str | None]]]


def _arguments(folder: Path, rng: random.Random, count: int) -> Attempts:
    home = _lake(folder)
    os.chdir(folder)
    for arguments in cases.arguments(home, rng, count):
        yield " ".join(arguments), lambda arguments=arguments: _verdict(*_called(arguments))


def _processes(folder: Path, rng: random.Random, count: int) -> Attempts:
    """Some of the same as real processes, on a console of ASCII."""
    home = _lake(folder)

    def attempt(arguments: list[str]) -> str | None:
        raw = [argument.encode("utf-8", "surrogateescape") for argument in arguments]
        command = [sys.executable.encode(), b"-c", b"from alignery.cli.main import main; main()", *raw]
        environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, check=False, cwd=folder, env=environment)
        return _verdict(done.returncode, done.stderr.decode("ascii"))

    without_nul = (each for each in cases.arguments(home, rng, 10_000) if not any("\0" in one for one in each))
    for _, arguments in zip(range(count), without_nul, strict=False):
        yield " ".join(arguments), lambda arguments=arguments: attempt(arguments)


def _presets(folder: Path, rng: random.Random, count: int) -> Attempts:
    sound = yaml.safe_load((ROOT / "presets" / "nano.yaml").read_text(encoding="utf-8"))
    sound["line"] |= {"red_team": {"accept": 4}, "decontaminate": [{"path": "alignery:nano/held_out.jsonl"}]}
    sound["lake"] = {"data": "/srv/lake"}
    sound["models"]["judge"] = {"engine": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m", "in_flight": 2}
    path = folder / "mine.yaml"
    for name, data in cases.presets(sound, rng, count):
        yield name, lambda data=data: _checked(path, data)


def _words(folder: Path, rng: random.Random, count: int) -> Attempts:
    """An overlay in which one file is broken, misplaced, or holds a template that is more than one."""
    named = ["constitutional/constitution", "self_instruct/topics", "self_align/rules", "respond/answer"]
    files = [(f"{name}.yaml", data) for name in named for data in cases.BROKEN]
    files += [(name, b"x: 1") for name in ("respond/answer.yml", "answer.yaml", "respond/anser.yaml", "a/b/c.yaml")]
    rng.shuffle(files)
    whole = [*files[: count // 2], *(("respond/answer.yaml", data) for _, data in cases.templates(rng, count))][:count]
    for name, data in whole:
        yield f"{name}: {data[:60]!r}", lambda name=name, data=data: _overlay(folder / "words", name, data)


def _overlay(words: Path, name: str, data: bytes) -> str | None:
    shutil.rmtree(words, ignore_errors=True)
    (words / name).parent.mkdir(parents=True)
    (words / name).write_bytes(data)
    return _checked(words.parent / "mine.yaml", _plain(words={"variant": "full", "overlay": "./words"}))


def _lines(folder: Path, rng: random.Random, count: int) -> Attempts:
    """Held-out prompts, evaluation sets, seeds and prices."""
    held_out = {"id": "a", "kind": "b", "prompt": "c"}
    seed = {"topic": "a", "instruction": "b", "input": "", "output": "", "classification": False}
    evaluate, path = {"prompts": "./held_out.jsonl", "judge": {}}, folder / "mine.yaml"

    def attempt(name: str, data: bytes, **changes: Any) -> str | None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        return _checked(path, _plain(**changes))

    share = count // 4
    for name, data in cases.lines(held_out, rng, share):
        yield name, lambda data=data: attempt("held_out.jsonl", data, evaluate=evaluate)
    for name, data in cases.lines({key: value for key, value in seed.items() if value or key == "topic"}, rng, share):
        yield name, lambda data=data: attempt("words/self_instruct/seeds.jsonl", data, words={"overlay": "./words"})
    sets = [data for _, data in cases.lines({"prompt": "c"}, rng, share * 4) if b'"nosuch"' not in data][:share]
    for number, data in enumerate(sets):
        name = rng.choice(["set.jsonl", "set.parquet", "set.csv"])
        line = {"self_instruct": {"accept": 1}, "decontaminate": [{"path": f"./{name}"}]}
        yield f"{name} {number}", lambda name=name, data=data, line=line: attempt(name, data, line=line)
    for number in range(share):
        data = rng.choice([*cases.BROKEN, b"date: 2026-01-01\ncurrency: X\nmodels: {generator: {in: true, out: 1}}\n"])
        yield f"prices {number}", lambda data=data: attempt("prices.yaml", data, prices="./prices.yaml")


def _sql(folder: Path, rng: random.Random, count: int) -> Attempts:
    home = _lake(folder)

    def attempt(query: str) -> str | None:
        before = _tree(folder)
        verdict = _verdict(*_called(["sql", query.format(home=home), "--home", str(home)]))
        return verdict if _tree(folder) == before else f"it wrote: {query}"

    for query in cases.WRITES[:count]:
        yield query, lambda query=query: attempt(query)


def _http(folder: Path, rng: random.Random, count: int) -> Attempts:
    """Hostile replies: the row fails, or a sound completion is read; the reasons are bounded and printable."""
    from hostile import HOSTILE, serving

    from tasks.engines import Completion, RequestRefused, Sampling, open_engine

    async def reply_of(reply: Any) -> Any:
        limits = {"timeout_s": 5.0 if reply.gives == "completion" else 0.5, "retries": 1, "give_up_after_s": 30.0}
        async with serving(reply) as url:
            spec = {"engine": "openai", "base_url": url, "model": "m", "max_answer_bytes": 8 << 20} | limits
            async with open_engine(spec) as engine:
                return (await asyncio.gather(engine.generate("hello", Sampling()), return_exceptions=True))[0]

    def attempt(reply: Any) -> str | None:
        found = asyncio.run(reply_of(reply))
        if isinstance(found, Completion):
            return "" if reply.gives == "completion" else "a completion was read"
        if not isinstance(found, RequestRefused):
            raise found
        message = str(found)
        return None if message and message.isprintable() and len(message) <= LONGEST else f"unclear: {message}"

    for reply in HOSTILE[:count]:
        yield reply.name, lambda reply=reply: attempt(reply)


def _journals(folder: Path, rng: random.Random, count: int) -> Attempts:
    """A damaged line between two good ones: these are in the lake then, and the journal does not block it."""
    from fuzz_journals import damaged, lake_has, written

    from warehouse import Lake
    from warehouse.recovery import recover

    with Lake.open(_lake(folder)) as lake:
        for number in range(count):
            good = [written(folder / f"spare{number}{part}", f"{number}-{part}") for part in "abc"]
            name, line = damaged(good[1], rng)

            def attempt(number: int = number, good: list[bytes] = good, line: bytes = line) -> str | None:
                path = lake.home / "journal" / f"run{number}.000000.jsonl"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(good[0] + line + good[2])
                recover(lake)
                missing = [part for part in "ac" if not lake_has(lake, f"{number}-{part}")]
                return f"lost: {missing}" if missing else None

            yield name, attempt


_KINDS: dict[str, Callable[[Path, random.Random, int], Attempts]] = {
    "arguments": _arguments,
    "processes": _processes,
    "presets": _presets,
    "words": _words,
    "lines": _lines,
    "sql": _sql,
    "http": _http,
    "journals": _journals,
}


def _plain(**changes: Any) -> bytes:
    preset = {"about": "x", "models": {"generator": {"engine": "scripted", "replies": ["yes"]}}}
    return yaml.safe_dump(preset | {"line": {"self_instruct": {"accept": 1}, "self_align": {}}} | changes).encode()


def _checked(path: Path, data: bytes) -> str | None:
    """A preset as each verb that runs a flow checks it, before it does anything else."""
    import typer

    from alignery.cli.options import handle_errors
    from alignery.config.preset import load

    path.write_bytes(data)
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            with handle_errors():
                load(str(path)).check()
        except typer.Exit as done:
            return _verdict(done.exit_code, stderr.getvalue())
    return ""


def _called(arguments: list[str]) -> tuple[int, str]:
    from alignery.cli import entry
    from alignery.cli import main as cli

    assert cli.app.registered_commands
    with contextlib.redirect_stderr(io.StringIO()) as stderr, contextlib.redirect_stdout(io.StringIO()):
        return entry.main(arguments), stderr.getvalue()


def _verdict(code: int, stderr: str) -> str | None:
    """None where it is the one sentence of a mistake, "" where there was none."""
    sentence = stderr.removesuffix("\n")
    if code == 0:
        return ""
    if code != 2:
        return f"exit code {code}: {sentence}"
    if not sentence.startswith("alignery: ") or not sentence.isprintable() or len(sentence) > LONGEST:
        return f"no sentence: {stderr!r}"
    return None if FIX.search(sentence) else f"no fix: {sentence}"


def _lake(folder: Path) -> Path:
    from warehouse import Lake

    Lake.open(folder / "home").close()
    return folder / "home"


def _tree(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        # DuckLake may leave a journal of SQLite's beside the catalog while it reads.
        if path.is_file() and not path.name.endswith(("-wal", "-shm", "-journal")):
            total.update(f"{path}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _print(found: Iterable[Figures]) -> None:
    names = ("tried", "refused", "accepted", "tracebacks", "hangs", "unclear", "writes")
    print(f"{'kind':12}" + "".join(f"{name:>12}" for name in names))
    for one in found:
        print(f"{one.kind:12}" + "".join(f"{getattr(one, name):12,}" for name in names))
        for fault in one.faults:
            print(f"    {fault}")


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--only", choices=list(_KINDS), action="append")
    given.add_argument("--json", action="store_true")
    options = given.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kinds = options.only or list(_KINDS)
        found = [fuzz(kind, FULL[kind], options.seed, Path(folder) / kind) for kind in kinds]
        os.chdir("/")
    print(json.dumps([asdict(one) for one in found], indent=2)) if options.json else _print(found)
    sys.exit(1 if any(one.bad for one in found) else 0)


if __name__ == "__main__":
    main()

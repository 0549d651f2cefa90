"""What `stress_presets.py` runs: its two presets, and the processes that refresh them, killed and started again.

Run as a program it is `alignery refresh`, which also logs each request that is sent, and each answer once it is stored.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from prompts import Library

ROOT = Path(__file__).parents[2]
TOPICS = {
    "kitchen": ["cooking", "gardening", "pets", "music", "home"],
    "road": ["wifi", "travel", "cars", "school", "camping"],
}
IN_FLIGHT = 8  # requests of one process in flight


def write_preset(folder: Path, name: str, accept: int, lake: dict[str, str]) -> Path:
    """A preset of the embedded model, with topics of its own."""
    words = folder / f"{name}-words" / "self_instruct"
    words.mkdir(parents=True)
    (words / "topics.nano.yaml").write_text(yaml.safe_dump({"topics": TOPICS[name]}))
    seeds = [seed.model_dump(exclude_defaults=True) for seed in Library("nano").seeds() if seed.topic in TOPICS[name]]
    (words / "seeds.nano.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    preset = yaml.safe_load((ROOT / "presets/nano.yaml").read_text())
    line = preset["line"] | {"chunk": IN_FLIGHT, "constitutional": preset["line"]["constitutional"] | {"rounds": 1}}
    del line["self_align"]
    line["self_instruct"] |= {"accept": accept, "max_candidates": 20 * accept, "requests_per_round": 4}
    model = preset["models"]["generator"] | {"batch_size": IN_FLIGHT}
    settings = {"name": name, "about": "a stress", "words": {"variant": "nano", "overlay": f"./{name}-words"}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings | {"models": {"generator": model}, "line": line, "lake": lake}))
    return path


class LoggingEngine:
    """An engine that logs each request before it is sent."""

    def __init__(self, engine: Any, record: Callable[[str, int], None]) -> None:
        self.identity, self._engine, self._record = engine.identity, engine, record

    async def generate(self, prompt: Any, sampling: Any) -> Any:
        self._record("sent", sampling.seed)
        return await self._engine.generate(prompt, sampling)


def refresh(log: str, *arguments: str) -> None:
    """`alignery refresh`, with a log of its requests."""
    from alignery.cli.main import main as command
    from alignery.pipeline import executor as module

    executor: Any = module
    file, execute = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), executor.execute

    async def execute_logged(
        ask: Any, replies: Any, outcome: Any, on_attempt: Callable[[dict[str, Any]], None]
    ) -> None:
        def record(what: str, seed: int) -> None:
            os.write(file, f"{what} {os.getpid()} {ask.key} {seed}\n".encode())

        def stored(attempt: dict[str, Any]) -> None:
            on_attempt(attempt)
            record("stored", attempt["seed"])

        await execute(replace(ask, engine=LoggingEngine(ask.engine, record)), replies, outcome, stored)

    executor.execute = execute_logged
    sys.argv = ["alignery", "refresh", *arguments, "--no-prefect", "--json"]
    command()


@dataclass
class Refreshes:
    """The processes of a stress: each is started again until it ends by itself without an error."""

    log: Path
    home: Path
    errors: list[str] = field(default_factory=list)
    alive: dict[str, tuple[Path, subprocess.Popen[bytes]]] = field(default_factory=dict)

    def start(self, name: str, preset: Path) -> None:
        options = ["--preset", str(preset), "--home", str(self.home)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "ALIGNERY_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        with self._output(name).open("wb") as output:
            command = [sys.executable, __file__, str(self.log), *options]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=output, env=environment)
        self.alive[name] = preset, process

    def restart_failed(self) -> None:
        """Drop those that are done, and start those again that failed."""
        for name, (preset, process) in list(self.alive.items()):
            if (code := process.poll()) is not None:
                del self.alive[name]
                if code:
                    self._failed(name, code)
                    self.start(name, preset)

    def kill(self, names: Iterable[str]) -> int:
        """Kill some at once, and start them again; how many of them had sent requests and were killed by this."""
        working, killed = self.working(), 0
        for name in names:
            self.alive[name][1].kill()
        for name in names:
            preset, process = self.alive[name]
            killed += (code := process.wait()) == -signal.SIGKILL and name in working
            if code not in (0, -signal.SIGKILL):
                self._failed(name, code)
            self.start(name, preset)
        return killed

    def _failed(self, name: str, code: int) -> None:
        self.errors.append(f"{name}: {code}: {self._output(name).read_text().strip()[-2000:]}")

    def working(self) -> set[str]:
        sent = {line.split()[1] for line in self.log.read_text().splitlines() if line.startswith("sent")}
        return {name for name, (_, process) in self.alive.items() if str(process.pid) in sent}

    def end(self) -> None:
        for _, process in self.alive.values():
            process.kill()
            process.wait()

    def _output(self, name: str) -> Path:
        return self.log.with_name(f"{name}.err")


if __name__ == "__main__":
    refresh(*sys.argv[1:])

"""Alignery against its peers and a bare client, on one mock server. README.md says what is compared, and how.

    python bench/peers/run.py [--only NAME,NAME] [--scenario a,b,c,d] [--rounds 3] [--small]

The sides take turns within a round; each run is a process of its own, with a server and a folder of its own. It makes
the environments that are missing, and prints a table for each scenario.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.engines.mock_server import serving
from bench.peers.load import IN_FLIGHT, Job
from bench.peers.server import Weather, connections
from bench.peers.tables import Result, table

TAIL = Weather()
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVS = ROOT / ".venv-peers"
HOME = ENVS / "home"
# Nothing leaves the machine: a peer's downloads and telemetry are refused at once by a port without a listener.
APART = {
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TELEMETRY_ENABLED": "0",
    "NEMO_TELEMETRY_ENABLED": "false",
    "OPENAI_API_KEY": "none",
    "OMP_NUM_THREADS": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
}


@dataclass(frozen=True)
class Side:
    """One of those compared. One without packages runs in this interpreter's own environment."""

    name: str
    packages: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        return ENVS / self.name / "bin/python" if self.packages else Path(sys.executable)

    def set_up(self) -> None:
        """Make its environment, unless it is there with just these packages."""
        stamp = ENVS / self.name / "packages"
        if not self.packages or (stamp.exists() and stamp.read_text() == str(self.packages)):
            return
        print(f"installing {' '.join(self.packages)}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", stamp.parent], check=True)
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", *self.packages], check=True)
        stamp.write_text(str(self.packages))


OURS = Side("alignery")
SIDES = (
    OURS,
    Side("bare"),
    Side("data-designer", ("data-designer==0.9.7",)),
    Side("curator", ("bespokelabs-curator==0.1.31",)),
    Side("sdg-hub", ("sdg-hub==0.9.4",)),
    Side("distilabel", ("distilabel[openai]==1.5.3", "requests")),  # which it imports and does not ask for
)


@dataclass(frozen=True)
class Scenario:
    title: str
    rows: int
    steps: int = 1
    weather: Weather = TAIL
    kill: bool = False
    limit_s: float = 240  # of one process; the slowest that ever ends takes about half of it

    def small(self) -> Scenario:
        return replace(self, rows=max(100, self.rows // 10), weather=replace(self.weather, scale=0.1))

    def ideal_s(self) -> float:
        """The work over the places in flight."""
        places = ((row, step) for row in range(self.rows) for step in range(1, self.steps + 1))
        return sum(self.weather.latency_s(place) for place in places) / IN_FLIGHT


SCENARIOS = {
    "a1": Scenario("one step, constant 1.0 s", 1000, weather=Weather(constant_s=1.0)),
    "a2": Scenario("one step, heavy tail", 1000),
    "b": Scenario("three chained steps, heavy tail", 400, steps=3),
    "c": Scenario("3 % of the rows refused, constant 1.0 s", 1000, weather=Weather(constant_s=1.0, some_bad=True)),
    "d": Scenario("killed at half, then the same command again", 600, kill=True, limit_s=150),
}


def measure(side: Side, scenario: Scenario) -> Result:
    """Run one side through one scenario."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        serving(connections(scenario.weather)) as port,
    ):
        folder = Path(name)
        job = Job(f"http://127.0.0.1:{port}/v1", folder, scenario.rows, scenario.steps, scenario.kill)
        if scenario.kill:
            ends = time.monotonic() + scenario.limit_s
            with process(side, job) as first:
                while first.poll() is None and told_by(port, "counts")["answered"] < scenario.rows // 2:
                    if time.monotonic() > ends:
                        break
                    time.sleep(0.02)
            told_by(port, "again")
        begun = time.time()
        with process(side, job) as running:
            ended = _wait(running, scenario.limit_s)
        took_s, seen, path = time.time() - begun, told_by(port, "counts"), folder / "report.json"
        report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    work_s = report["written_at"] - seen["first"] if report else None
    figures = {name: seen[name] for name in ("seen", "answered", "asked_again", "in_flight")}
    rows = {name: report.get(name, 0) for name in ("rows", "blank", "reasons")}
    return Result(ended, work_s, took_s, **figures, **rows, version=report.get("version", ""))


@contextmanager
def process(side: Side, job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """A run of a side; on the way out it is killed (SIGKILL) with its group. Our Prefect server then ends by itself."""
    given = json.dumps(asdict(job) | {"folder": str(job.folder)})
    script = HERE / f"by_{side.name.replace('-', '_')}.py"
    # Peers keep caches in the home folder, which must be as new as the job; Prefect keeps its server's database there,
    # which is made once and not before each run.
    own = {"HOME": str(HOME), "PYTHONPATH": str(ROOT)} if side is OURS else {"HOME": str(job.folder), "PYTHONPATH": ""}
    HOME.mkdir(parents=True, exist_ok=True)
    with (job.folder / "log.txt").open("ab") as log:
        running = subprocess.Popen(
            [side.python, script, given],
            cwd=job.folder,
            env=os.environ | APART | own,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def _wait(running: subprocess.Popen[bytes], limit_s: float) -> str:
    try:
        code = running.wait(limit_s)
    except subprocess.TimeoutExpired:
        return f"no: hung, ended after {limit_s:g} s"
    return f"no: exit code {code}" if code else "yes"


def told_by(port: int, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return json.load(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help=f"some of {[side.name for side in SIDES]}, with commas between them")
    parser.add_argument("--scenario", default="", help="some of a, a1, a2, b, c, d")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="100 rows and a tenth of the latencies")
    given = parser.parse_args()
    sides = [side for side in SIDES if side.name in (given.only or side.name).split(",")]
    asked = given.scenario.split(",") if given.scenario else list(SCENARIOS)
    for side in sides:
        side.set_up()
    for name, full in SCENARIOS.items():
        if name not in asked and name[0] not in asked:
            continue
        scenario, begun = full.small() if given.small else full, time.time()
        results: dict[str, list[Result]] = {side.name: [] for side in sides}
        for _ in range(given.rounds):
            for side in sides:
                results[side.name].append(measure(side, scenario))
                print(f"{name} {side.name} {results[side.name][-1]}", file=sys.stderr, flush=True)
        print(f"\n### {name}. {scenario.title}: {scenario.rows} rows, ideal {scenario.ideal_s():.1f} s\n")
        print(table(name[0], results, scenario.rows, OURS.name))
        print(f"\nMedians of {given.rounds}; a round took {(time.time() - begun) / given.rounds:.0f} s.", flush=True)


if __name__ == "__main__":
    main()

"""How long a flow verb takes until its first request: `python bench/start/first_request.py [--rounds N]`.

Each round has a home of its own, and three verbs in it: the first of a sitting, which starts the Prefect server; the
second, which finds it; and one with `--no-prefect`. The latter two take turns in who goes first. Each verb has prompts
of its own, so that it has something to ask. The model's server is in this process; at the first request it reads the
clock and the CPU seconds (user + system, all threads) that the verb's own process has used by then. On a busy machine
these count, for other processes are in the wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import NamedTuple

VERBS = {"first": [], "second": [], "--no-prefect": ["--no-prefect"]}
PRESET = """\
about: one answer
models: {{generator: {{engine: openai, base_url: 'http://127.0.0.1:{port}/v1', model: mock}}}}
line:
  prompts: [{{path: ./{name}.jsonl, gate: false}}]
  respond: {{}}
"""


class Took(NamedTuple):
    """From a verb's start to its first request, in seconds."""

    wall: float
    cpu: float


class _Model(ThreadingHTTPServer):
    """Answers every chat completion; notes when `verb` first asked for one, and what it had used by then."""

    daemon_threads = True
    verb: int = 0
    began: float = 0.0
    took: Took | None = None

    def note(self) -> None:
        if self.took is None:
            self.took = Took(time.perf_counter() - self.began, _cpu_s(self.verb))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Model

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [{"id": "mock", "object": "model", "owned_by": "bench"}]})

    def do_POST(self) -> None:
        self.server.note()
        self.rfile.read(int(self.headers["Content-Length"]))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "An answer."}}
        self._send({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}})

    def _send(self, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _cpu_s(process: int) -> float:
    """User and system seconds of a process that runs, without its children."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _model() -> Iterator[_Model]:
    server = _Model(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def _run(*arguments: str) -> subprocess.Popen[str]:
    code = "from alignery.cli.main import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _timed(model: _Model, folder: Path, name: str, options: list[str]) -> Took:
    """One refresh of prompts that the lake has not, to its end."""
    (folder / f"{name}.jsonl").write_text(json.dumps({"prompt": f"Say {name} in one word."}) + "\n")
    (folder / f"{name}.yaml").write_text(PRESET.format(port=model.server_port, name=name))
    given = ["--preset", str(folder / f"{name}.yaml"), "--home", str(folder / "lake")]
    model.took, model.began = None, time.perf_counter()
    verb = _run("refresh", *given, *options, "--json")
    model.verb = verb.pid
    error = verb.communicate()[1]
    if verb.returncode or model.took is None:
        sys.exit(f"{name}: exit code {verb.returncode}, {'a' if model.took else 'no'} request was sent: {error}")
    return model.took


def _round(model: _Model, number: int) -> dict[str, Took]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        order = ["first", *(["second", "--no-prefect"] if number % 2 else ["--no-prefect", "second"])]
        try:
            return {name: _timed(model, folder, name.strip("-"), VERBS[name]) for name in order}
        finally:
            _run("server", "stop", "--home", str(folder / "lake")).communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    os.environ |= {"ALIGNERY_SERVER_IDLE_S": "600", "OMP_NUM_THREADS": "1"}
    # Bytecode is written by the first round, as pip does when it installs: else each verb would compile its sources.
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "ALIGNERY_PREFECT", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    with _model() as model:
        _round(model, 0)  # files are read from the disk once
        found = [_round(model, number) for number in range(rounds)]
    print(f"{rounds} rounds, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}.\n")
    print("| verb | wall, s | least | processor, s | least | processor by that of --no-prefect |")
    print("|---|---|---|---|---|---|")
    for name in VERBS:
        walls, cpus = [one[name].wall for one in found], [one[name].cpu for one in found]
        ratio = median(one[name].cpu / one["--no-prefect"].cpu for one in found)
        print(
            f"| {name} | {median(walls):.2f} | {min(walls):.2f} | {median(cpus):.2f} | {min(cpus):.2f} | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()

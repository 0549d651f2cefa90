"""A server that echoes the API key in every field: the key is in nothing that alignery keeps, shows or takes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from processes import prefect_home
from speaker import Speaker, write_preset
from works import speak

from tasks.engines import Sampling
from warehouse import Lake
from warehouse.schema.lake_schema import default

KEY = "gw-7Yq1zzTOPSECRETzz42"
LINE = {"chunk": 4, "self_instruct": {"accept": 24, "max_candidates": 300, "requests_per_round": 4, "count": 3}}


class Echo(BaseHTTPRequestHandler):
    """Answers as the speaker does, with the key of the request in every place that a server has words for."""

    protocol_version = "HTTP/1.1"
    server: Speaker

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Authorization"].removeprefix("Bearer ")
        with self.server.lock:
            self.server.served += 1
            number = self.server.served
        time.sleep(0.02)
        prompt = asked["messages"][0]["content"]
        text = "Yes." if prompt.startswith("Say yes.") else speak(asked["messages"], Sampling(seed=asked["seed"]))
        text += f" {key}" if number % 5 == 0 else ""
        finish = key if number % 11 == 0 else "stop"
        choice = {"index": 0, "finish_reason": finish, "message": {"role": key, "content": text, key: key}}
        usage = {"prompt_tokens": key if number % 7 == 0 else 9, "completion_tokens": 9, key: 1}
        body: dict[str, object] = {
            "id": key,
            "model": key,
            "choices": [choice],
            "usage": usage,
            "system_fingerprint": key,
        }
        status = 200
        if number % 6 == 0:
            status, body = (
                400,
                {"error": {"message": f"Incorrect API key {key}", "type": key, "code": key, "param": key}},
            )
        elif number % 13 == 0:
            body = {"error": {"message": f"key Bearer {key}"}}
        elif number % 17 == 0:
            status, body = 503, {"detail": key}
        content = json.dumps(body).encode()
        self.send_response(status, f"said {key}")
        for name in ("X-Request-Id", "Set-Cookie", "WWW-Authenticate", "Server"):
            self.send_header(name, key)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[Speaker]:
    server = Speaker(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()


def alignery(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    own = os.environ | {"PREFECT_HOME": str(prefect_home(folder / "prefect")), "MY_GATEWAY": KEY}
    code = "from alignery.cli.main import main; main()"
    command = [sys.executable, "-c", code, *arguments, "--preset", str(folder / "speaker.yaml")]
    return subprocess.Popen(
        [*command, "--home", str(folder / "lake")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=own,
    )


def with_the_key(folder: Path) -> list[str]:
    """Every file below the folder that holds the key, those that are compressed read as what they hold."""
    found = [str(path) for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    whole = [path for path in folder.rglob("*.parquet") if path.stat().st_size]  # a kill may leave an empty one
    found += [str(path) for path in whole if KEY in str(pq.ParquetFile(path).read().to_pylist())]
    return found


@pytest.mark.flow
def test_a_key_that_a_server_echoes_is_found_nowhere(tmp_path: Path, echo: Speaker) -> None:
    write_preset(
        tmp_path,
        echo.server_port,
        LINE | {"reject_limit": 1.0},
        api_key_env="MY_GATEWAY",
        retries=1,
        first_pause_s=0.01,
    )
    killed = alignery("refresh", folder=tmp_path)
    while echo.served < 60 and killed.poll() is None:
        time.sleep(0.005)
    os.killpg(killed.pid, signal.SIGKILL)
    shown, _ = killed.communicate()
    assert list((tmp_path / "lake/journal").glob("*.jsonl"))
    assert with_the_key(tmp_path) == []

    verbs = (["refresh"], ["publish", "--tag", "v1"], ["export", "v1"], ["rejects", "--json"], ["show", "attempts"],
             ["status"], ["sql", "SELECT * FROM attempts", "--json"], ["doctor"], ["models"])  # fmt: skip
    for verb in verbs:
        process = alignery(*verb, folder=tmp_path)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out
        shown += out
    assert KEY not in shown
    assert "***" in shown
    assert with_the_key(tmp_path) == []
    with Lake.open(tmp_path / "lake", read_only=True) as lake:
        tables = {name: lake.rows(f"SELECT * FROM {name}") for name in default().tables}
    assert KEY not in str(tables)
    reasons = {row["reason"] for row in tables["attempts"] if row["state"] == "failed"}
    assert any("***" in reason for reason in reasons), reasons
    assert any("***" in (row["raw_text"] or "") for row in tables["attempts"])

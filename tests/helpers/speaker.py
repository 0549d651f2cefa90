"""A chat server in this process that answers as the scripted speaker does, and counts what it is asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from works import speak, write_words

from tasks.engines import Sampling


class Speaker(ThreadingHTTPServer):
    """Answers chat completions as `speak` does, and counts them."""

    daemon_threads = True
    request_queue_size = 128  # connections that wait to be taken; of more, some are cut, and sent again
    served = 0
    unparsed = 0.0  # the share of replies that hold nothing to be read, chosen by each request's own seed
    lock = threading.Lock()

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.answered: list[str] = []  # each reply, before its last byte is sent


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Speaker

    def do_GET(self) -> None:
        self._send({"data": [{"id": "speaker", "owned_by": "tests"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.served += 1
        time.sleep(0.03)
        text = speak(asked["messages"], Sampling(seed=asked["seed"]))
        if asked["seed"] % 100 < 100 * self.server.unparsed:
            text = f"unreadable {asked['seed']}"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        self._send({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}, text)

    def _send(self, answer: dict[str, Any], reply: str | None = None) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if reply is not None:
            with self.server.lock:
                self.server.answered.append(reply)
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    server = Speaker(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()


def write_preset(folder: Path, port: int, line: dict[str, Any], **server: Any) -> Path:
    """A preset with the speaker as its generator; `line` goes over two rounds and all four methods, `server` over the
    engine's spec."""
    write_words(folder / "words")
    generator = {"engine": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "model": "speaker"} | server
    preset = {
        "about": "a test",
        "words": {"overlay": "./words"},
        "models": {"generator": generator},
        "line": {"constitutional": {"rounds": 2}, "self_align": {}, "aligner": {}} | line,
    }
    path = folder / "speaker.yaml"
    path.write_text(yaml.safe_dump(preset))
    return path

"""A hub on this machine: as much of Hugging Face's protocol as a push speaks, with repositories held in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any, dict[str, str]]


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1(str(len(self.messages)).encode()).hexdigest()


class Hub:
    """Repositories by path ("datasets/you/name", "models/you/name"), and what was asked of the hub."""

    def __init__(self, token: str) -> None:
        self.token, self.url = token, ""
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}  # large files, by SHA-256
        self.asked: list[str] = []
        self.fails: str | None = None  # what a request's path holds that is answered by 500

    def answer(self, method: str, path: str, body: bytes, token: str) -> Answer:
        self.asked.append(f"{method} {path}")
        if self.fails and self.fails in path:
            return 500, {"error": f"broken; your header was {token}"}, {}
        if path.startswith("/store/"):  # where large files are put, as the batch said
            self.stored[path.rpartition("/")[2]] = body
            return 200, {}, {}
        if token != f"Bearer {self.token}":
            return (
                401,
                {"error": f"Invalid token {token}"},
                {"X-Error-Message": "Invalid credentials in Authorization header"},
            )
        path = path.partition("?")[0]
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self._place(one) for one in json.loads(body)["objects"]]}, {}
        kind, owner, name, *rest = path.removeprefix("/api/").split("/")
        repository = self.repositories.get(f"{kind}/{owner}/{name}")
        if repository is None:
            return 404, {"error": "no such repository"}, {"X-Error-Code": "RepoNotFound"}
        match rest[:1]:
            case ["preupload"]:
                return 200, {"files": [_mode(repository, one) for one in json.loads(body)["files"]]}, {}
            case ["tree"] if not repository.messages:
                return 404, {"error": "no commit"}, {"X-Error-Code": "RevisionNotFound"}
            case ["tree"]:
                listed = [
                    {"type": "file", "path": p, "size": len(t), "oid": "0" * 40} for p, t in repository.files.items()
                ]
                return 200, listed, {}
            case ["commit"]:
                return self._commit(f"{kind}/{owner}/{name}", body)
        facts = {"_id": "1", "id": f"{owner}/{name}", "sha": repository.sha, "private": repository.private}
        return 200, facts | {"siblings": [], "tags": [], "downloads": 0, "likes": 0}, {}

    def _create(self, given: dict[str, Any]) -> Answer:
        name = f"{given['organization']}/{given['name']}"
        key = f"{given.get('type', 'model')}s/{name}"
        if key in self.repositories:
            return 409, {"error": "there is one", "url": f"{self.url}/{key.removeprefix('models/')}"}, {}
        self.repositories[key] = Repository(given.get("visibility") == "private" or given.get("private", False))
        return 200, {"url": f"{self.url}/{key.removeprefix('models/')}", "name": name}, {}

    def _place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["oid"] in self.stored:
            return wanted
        return wanted | {"actions": {"upload": {"href": f"{self.url}/store/{wanted['oid']}"}}}

    def _commit(self, key: str, body: bytes) -> Answer:
        repository = self.repositories[key]
        header, *operations = [json.loads(line) for line in body.splitlines()]
        for one in operations:
            path = one["value"]["path"]
            match one["key"]:
                case "file":
                    repository.files[path] = base64.b64decode(one["value"]["content"])
                case "lfsFile":
                    repository.files[path] = self.stored[one["value"]["oid"]]
                case "deletedFile":
                    del repository.files[path]
        repository.messages.append(header["value"]["summary"])
        place = f"{self.url}/{key.removeprefix('models/')}"
        return 200, {"commitUrl": f"{place}/commit/{repository.sha}", "commitOid": repository.sha}, {}


def _mode(repository: Repository, asked: dict[str, Any]) -> dict[str, Any]:
    """How a file is to be sent, and the hash of what is there under its name."""
    large = asked["path"].endswith((".parquet", ".safetensors"))
    there = repository.files.get(asked["path"])
    oid = None
    if there is not None:
        git = hashlib.sha1(b"blob %d\0" % len(there) + there).hexdigest()
        oid = hashlib.sha256(there).hexdigest() if large else git
    return {"path": asked["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """The hub, answering on a port of this machine; its `url` says which."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, payload, headers = hub.answer(self.command, self.path, body, self.headers.get("Authorization", ""))
            text = json.dumps(payload).encode()
            self.send_response(code)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(text)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = _do  # noqa: N815  # the names that it looks for

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()

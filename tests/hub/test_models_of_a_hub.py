"""A hub's name as a model: what is asked of the hub, and what happens where none answers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tasks.engines import SpecError, open_engine
from tasks.engines.identity import local_only
from tasks.engines.vllm import _environment

NAME = "some-owner/some-model"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a hub at which nothing listens."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path


def keep(cache: Path) -> None:
    """The model's config, as the hub's library keeps it."""
    model = cache / "models--some-owner--some-model"
    for place, text in {"refs/main": "0a1b", "snapshots/0a1b/config.json": "{}"}.items():
        (model / place).parent.mkdir(parents=True, exist_ok=True)
        (model / place).write_text(text)


@pytest.fixture(params=[404, 401, 500, 503])
def status(request: pytest.FixtureRequest, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A hub that answers every request with one status."""
    from huggingface_hub import constants

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield request.param
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("engine", ["transformers", "reward", "vllm"])
def test_a_hub_that_does_not_answer_is_asked_once(engine: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import hf_api

    asked, ask = [], hf_api.HfApi.model_info
    monkeypatch.setattr(hf_api.HfApi, "model_info", lambda *args, **given: asked.append(args) or ask(*args, **given))

    async def main() -> None:
        async with open_engine({"engine": engine, "model": NAME}):
            raise AssertionError("opened")

    with pytest.raises(SpecError, match=r"some-owner/some-model' is neither here nor can it be fetched.*check the net"):
        asyncio.run(main())
    assert len(asked) == 1


def test_without_a_hub_a_model_of_the_cache_is_loaded_from_there(cache: Path) -> None:
    keep(cache)
    assert local_only(NAME, "main")
    with pytest.raises(SpecError):
        local_only(NAME, "another")


def test_an_error_of_the_hubs_server_is_no_answer_and_one_about_the_request_is(cache: Path, status: int) -> None:
    if status >= 500:
        with pytest.raises(SpecError, match="nor can it be fetched"):
            local_only(NAME, "main")
        keep(cache)
        assert local_only(NAME, "main")
    else:
        keep(cache)
        assert not local_only(NAME, "main"), "the loader says what is wrong with the name or the token"


def test_a_variable_for_processes_that_start_now_is_gone_for_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("MINE", "0")
    with _environment({"HF_HUB_OFFLINE": "1", "MINE": "1"}):
        assert (os.environ["HF_HUB_OFFLINE"], os.environ["MINE"]) == ("1", "0")
    assert "HF_HUB_OFFLINE" not in os.environ
    assert os.environ["MINE"] == "0"

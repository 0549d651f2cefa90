"""What a verb that runs a flow saves while it imports: seconds pass until its first request, and most are imports."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

Work: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


class _Hidden(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not needed here", name=fullname)


@contextmanager
def without_pandas() -> Iterator[None]:
    """In the block pandas, which no flow uses, cannot be imported, as in an environment without it.

    pyarrow looks for it when it makes its first array, which is made here, and Prefect when it is imported, both to
    recognise its types. After the block pandas can be imported, and pyarrow then uses it.
    """
    import pyarrow

    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pyarrow.array([])
        yield
    finally:
        sys.meta_path.remove(hidden)


@contextmanager
def without_collections() -> Iterator[None]:
    """In the block no garbage is collected: imports leave hardly any, and each collection visits all that they made.

    What they made stays, and later collections do not visit it.
    """
    if "alignery.pipeline.run" in sys.modules:  # by an earlier verb of this process (`demo`), which may leave garbage
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_run(verb: str, preset: str, home: Path) -> Work:
    """A verb's work, imported while the lake's extensions are loaded."""
    from alignery.config.preset import load
    from warehouse.database.connection import preload

    preload(load(preset).place(home))
    with without_pandas():
        from alignery import api
    return api.RUNS[verb]


def import_flow(verb: str, preset: str, home: Path) -> Work:
    """A verb's flow, imported while the lake's extensions are loaded and a server for it is started."""
    from alignery.config.preset import load
    from flows.shared_server import use_or_start_server
    from warehouse.database.connection import preload

    loaded_preset = load(preset)
    loaded_preset.check()  # before a server is started for it, which takes seconds
    preload(loaded_preset.place(home))
    wait_until_ready = use_or_start_server(home)
    check_prefect()
    with without_pandas():
        flow = _flow(verb)
    wait_until_ready()
    if any(spec.engine == "openai" for spec in loaded_preset.models.values()):
        # While Prefect waits for its server to register the run. Other engines take seconds and memory, and are
        # imported at their first request, if there is one.
        threading.Thread(target=import_module, args=["tasks.engines.openai.engine"]).start()
    return flow


def _flow(verb: str) -> Work:
    """What a verb runs; only that is imported, because Prefect takes seconds."""
    match verb:
        case "refresh":
            from flows.refresh import refresh as flow
        case "publish":
            from flows.publish import publish as flow  # type: ignore[assignment]
        case "retrain":
            from flows.retrain import retrain as flow  # type: ignore[assignment]
        case "evaluate":
            from flows.evaluate import evaluate as flow  # type: ignore[assignment]
        case "promote":
            from flows.promote import promote as flow  # type: ignore[assignment]
        case "bootstrap":
            from flows.bootstrap import bootstrap as flow  # type: ignore[assignment]
        case _:
            from flows.maintain import maintain as flow  # type: ignore[assignment]
    return flow


def check_prefect() -> None:
    """A server that the environment names must answer; checked here, before Prefect is imported."""
    api = os.environ.get("PREFECT_API_URL")
    if not api:
        return
    import httpx

    from flows.prefect_server import unreachable

    try:
        httpx.get(f"{api.rstrip('/')}/health", timeout=10).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise unreachable(api, error) from error

"""Fixtures shared by all: no network, a fixed environment, one Prefect home; each lake is a copy of an empty one."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Postgres, postgres, s3
from speaker import speaker
from works import works

import alignery.config.methods  # noqa: F401  # what lakes have by default
from warehouse import Lake

__all__ = ["speaker", "works"]

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ALIGNERY_THREADS", "1")  # more threads take more CPU time, and the tests share the cores
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["ALIGNERY_SERVER_IDLE_S"] = "0"  # a test's server ends with its verb
# Prefect says good-bye after pytest has closed its streams.
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")

ROOT = Path(__file__).parent.parent
# Files of tests that take minutes: they begin first, so that no worker waits for one that began last.
LONGEST = (
    *("test_crash_points", "test_train_resumes", "test_whole_line", "test_serve", "test_train_moves"),
    *("test_kill", "test_own_server", "test_journeys"),
)


def pytest_collection() -> None:
    gc.disable()  # thousands of tests are made, and none of them is garbage


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()  # later collections do not visit them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (*LONGEST, item.path.stem).index(item.path.stem))


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a lake without rows; copy it, for lakes may be moved."""
    home = tmp_path_factory.mktemp("empty") / "home"
    Lake.open(home).close()
    return home


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A real Postgres."""
    # Its socket's path may be 107 bytes long, and another user must be able to reach the folder.
    folder = Path(tempfile.mkdtemp(prefix="alignery-"))
    with postgres(folder) as found:
        yield found
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server: Postgres) -> str:
    """The URL of a new database."""
    return server.database(f"lake_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a real S3 server on loopback, whose keys and address are in the environment."""
    with s3("lake") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield "s3://lake"


@pytest.fixture(scope="session", autouse=True)
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prefect's database goes to a folder of this session; it is disposable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.delenv("PREFECT_API_URL", raising=False)
        yield


@pytest.fixture
def home(tmp_path: Path, empty: Path) -> Path:
    return shutil.copytree(empty, tmp_path / "home")


@pytest.fixture(scope="module")
def unwritten(empty: Path) -> Iterator[Lake]:
    """One empty lake for all the tests of a file that write nothing."""
    with Lake.open(empty) as lake:
        yield lake


@pytest.fixture
def lake(home: Path) -> Iterator[Lake]:
    with Lake.open(home) as lake:
        yield lake

"""Each test has a lake of its own: a copy of an empty one, which is quicker than making it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from warehouse import Lake


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

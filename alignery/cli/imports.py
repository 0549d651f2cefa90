"""Hides pandas, which libraries import and no flow uses: a tenth of the time until a verb's first request."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import ModuleType


class _Hidden(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not needed here", name=fullname)


@contextmanager
def without_pandas() -> Iterator[None]:
    """In the block pandas cannot be imported, as in an environment without it.

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

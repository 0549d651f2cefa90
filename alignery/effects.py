"""The durable effects, by name: each place where a process that dies, or a disk that fails, may leave something behind.

    with effects.COMMIT:
        cursor.execute("COMMIT")

In production a block costs two comparisons. A test sets `hook` (by `observed`) and is called before and after each one:
it counts them, dies there, or raises what a full disk or a lost connection would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

Hook = Callable[[str, str], None]  # (name, "before" | "after")
NAMES: list[str] = []
_hook: Hook | None = None


class Effect:
    """One kind of durable effect, as a context manager around it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name
        NAMES.append(name)

    def __enter__(self) -> None:
        if _hook is not None:
            _hook(self.name, "before")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _hook is not None and kind is None:
            _hook(self.name, "after")


@contextmanager
def observed(hook: Hook) -> Iterator[None]:
    """Call `hook` before and after each effect of the block, in any thread of this process."""
    global _hook  # noqa: PLW0603
    before, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = before


# The journal
JOURNAL_OPEN = Effect("journal open")
JOURNAL_APPEND = Effect("journal append")
JOURNAL_TRUNCATE = Effect("journal truncate")  # of a line that was written in part
JOURNAL_SYNC = Effect("journal fsync")
JOURNAL_SET_ASIDE = Effect("journal set aside")  # lines that cannot be taken in
JOURNAL_REMOVE = Effect("journal removed")

# A commit
LOCK = Effect("lock taken")
UNLOCK = Effect("lock released")
BEGIN = Effect("begin")
INSERT = Effect("insert")  # its Parquet file is written
LEDGER_ROW = Effect("ledger row")
COMMIT = Effect("commit")

# Maintenance
MERGE = Effect("merge")
EXPIRE = Effect("expire")
DELETE = Effect("delete files")
SPILL_REMOVE = Effect("temporary files removed")

# Exports
DRAFT_REMOVE = Effect("draft removed")
SHARD_NAME = Effect("shard named")
EXPORT_FACTS = Effect("export facts")  # manifest and card
EXPORT_REPLACE = Effect("export replaced")  # the remains of an interrupted publication are removed
EXPORT_RENAME = Effect("export renamed")

# Trained models and evaluations
WORK_CLEAR = Effect("work folder cleared")
WORK_MARK = Effect("work folder marked")  # the job, a whole checkpoint
MODEL_WRITE = Effect("model written")  # weights, report, curve
MODEL_SYNC = Effect("model fsync")
MODEL_RENAME = Effect("model renamed")
PICTURE_WRITE = Effect("picture written")
LOG_WRITE = Effect("log written")  # of an evaluation, for other programs

# What leaves this machine
HUB_PUSH = Effect("hub push")  # a repository is made, and a commit

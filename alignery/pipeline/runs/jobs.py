"""A job that makes one model: identified by everything that determines its weights, so that it is not done twice."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alignery.hashing import digest
from alignery.pipeline.executor import TaskRunner
from alignery.pipeline.run import Run
from tasks.engines import TransformersSpec, VllmSpec
from tasks.step import Row
from warehouse import Lake

Spec = TransformersSpec | VllmSpec  # of a model that has weights here
REPORT = "report.json"


@dataclass(frozen=True)
class Job(ABC):
    """What is to be made from `base`.

    Args:
        name: what the table of models calls its recipe.
        published: the publication that it learns from, a row of tags.
    """

    name: str
    base: Spec
    published: Row

    @property
    @abstractmethod
    def config(self) -> str:
        """What determines the weights besides base and publication, as JSON, as in the table of models."""

    @property
    def view(self) -> str | None:
        """The view that it reads, if it reads one."""
        return None

    @abstractmethod
    async def make(self, out: Path, run: Run, runner: TaskRunner) -> None:
        """Make the folder of the model, with its report, all at once."""

    def known(self, models: Sequence[Row]) -> Row | None:
        """The model that the same job made before, if its folder still exists."""
        mine = (self.name, self.config, self.published["content_hash"], self.base.identity())
        for row in models:
            if mine == (row["recipe"], row["config"], row["export_hash"], row["base_id"]):
                return row if Path(row["path"]).is_dir() else None
        return None

    async def done(self, lake: Lake, run: Run, home: Path, runner: TaskRunner) -> Row:
        """Make the model and record it."""
        key = digest(self.name, self.config, self.published["content_hash"], self.base.identity())
        out = (home / "models" / f"{self.name}-{key[:12]}").resolve()
        await asyncio.to_thread(run.start)
        # A run that died after the training and before the commit left the finished model there: it is used unchanged.
        if not (out / REPORT).is_file():
            await self.make(out, run, runner)
        report = json.loads((out / REPORT).read_text(encoding="utf-8"))
        row = {
            "id": self.base.model_copy(update={"model": str(out)}).identity(),
            "path": str(out),
            "base_id": self.base.identity(),
            "base_path": str(self.base.model),
            "recipe": self.name,
            "view": self.view,
            "tag": self.published["name"],
            "export_hash": self.published["content_hash"],
            "config": self.config,
            "metrics": json.dumps(report),
            "seconds": report["seconds"],
            "run_id": run.id,
            "created_at": datetime.now(UTC),
        }
        await asyncio.to_thread(lake.ledger.write, "models", [row], run_id=run.id, message=f"retrain: {self.name}")
        return row

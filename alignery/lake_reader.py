"""`alignery.open_lake`: a lake to read from a script or a notebook; and how a preset is named there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from alignery.config.preset import Preset, build, load
from alignery.errors import UsageError
from alignery.pipeline.refresh import clean
from warehouse import Lake
from warehouse.query import status
from warehouse.query.snapshots import release_of, resolve
from warehouse.query.trace import trace

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from alignery.view.cell import Funnel, Pairs, Trace
    from warehouse.export.export import Export

HOME = Path(".alignery")


def load_preset(preset: str | Path | Preset | Mapping[str, Any] = "nano") -> Preset:
    """A preset, checked.

    Args:
        preset: a shipped preset's name, the path of a .yaml file, what such a file holds as a dictionary, or a preset.

    Raises:
        PresetError: a key, value or path in it is wrong; the message names the field and the fix.
    """
    if isinstance(preset, Preset):
        return preset
    if isinstance(preset, Mapping):
        return build({"name": "python", "about": "made in Python"} | dict(preset))
    return load(str(preset))


class OpenLake:
    """A lake, open for reading, as `open_lake` gives it. Close it, or use it as a context manager."""

    def __init__(self, lake: Lake, preset: Preset) -> None:
        self._lake, self._preset = lake, preset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._lake.close()

    def sql(self, query: str, params: Sequence[Any] = ()) -> pyarrow.Table:
        """The result of one SELECT over the lake's tables and views.

        Args:
            query: DuckDB's SQL; it can read and never write.
            params: values for its `?`.

        Raises:
            LakeUsageError: it is not one SELECT, or DuckDB refuses it.
        """
        return self._lake.sql(query, params)

    def pandas(self, query: str, params: Sequence[Any] = ()) -> pandas.DataFrame:
        """The same as a pandas frame. Raises UsageError where pandas is not installed."""
        _check_importable("pandas")
        return self.sql(query, params).to_pandas()

    def polars(self, query: str, params: Sequence[Any] = ()) -> polars.DataFrame:
        """The same as a polars frame. Raises UsageError where polars is not installed."""
        _check_importable("polars")
        import polars

        frame = polars.from_arrow(self.sql(query, params))
        return frame if isinstance(frame, polars.DataFrame) else frame.to_frame()

    def tables(self) -> list[dict[str, Any]]:
        """Tables and views: name, kind ('record', 'ledger' or 'view'), rows, comment."""
        return self._lake.tables()

    def show(self, name: str, limit: int = 5) -> list[dict[str, Any]]:
        """The newest rows of a table or view. Raises LakeUsageError if it does not exist."""
        return status.show(self._lake, name, limit)

    def funnel(self, run_id: str | None = None) -> Funnel:
        """By step: rows in, attempts by state, the top reason, tokens and seconds; of one run or of all.

        Returns:
            A list of rows, which a notebook draws.

        Raises:
            LakeUsageError: there is no such run.
        """
        from alignery.view.cell import Funnel

        if run_id is not None:
            status.check_run(self._lake, run_id)
        return Funnel(status.funnel(self._lake, run_id))

    def trace(self, id: str, *, full: bool = False) -> Trace:
        """Where a row comes from and what was made of it.

        Args:
            id: of a record or an attempt, or the beginning of it.
            full: all ancestors and descendants with their whole texts.

        Returns:
            A dictionary (see `warehouse.query.trace.trace`), which a notebook draws.

        Raises:
            LakeUsageError: no id begins so, or several do.
        """
        from alignery.view.cell import Trace

        return Trace(trace(self._lake, id, full=full))

    def pairs(self, view: str = "preferences", limit: int = 5) -> Pairs:
        """The newest pairs of a view, in which a notebook marks what differs: id, prompt, before, after.

        Args:
            view: "preferences" (rejected, chosen), "qac" (answer, correction) or "revised" (first, last).
            limit: pairs, at most 500; of a text the first 20,000 characters are read.

        Raises:
            UsageError: there are no pairs of that name.
        """
        from alignery.view.cell import pairs

        return pairs(self._lake, view, limit)

    def export(self, shapes: str | Sequence[str], folder: str | Path, *, tag: str | None = None) -> Export:
        """Write rows as trainers take them: a folder that `datasets.load_dataset` opens.

        Args:
            shapes: one or several, as "sft" or ["sft", "preferences"].
            folder: to make; the same export in it is left as it is.
            tag: the tag or snapshot that is exported; by default all that the lake holds now.

        Raises:
            LakeUsageError: no such shape or tag, no rows, or something else is in the folder.
        """
        from warehouse.export.export import export

        named = [shapes] if isinstance(shapes, str) else list(shapes)
        release = release_of(self._lake, tag or str(self._lake.snapshot()))
        with Lake.open(self._lake.place, schema=self._lake.schema, snapshot=release.snapshot_id) as pinned:
            return export(
                pinned,
                named,
                Path(folder),
                release=release,
                licences=self._preset.by_model(),
                selection=clean(self._preset),
            )


def _check_importable(package: str) -> None:
    if find_spec(package) is None:
        raise UsageError(f"got no {package} in this Python; pip install {package}, or take sql(), an Arrow table")


def open_lake(home: str | Path = HOME, *, preset: str | Path | Preset = "nano", at: str | None = None) -> OpenLake:
    """Open a lake for reading; this works while a run writes to it.

    Args:
        home: the folder of the lake.
        preset: where the lake is elsewhere, and which methods' views it has.
        at: a tag or a snapshot, to read the lake as it was then.

    Raises:
        LakeUsageError: there is no lake, or no such tag or snapshot.
    """
    loaded_preset = load_preset(preset)
    lake = Lake.open(loaded_preset.place(Path(home)), schema=loaded_preset.lake_schema, read_only=True)
    if at is not None:
        with lake as now:
            lake = Lake.open(now.place, schema=loaded_preset.lake_schema, snapshot=resolve(now, at))
    return OpenLake(lake, loaded_preset)

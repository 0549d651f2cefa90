"""Taking a part of an export's rows: the well-rated ones, as many at random for comparison, without near-duplicates.

The rows of a shape are read once as candidates; the chosen ones are then a table of their ids, and the export is read
again through it. AlpaGasus (arXiv 2307.08701): answers rated 4.5 or more, and as many drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from alignery.declarations import Shape
from warehouse.errors import LakeUsageError
from warehouse.export.mixing import Examples, Mix
from warehouse.export.neighbours import Nearest
from warehouse.schema.tables import Row, quoted

# Which of the rated rows are taken; `well` is true where the score reaches the threshold.
_WELL = "SELECT id FROM scored WHERE well"
_CONTROL = """
    SELECT id FROM scored
    QUALIFY row_number() OVER (PARTITION BY held_out ORDER BY md5_number_lower(id))
        <= count(*) FILTER (well) OVER (PARTITION BY held_out)"""
# (ids, answers) of a batch of rows → the ids of near-duplicates of earlier ones; it is stateful.
DuplicateMarker = Callable[[Sequence[str], Sequence[str]], Iterable[str]]
PROMPTS = "evaluated"  # the column of the texts that `Leaks` checks


@dataclass(frozen=True)
class Selection:
    """Which rows of an export are taken.

    Args:
        min_rating: the least score, 0 to 5; None takes rows whether they are rated or not.
        dimension: what they are rated for.
        control: in place of the well-rated rows as many others of the rated ones, in each split. A hash of a row's id
            decides, so the draw is the same each time; it may hit well-rated rows too, as any draw does.
        duplicates: makes a marker, whose rows are left out, before anything is rated; one is made for each shape.
        alike: its criterion, in words.
        leaked: whether a prompt is in an evaluation set; its rows are left out before all else.
        nearest: compares the prompts of the two splits, for the card; it leaves nothing out.
        reviewed: only rows that people marked right, as they edited them (`warehouse.export.reviewed`).
        weight: the same with all rows not marked wrong or flagged: those marked right count that many times.
        mix: how many of what is left each part gives to the training split (`warehouse.export.mixing`).
    """

    min_rating: float | None = None
    dimension: str = "accuracy"
    control: bool = False
    duplicates: Callable[[], DuplicateMarker] | None = None
    alike: str = ""
    leaked: Callable[[str], bool] | None = None
    nearest: Nearest | None = None
    reviewed: bool = False
    weight: int | None = None
    mix: Mix | None = None

    def __post_init__(self) -> None:
        if self.min_rating is not None and not 0 <= self.min_rating <= 5:
            raise LakeUsageError(f"least rating: got {self.min_rating}, expected 0 to 5; AlpaGasus's is 4.5")
        if self.control and self.min_rating is None:
            raise LakeUsageError(
                "a control has the size of a selection; give the least rating that makes it, such as 4.5"
            )

    @property
    def chooses(self) -> bool:
        """Whether it must see all rows before it can choose."""
        return self.min_rating is not None or self.duplicates is not None or self.mix is not None

    @property
    def suffix(self) -> str:
        """What distinguishes the folder of such an export from others."""
        rated = "" if self.min_rating is None else f"-{'control' if self.control else 'rated'}-{self.dimension}"
        further = (
            ("-distinct", self.duplicates),
            ("-reviewed", self.reviewed),
            (f"-weight{self.weight}", self.weight),
            ("-mix", self.mix),
        )
        return rated + "".join(name for name, given in further if given)

    def choose(self, cursor: duckdb.DuckDBPyConnection, shape: str, offered: Iterable[pa.RecordBatch]) -> Chosen:
        """Fill the temporary table `chosen` with the ids of the rows to take, and of a mixture with their forms.

        Args:
            offered: the shape's rows: id, held_out, and the rest as `columns` gives them.

        Raises:
            LakeUsageError: none of them is rated on the dimension, or none well enough.
        """
        mark, count, batches = self.duplicates() if self.duplicates else None, 0, []
        further, examples = self.mix.offered if self.mix else [], Examples(self.mix)
        for batch in offered:
            count += batch.num_rows
            ids = batch.column("id").to_pylist()
            left = set(mark(ids, batch.column("answer").to_pylist())) if mark else set()
            distinct = batch.filter(pa.array([id not in left for id in ids], pa.bool_()))
            examples.add(distinct)
            batches.append(distinct.select(["id", "held_out", *further]))
        fields = [("id", pa.string()), ("held_out", pa.bool_()), *((name, pa.string()) for name in further)]
        rows = pa.Table.from_batches(batches, pa.schema(fields))
        cursor.register("offered", rows)
        cursor.execute("CREATE OR REPLACE TEMP TABLE chosen AS SELECT id FROM offered")
        notes = [f"{self.alike}: {count - rows.num_rows} of {count} left out"] if mark else []
        if self.min_rating is not None:
            notes.append(self._rate(cursor, shape, self.min_rating))
        mixture = self.mix.choose(cursor, examples) if self.mix else None
        if mixture:
            notes.append(f"mixed by {mixture['by']}")
        cursor.unregister("offered")
        return Chosen("; ".join(notes), mixture, examples)

    def _rate(self, cursor: duckdb.DuckDBPyConnection, shape: str, least: float) -> str:
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE scored AS SELECT o.id, o.held_out, r.score >= {float(least)} AS well"
            f" FROM offered o JOIN rated r ON r.target_id = o.id AND r.dimension = {quoted(self.dimension)}"
        )
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE chosen AS {_CONTROL if self.control else _WELL}")
        rated, taken = (
            cursor.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in ("scored", "chosen")
        )
        if not rated:
            raise LakeUsageError(
                f"no row of {shape} is rated on {self.dimension!r}; give the preset `line: {{rate: …}}` and run "
                "`alignery refresh`, or name a dimension that the view scores has"
            )
        if not taken:
            raise LakeUsageError(
                f"none of {rated} rows of {shape} is rated {least:g} or more on {self.dimension}; ask for less"
            )
        how = "at random, as many as are rated" if self.control else "rated"
        return f"{taken} of the {rated} rated on {self.dimension}, {how} {least:g} or more"


@dataclass(frozen=True)
class Chosen:
    """What a selection did: in words, the figures of a mixture, and the examples that its few-shot rows are shown."""

    words: str
    mixture: Row | None
    examples: Examples


class Leaks:
    """Leaves rows out of batches whose prompts are in an evaluation set, and counts them."""

    def __init__(self, leaked: Callable[[str], bool] | None) -> None:
        self.count, self._leaked = 0, leaked

    def columns(self, shape: Shape) -> str:
        """The SQL of what `without` needs of a shape's rows: the prompt, and the prompt with its input."""
        if self._leaked is None:
            return ""
        whole = ", concat(prompt_text, chr(10), input)" if "input" in shape.columns else ""
        return f", [prompt_text{whole}] AS {PROMPTS}"

    def without(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._leaked is None:
            return batch
        clean = [not any(map(self._leaked, texts)) for texts in batch.column(PROMPTS).to_pylist()]
        self.count += clean.count(False)
        return batch.drop_columns([PROMPTS]).filter(pa.array(clean, pa.bool_()))


def columns(shape: Shape, mix: Mix | None = None) -> str:
    """The SQL of what `choose` must be offered of a shape's rows, beside `held_out`."""
    return f"id, {shape.answer} AS answer{mix.columns(shape) if mix else ''}"

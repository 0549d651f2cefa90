"""Mixing: how many rows each part of an export gives, and the form of each row.

Source: examples-proportional mixing of T5 (arXiv 1910.10683, section 3.5.2), as FLAN has it (2109.01652, section 2.4;
2301.13688): the rate of a part of n rows is min(n, cap)^(1/T), the cap before the temperature, and its share is that
rate over the sum of all; T 1 is proportional, and the shares become equal as T grows. Departures:
1. The sources draw a stream at these rates; here a file of that many rows is written, so its size is a setting: by
   default the most that gives every part its share without a row twice.
2. A part that has too few rows gives what it has, and the realised share shows it. Rows are repeated only with
   `repeat`, whole passes first, and counted.
3. FLAN draws a template for each example; here each form has its exact share of the rows, drawn by hash.
4. The test split is unchanged: neither mixed nor put into other forms.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

import duckdb
import pyarrow as pa

from alignery.declarations import Shape
from alignery.untrusted import excerpt
from warehouse.errors import LakeUsageError
from warehouse.schema.tables import Row, quoted

ZERO, FEW, CHAIN, INVERTED = "zero", "few", "chain", "inverted"
FORMS = (ZERO, FEW, CHAIN, INVERTED)
# (form, the row: instruction, answer, rationale, examples) → its messages
Phrase = Callable[[str, Row], Sequence[Row]]
_POOL = 256  # rows of the training split that examples are drawn from; our choice
_HELD = 16 * _POOL  # rows that the pool is made of, as ratings may leave few of them; our choice
# The SQL of a row's part. A row that no model wrote has no attempt.
_PARTS = {
    "origin": "coalesce((SELECT any_value(i.origin) FROM instructions i WHERE i.id = instruction_id), 'unknown')",
    "method": "coalesce((SELECT any_value(split_part(a.step, '.', 1)) FROM attempts a WHERE a.id = attempt_id),"
    " 'given')",
}
_RATIONALE = (
    "(SELECT any_value(w.text) FROM (SELECT instruction_id AS about, text FROM voted) w WHERE w.about = instruction_id)"
)


def part_of(by: str) -> str:
    """The SQL of a row's part, by `origin`, `method` or a column of its view."""
    column = by.replace('"', '""')
    return _PARTS.get(by) or f"coalesce(CAST(\"{column}\" AS VARCHAR), 'unknown')"


@dataclass(frozen=True)
class Mix:
    """Which parts there are, how large each should be, and the forms of its rows.

    Args:
        by: origin (of the instruction), method (that wrote the answer), or a column of the view, such as topic.
        only: the parts that are taken; none takes all.
        cap: rows of a part that count, at most; None counts all.
        temperature: T, at least 1.
        rows: of the training split in all; None takes the most that repeats nothing, or with `repeat` the sum of the
            parts, each up to the cap.
        repeat: whether a part with too few rows gives some of them again.
        seed: of the draw.
        forms: form → its share of the training rows; what is left stays as it is (zero).
        shots: worked examples of a row in the form `few`.
        phrase: puts a row into a form.
    """

    by: str = "origin"
    only: Sequence[str] = ()
    cap: int | None = None
    temperature: float = 1.0
    rows: int | None = None
    repeat: bool = False
    seed: int = 0
    forms: Mapping[str, float] = field(default_factory=dict)
    shots: int = 3
    phrase: Phrase | None = None

    def columns(self, shape: Shape) -> str:
        """The SQL of what `choose` must be offered of a shape's rows, beside those of a selection.

        Raises:
            LakeUsageError: forms for rows that are not one question and one answer.
        """
        if self.forms and (shape.columns, shape.answer) != (("messages",), "messages[2].content"):
            raise LakeUsageError(f"forms: got the shape {shape.name}, expected one of messages, such as sft; drop them")
        asked = ", prompt_text AS asked" if self.forms.get(FEW) else ""
        chain = f", {_RATIONALE} AS rationale" if self.forms.get(CHAIN) else ""
        return f", {part_of(self.by)} AS part{asked}{chain}"

    @property
    def offered(self) -> list[str]:
        """The names of those that the choice itself uses; the others are for the examples."""
        return ["part", *(["rationale"] if self.forms.get(CHAIN) else [])]

    def check(self, shape: Shape, there: Sequence[str]) -> None:
        """Raises LakeUsageError if the shape's rows have no such parts; `there` are its view's columns."""
        needed = {"origin": "instruction_id", "method": "attempt_id"}.get(self.by, self.by)
        if needed not in there:
            known = [*_PARTS, *(name for name in there if name in ("topic", "source", "kind"))]
            raise LakeUsageError(f"mix: got {excerpt(self.by, 60)!r}, and {shape.name} has no such column; try {known}")

    def choose(self, cursor: duckdb.DuckDBPyConnection, examples: Examples) -> Row:
        """Restrict the table `chosen` to the mixture, with a row for each time that an id is taken.

        Args:
            cursor: has the table `chosen` (id), and `offered` (id, held_out, part, and rationale for chains).
            examples: made from all of `offered`.

        Returns:
            The settings, and of the parts and forms the target shares and the realised ones, for manifest and card.

        Raises:
            LakeUsageError: a part in `only` does not exist.
        """
        examples.keep(cursor)
        rows = cursor.execute(
            "SELECT part, count(*) FROM chosen JOIN offered USING (id) WHERE NOT held_out GROUP BY part ORDER BY part"
        ).fetchall()
        counts = self._taken_parts({str(part): int(count) for part, count in rows})
        taken = self._quotas(counts)
        self._take(cursor, counts, taken)
        total = sum(taken.values())
        parts = [
            {"part": name, "there": counts[name], "target": share, "rows": taken[name]}
            | {"share": taken[name] / total if total else 0.0, "repeated": max(0, taken[name] - counts[name])}
            for name, share in shares(counts, self.cap, self.temperature).items()
        ]
        forms = self._form(cursor, total) if self.forms else []
        if any(one["form"] == FEW and one["rows"] for one in forms):
            examples.check(self.shots)
        settings: dict[str, Any] = {"by": self.by, "cap": self.cap, "temperature": self.temperature, "rows": self.rows}
        settings |= {"only": [*self.only]} if self.only else {}
        settings |= {"repeat": self.repeat, "seed": self.seed, "shots": self.shots if self.forms.get(FEW) else None}
        return settings | {"parts": parts, "forms": forms}

    def _taken_parts(self, counts: Mapping[str, int]) -> dict[str, int]:
        """The parts that are mixed, with their rows."""
        if missing := [name for name in self.only if name not in counts]:
            unknown, known = excerpt(missing[0], 60), [excerpt(name, 60) for name in counts]
            raise LakeUsageError(f"mix.only: got {unknown!r}, expected parts by {self.by}: some of {known}; correct it")
        return {name: count for name, count in counts.items() if not self.only or name in self.only}

    def _quotas(self, counts: Mapping[str, int]) -> dict[str, int]:
        """How many rows each part gives."""
        there = shares(counts, self.cap, self.temperature)
        total = self.rows
        if total is None and self.repeat:
            total = sum(min(count, self.cap or count) for count in counts.values())
        elif total is None:
            total = min((int(count / there[name] * (1 + 1e-12)) for name, count in counts.items()), default=0)
        quotas = apportioned(there, total)
        return quotas if self.repeat else {name: min(count, counts[name]) for name, count in quotas.items()}

    def _take(self, cursor: duckdb.DuckDBPyConnection, counts: Mapping[str, int], taken: Mapping[str, int]) -> None:
        names = list(counts)
        quotas = pa.table(
            {
                "part": pa.array(names, pa.string()),
                "there": pa.array([counts[name] for name in names], pa.int64()),
                "quota": pa.array([taken[name] for name in names], pa.int64()),
            }
        )
        cursor.register("quotas", quotas)
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE mixed AS WITH ranked AS ("
            f" SELECT id, part, row_number() OVER (PARTITION BY part ORDER BY {self._draw('id')}, id) - 1 AS place"
            " FROM chosen JOIN offered USING (id) WHERE NOT held_out)"
            " SELECT id, unnest(range(quota // there + (place < quota % there)::INT)) AS copy"
            " FROM ranked JOIN quotas USING (part)"
        )
        cursor.unregister("quotas")
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE chosen AS SELECT id FROM mixed"
            " UNION ALL SELECT id FROM chosen JOIN offered USING (id) WHERE held_out"
        )

    def _form(self, cursor: duckdb.DuckDBPyConnection, total: int) -> list[Row]:
        """Give each row of the mixture its form; a chain of thought only where there is one."""
        asked = {**self.forms, ZERO: max(0.0, 1 - sum(self.forms.values()))}
        quotas = apportioned(asked, total)
        rationale = "rationale" if self.forms.get(CHAIN) else "NULL::VARCHAR"
        few = quotas.get(FEW, 0)
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE chosen AS WITH drawn AS ("
            f" SELECT id, {rationale} AS rationale, {self._draw('form', 'id', 'copy')} AS draw FROM mixed"
            " JOIN offered USING (id)), chained AS ("
            " SELECT *, rationale IS NOT NULL AND row_number() OVER (ORDER BY rationale IS NULL, draw, id)"
            f" <= {quotas.get(CHAIN, 0)} AS is_chain FROM drawn), placed AS ("
            " SELECT *, row_number() OVER (PARTITION BY is_chain ORDER BY draw, id) AS place FROM chained)"
            f" SELECT id, CASE WHEN is_chain THEN '{CHAIN}' WHEN place <= {few} THEN '{FEW}'"
            f" WHEN place <= {few + quotas.get(INVERTED, 0)} THEN '{INVERTED}' ELSE '{ZERO}' END AS form,"
            " CASE WHEN is_chain THEN rationale END AS rationale FROM placed"
            f" UNION ALL SELECT id, '{ZERO}', NULL FROM chosen JOIN offered USING (id) WHERE held_out"
        )
        counted = cursor.execute(
            "SELECT form, count(*) FROM chosen JOIN offered USING (id) WHERE NOT held_out GROUP BY form"
        )
        realised = dict(counted.fetchall())
        return [
            {"form": form, "target": asked[form], "rows": realised.get(form, 0)}
            | {"share": realised.get(form, 0) / total if total else 0.0}
            for form in FORMS
            if form in asked
        ]

    def _draw(self, *texts: str) -> str:
        """The SQL of a hash that orders rows; `form` is a literal, all others are columns."""
        parts = [quoted(text) if text == "form" else f"CAST({text} AS VARCHAR)" for text in texts]
        return f"md5({' || chr(0) || '.join([quoted(str(self.seed)), *parts])})"

    def phrased(self, batch: pa.RecordBatch, examples: Examples) -> pa.RecordBatch:
        """The batch with each row's messages in the row's form."""
        if not self.forms or self.phrase is None:
            return batch
        columns = ("messages", "form", "rationale", "id")
        rows = zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
        chats = []
        for messages, form, rationale, id in rows:
            if form == ZERO:
                chats.append(messages)
                continue
            instruction, answer = messages[0]["content"], messages[1]["content"]
            row = {"instruction": instruction, "answer": answer, "rationale": rationale}
            row["examples"] = examples.of(id, instruction, self.shots) if form == FEW else []
            chats.append(self.phrase(form, row))
        place = batch.schema.get_field_index("messages")
        return batch.set_column(place, batch.schema.field(place), pa.array(chats, batch.schema.field(place).type))


class Examples:
    """Worked examples for few-shot rows: of the training split those that a hash draws."""

    def __init__(self, mix: Mix | None) -> None:
        self._wanted, self._seed = bool(mix and mix.forms.get(FEW)), mix.seed if mix else 0
        self._pool: list[tuple[int, str, str, str]] = []  # a heap, the greatest draw (negated) first

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at offered rows: id, held_out, asked, answer."""
        if not self._wanted:
            return
        columns = ("held_out", "id", "asked", "answer")
        for is_held_out, id, asked, answer in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
            if is_held_out or not answer:
                continue
            draw = int(md5(f"{self._seed}\0{id}".encode()).hexdigest(), 16)
            heapq.heappush(self._pool, (-draw, id, asked, answer))
            if len(self._pool) > _HELD:
                heapq.heappop(self._pool)

    def keep(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Drop the rows that are not in the table `chosen` (id), so that no example is one left out by a selection."""
        if not self._pool:
            return
        ids = pa.table({"id": pa.array([id for _, id, *_ in self._pool], pa.string())})
        cursor.register("shown", ids)
        chosen_ids = {id for (id,) in cursor.execute("SELECT id FROM shown SEMI JOIN chosen USING (id)").fetchall()}
        cursor.unregister("shown")
        self._pool = sorted(row for row in self._pool if row[1] in chosen_ids)[-_POOL:]

    def check(self, shots: int) -> None:
        """Raises LakeUsageError if there are too few rows for that many."""
        there = len({asked for _, _, asked, _ in self._pool})
        if there <= shots:
            raise LakeUsageError(
                f"forms.few: got {there} prompts of the training split, expected more than {shots} to show that many "
                "examples; give fewer shots"
            )

    def of(self, id: str, instruction: str, shots: int) -> list[Row]:
        """The examples {instruction, answer} of a row, never its own prompt; the same each time."""
        others = {asked: answer for _, _, asked, answer in self._pool if asked != instruction}
        prompts = random.Random(f"{self._seed} {id}").sample(sorted(others), min(shots, len(others)))
        return [{"instruction": asked, "answer": others[asked]} for asked in prompts]


def shares(counts: Mapping[str, int], cap: int | None, temperature: float) -> dict[str, float]:
    """The share of each part: min(n, cap)^(1/T) over the sum of these."""
    rates = {name: min(count, cap or count) ** (1 / temperature) for name, count in counts.items()}
    total = sum(rates.values())
    return {name: rate / total for name, rate in rates.items()}


def apportioned(parts: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers of that sum, as close to the shares as possible: the largest remainders are rounded up."""
    exact = {name: share * total for name, share in parts.items()}
    found = {name: int(value + 1e-9) for name, value in exact.items()}
    by_rest = sorted(found, key=lambda name: (found[name] - exact[name], name))
    for name in by_rest[: total - sum(found.values())]:
        found[name] += 1
    return found

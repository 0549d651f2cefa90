"""What is finished: rounds of sources, and instructions that went through every stage of a configuration.

A finished row costs one anti-join for all of them, where its requests would be a look-up each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from warehouse.database.session import READ
from warehouse.lake import Lake
from warehouse.schema.tables import Row, quoted

_ROWS = 16_384  # of a streamed result at a time
_LEFT = 8192  # instructions with something left to do that are read at once, about
_KEPT = "i.id, i.topic, i.text, i.question_type"


@dataclass(frozen=True)
class Round:
    """A finished round of a source: counts of requests, candidates and accepted instructions."""

    requests: int
    candidates: int
    accepted: int


def rounds(lake: Lake, source_key: str) -> list[Round]:
    """The finished rounds of a source, from the first one to the last before one that is not finished."""
    found = lake.rows(
        "SELECT round, any_value(requests) AS requests, any_value(candidates) AS candidates,"
        " any_value(len(accepted))::INT AS accepted"
        f" FROM rounds WHERE source_key = {quoted(source_key)} GROUP BY round ORDER BY round"
    )
    return [Round(**row) for number, row in enumerate(found) if row.pop("round") == number]


def topics(lake: Lake, source_key: str, count: int) -> list[str]:
    """The topic of each request of a source's first rounds, in their order."""
    query = "SELECT round, any_value(topics) AS topics FROM rounds"
    query += f" WHERE source_key = {quoted(source_key)} AND round < {count} GROUP BY round ORDER BY round"
    with lake.query(query) as cursor:
        batches = cursor.to_arrow_reader(_ROWS)
        return [sys.intern(topic) for batch in batches for some in batch["topics"].to_pylist() for topic in some]


def accepted(lake: Lake, source_key: str, count: int) -> Iterator[pa.RecordBatch]:
    """The instructions that the first rounds of a source accepted, in their order: id, topic, text, question_type."""
    with lake.query(
        f"SELECT {_KEPT} FROM ({_places(source_key, count)}) p JOIN instructions i ON i.id = p.id"
        " ORDER BY p.round, p.place"
    ) as cursor:
        yield from cursor.to_arrow_reader(_ROWS)


def unfinished(lake: Lake, source_key: str, count: int, walk_key: str, most: int) -> Iterator[list[Row]]:
    """Of the first `most` instructions that a source's first rounds accepted, those with something left to do.

    Args:
        count: rounds of the source.

    Returns:
        Lists of rows as `accepted` has them, in their order; none where nothing is left.
    """
    among = _places(source_key, count)
    left = (
        f"SELECT p.id, p.round, p.place FROM (SELECT * FROM ({among}) ORDER BY round, place LIMIT {most}) p"
        f" ANTI JOIN ({_finished(walk_key)}) f ON f.instruction_id = p.id"
    )
    counts = lake.rows(f"SELECT round, count(*) AS n FROM ({left}) GROUP BY round ORDER BY round")
    for first, last in _spans(counts):
        within = f"SELECT * FROM ({left}) WHERE round BETWEEN {first} AND {last}"
        yield lake.rows(
            f"SELECT {_KEPT} FROM ({within}) p JOIN instructions i ON i.id = p.id ORDER BY p.round, p.place"
        )


def requests(lake: Lake, source_key: str, count: int, walk_key: str, most: int) -> tuple[int, int]:
    """How many of them are finished, and how many requests these took."""
    among = f"SELECT id FROM ({_places(source_key, count)}) ORDER BY round, place LIMIT {most}"
    (found,) = lake.rows(
        "SELECT count(*) AS rows, coalesce(sum(requests), 0)::BIGINT AS n FROM"
        f" ({_finished(walk_key)}) f SEMI JOIN ({among}) p ON p.id = f.instruction_id"
    )
    return int(found["rows"]), int(found["n"])


def known(lake: Lake, ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """What of these instructions is finished: (instruction, walk key) → requests that it took."""
    with lake.cursor(begin=READ, asked=pa.table({"id": pa.array(ids, pa.string())})) as cursor:
        query = "SELECT instruction_id, walk_key, requests FROM finished SEMI JOIN asked ON instruction_id = id"
        lake.read_consistent(cursor, lambda: cursor.execute(query))
        return {(id, key): requests for id, key, requests in cursor.fetchall()}


def _places(source_key: str, count: int) -> str:
    """Each accepted instruction of the first rounds with its place."""
    return (
        "SELECT round, unnest(accepted) AS id, generate_subscripts(accepted, 1) AS place FROM"
        f" (SELECT round, any_value(accepted) AS accepted FROM rounds WHERE source_key = {quoted(source_key)}"
        f" AND round < {count} GROUP BY round)"
    )


def _finished(walk_key: str) -> str:
    return (
        "SELECT instruction_id, any_value(requests) AS requests FROM finished"
        f" WHERE walk_key = {quoted(walk_key)} GROUP BY instruction_id"
    )


def _spans(counts: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """First and last number of consecutive rounds that have some thousand rows together."""
    first, total = None, 0
    for row in counts:
        first = row["round"] if first is None else first
        total += row["n"]
        if total >= _LEFT:
            yield first, row["round"]
            first, total = None, 0
    if first is not None:
        yield first, counts[-1]["round"]

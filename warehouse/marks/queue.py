"""What a person should review next: pairs of answers, or rows of a trainer's view, in the requested order."""

from __future__ import annotations

from itertools import pairwise

from alignery.declarations import Shape
from alignery.hashing import digest
from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.marks.things import describe
from warehouse.query.records import begins_with, is_in
from warehouse.query.time_travel import fetch_rows
from warehouse.schema.shapes import check_shape
from warehouse.schema.tables import Row, quoted

PAIRS, ANSWERS = "pairs", "answers"
ORDERS = ("uncertainty", "disagreement", "principle", "random")
_DRAWN_FROM = 2000  # instructions of the part that a random queue begins with, at least; our choice
# The outcomes of all judges of a pair together.
_JUDGED = """
    SELECT
        a_id, b_id, any_value(instruction_id) AS instruction_id, min(dimension) AS dimension, avg(p) AS p,
        max(greatest(p_a_first, p_b_first)) - min(least(p_a_first, p_b_first)) AS spread
    FROM judged_pairs WHERE source = '{source}' AND {wanted} AND {part} GROUP BY a_id, b_id"""
# An answer and its revision are a pair too, without a judge.
_REVISED = """
    SELECT r.response_id AS a_id, r.id AS b_id, r.instruction_id, v.principle_id AS dimension, NULL AS p, NULL AS spread
    FROM (FROM revised WHERE {part}) r JOIN revisions v ON v.id = r.id AND v.instruction_id = r.instruction_id
    WHERE {wanted}"""
_CHOSEN = {
    "uncertainty": ("p IS NOT NULL", "abs(p - 0.5)"),
    "disagreement": ("spread > 0", "spread DESC"),
    "principle": ("dimension IS NOT NULL", "row_number() OVER (PARTITION BY dimension ORDER BY {draw}), dimension"),
    "random": ("true", "{draw}"),
}
_LACKING = {
    "uncertainty": "no judge gave them a probability; use the order random, or add a judge, `line: {compare: {}}`",
    "disagreement": "no two orders or judges of them differ; use the order uncertainty or random",
    "principle": "none of them was made or judged under a principle; order them at random",
    "random": "the lake has none",
}


def kinds(lake: Lake) -> list[str]:
    """What a queue may be made of: pairs, answers of models, rows of a trainer's view."""
    return [PAIRS, ANSWERS, *(name for name, shape in lake.schema.shapes.items() if not shape.select)]


def queue(
    lake: Lake,
    kind: str,
    order: str,
    count: int,
    *,
    by: str | None = None,
    dimension: str | None = None,
    seed: int = 0,
) -> list[Row]:
    """The next things to mark, in order.

    Args:
        kind: 'pairs' (two answers to an instruction, compared or revised), 'answers' (two models' held-out answers that
            a judge compared), or a trainer's view, as 'sft'.
        order: 'uncertainty' (the judges' mean probability nearest to 0.5), 'disagreement' (orders or judges that differ
            most), 'principle' (of each principle or dimension in turn) or 'random'.
        by: leaves out what this person gave a verdict on.
        dimension: only of this principle, or this dimension of a judge.
        seed: of the draw, and of the order among equals.

    Returns:
        Rows: target_id and other_id (of a row null), record_table, instruction_id, dimension, p (0 to 1 that the first
        is better; null without a judge), spread (0 to 1 between orders and judges), prompt, first, second (the
        texts; second of a row is what it is compared with: the rejected answer, or the corrected one; else null).

    Raises:
        LakeUsageError: no such kind or order, nothing that can be ordered like that, or a view that lacks a column.
    """
    if kind not in kinds(lake) or order not in ORDERS:
        known = ", ".join(kinds(lake)) if kind not in kinds(lake) else ", ".join(ORDERS)
        given = kind if kind not in kinds(lake) else order
        raise LakeUsageError(f"queue: got {given[:60]!r}, expected one of {known}; name one of those")
    if kind not in (PAIRS, ANSWERS):
        shape = lake.schema.shape(kind)
        with lake.cursor(views=[shape.view]) as cursor:
            check_shape(cursor, shape)
    only, sorting = _CHOSEN[order]
    draw = f"md5(concat(a_id, b_id, {quoted(str(int(seed)))}))"
    done = "SELECT target_id, other_id FROM current_marks WHERE verdict IS NOT NULL AND marked_by = " + quoted(by or "")
    done += f" AND (dimension IS NULL OR {_wanted('dimension', dimension)})"
    found, offered = list[Row](), 0
    for part in _parts(lake, kind, order, seed):
        source = _source(lake, kind, dimension, part)
        with lake.cursor(views=lake.schema.views_in(f"{source} {done}")) as cursor:
            cursor.execute(f"CREATE OR REPLACE TEMP TABLE offered AS SELECT * FROM ({source}) WHERE {only}")
            found += fetch_rows(
                cursor,
                f"SELECT o.* FROM offered o ANTI JOIN ({done}) d ON d.target_id = least(a_id, coalesce(b_id, a_id))"
                " AND d.other_id IS NOT DISTINCT FROM CASE WHEN b_id IS NOT NULL THEN greatest(a_id, b_id) END"
                f" ORDER BY {sorting.format(draw=draw)}, {draw} LIMIT {max(0, int(count) - len(found))}",
            )
            offered += fetch_rows(cursor, "SELECT count(*) AS n FROM offered")[0]["n"]
        if offered and len(found) >= count:
            break
    if not offered:
        of = f" of {dimension}" if dimension else ""
        raise LakeUsageError(f"there are no {kind}{of} to queue by {order}: {_LACKING[order]}")
    return _with_texts(lake, kind, found)


def _parts(lake: Lake, kind: str, order: str, seed: int) -> list[str]:
    """Conditions on `instruction_id` that divide the lake; rows are drawn from one part after another.

    Ids are hashes, so those with the same beginning as the seed's hash are a random part of a large lake, and as merged
    files are sorted by them, no more than that part is read. The order stays that of the seed, however many are asked
    for; it changes when the lake has grown sixteenfold.
    """
    digits = 0  # of the seed's hash, that the ids of the first part begin with
    if order == "random" and kind != ANSWERS:
        instructions = lake.rows("SELECT count(*) AS n FROM instructions")[0]["n"]
        while instructions >= 16 ** (digits + 1) * _DRAWN_FROM:
            digits += 1
    hash = digest(str(int(seed)))
    nested = [begins_with("instruction_id", hash[:count]) if count else "true" for count in range(digits + 1)]
    rest = [f"{outer} AND {inner} IS NOT TRUE" for outer, inner in pairwise(nested)]
    return [nested[-1], *reversed(rest)]


def _wanted(column: str, dimension: str | None) -> str:
    return f"{column} = {quoted(dimension)}" if dimension else "true"


def _source(lake: Lake, kind: str, dimension: str | None, part: str) -> str:
    of_dimension, of_revisions = (_wanted(column, dimension) for column in ("dimension", "v.principle_id"))
    if kind == ANSWERS:
        return _JUDGED.format(source="verdict", wanted=of_dimension, part=part)
    if kind == PAIRS:
        judged = _JUDGED.format(source="comparison", wanted=of_dimension, part=part)
        revised = _REVISED.format(wanted=of_revisions, part=part)
        return f"FROM ({judged}) UNION ALL BY NAME (FROM ({revised}) ANTI JOIN ({judged}) USING (a_id, b_id))"
    rows = f"SELECT id, instruction_id FROM {lake.schema.shape(kind).view} WHERE {part}"
    return (
        "SELECT s.id AS a_id, NULL::VARCHAR AS b_id, s.instruction_id, v.principle_id AS dimension, NULL::DOUBLE AS p,"
        f" NULL::DOUBLE AS spread FROM ({rows}) s LEFT JOIN revisions v ON v.id = s.id"
        " AND v.instruction_id = s.instruction_id"
        f" WHERE {of_revisions}"
    )


def _with_texts(lake: Lake, kind: str, found: list[Row]) -> list[Row]:
    instructions = {row["instruction_id"] for row in found}
    known = None if None in instructions else instructions
    texts = describe(lake, [(row["a_id"], row["b_id"]) for row in found], known)
    if kind not in (PAIRS, ANSWERS):
        shape = lake.schema.shape(kind)
        rows = lake.rows(
            f"SELECT id, {shape.prompt} AS prompt, {shape.answer} AS first, {_beside(shape)} AS second"
            f" FROM {shape.view} WHERE {is_in('id', [row['a_id'] for row in found])}"
            f" AND {is_in('instruction_id', known) if known else 'true'}"
        )
        texts = {key: texts[key] | row for row in rows if (key := (row.pop("id"), None)) in texts}
    return [
        {"target_id": row["a_id"], "other_id": row["b_id"]}
        | {name: row[name] for name in ("dimension", "p", "spread")}
        | texts[row["a_id"], row["b_id"]]
        for row in found
        if (row["a_id"], row["b_id"]) in texts
    ]


def _beside(shape: Shape) -> str:
    """The SQL of the text that a row's answer is shown with."""
    if "rejected" in shape.columns:
        return "rejected[1].content"
    return "answer" if shape.answer == "correction" else "NULL"

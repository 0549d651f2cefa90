"""A hash of rows that sees every value and nothing else."""

import hashlib
import json
import struct

import pyarrow as pa
import pytest

from warehouse.export.content_hash import ContentHasher

TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
ROWS = [
    {"text": "a", "turns": [{"role": "user", "content": "é"}, {"role": "assistant", "content": ""}]},
    {"text": None, "turns": []},
    {"text": "", "turns": None},
    {"text": "b\u2028c", "turns": [{"role": None, "content": "x" * 100_000}, None]},
]


def table(rows=ROWS, text=None, turns=TURNS):
    return pa.table({"text": pa.array([r["text"] for r in rows], text or pa.string()),
                     "turns": pa.array([r["turns"] for r in rows], turns)})  # fmt: skip


def content(*batches):
    found = ContentHasher()
    for batch in batches:
        found.add(batch)
    return found.hexdigest()


def whole(rows):
    return content(*table(rows).to_batches())


def test_how_the_rows_are_cut_and_laid_out_leaves_no_trace():
    (batch,) = table().to_batches()
    expected = content(batch)
    for cut in range(len(ROWS) + 1):
        assert content(batch.slice(0, cut), batch.slice(cut)) == expected
    large = pa.large_list(pa.struct([("role", pa.large_string()), ("content", pa.string_view())]))
    assert content(*table(text=pa.large_string(), turns=large).to_batches()) == expected
    assert content(*table(text=pa.string_view()).to_batches(max_chunksize=1)) == expected
    assert content(*table([*ROWS, *ROWS]).slice(len(ROWS)).to_batches()) == expected


def test_the_hash_can_be_found_again_without_arrow():
    texts = [row["text"] for row in ROWS]
    lengths = [-1 if text is None else len(text.encode()) for text in texts]
    streams = {
        "text lengths": struct.pack("<4q", *lengths),
        "text bytes": b"".join(text.encode() for text in texts if text is not None),
    }
    found = {name: hashlib.sha256(data).hexdigest() for name, data in streams.items()}
    expected = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    assert content(*table().select(["text"]).to_batches()) == expected


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([{"text": "ab"}, {"text": "c"}], [{"text": "a"}, {"text": "bc"}]),
        ([{"text": "a"}, {"text": "b"}], [{"text": "b"}, {"text": "a"}]),
        ([{"text": None}], [{"text": ""}]),
        ([{"text": "a"}], [{"text": "a"}, {"text": ""}]),
        ([{"turns": None}], [{"turns": []}]),
        ([{"turns": [None]}], [{"turns": [{"role": None, "content": None}]}]),
        ([{"turns": [{"role": "a", "content": "b"}]}], [{"turns": [{"role": "ab", "content": ""}]}]),
        ([{"turns": [{"role": "a", "content": "b"}]}] * 2, [{"turns": [{"role": "a", "content": "b"}] * 2}]),
    ],
)
def test_every_value_and_every_border_between_values_is_seen(left, right):
    empty = {"text": "-", "turns": []}
    assert whole([empty | row for row in left]) != whole([empty | row for row in right])


def test_names_are_seen_and_other_kinds_refused():
    (batch,) = table().select(["text"]).to_batches()
    assert content(batch) != content(batch.rename_columns(["words"]))
    with pytest.raises(TypeError, match="n: got int64"):
        content(*pa.table({"n": [1]}).to_batches())


def test_doubles_are_seen_with_their_nulls_however_they_are_cut():
    def of(*values):
        return pa.table({"p": pa.array(values, pa.float64())})

    base = content(*of(0.5, None, 0.0).to_batches())
    assert base == content(*of(0.5).to_batches(), *of(None, 0.0).to_batches())
    for other in ((0.5, 0.0, None), (0.5, 0.0, 0.0), (0.6, None, 0.0), (0.5, None)):
        assert content(*of(*other).to_batches()) != base

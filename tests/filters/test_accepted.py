"""Accepted instructions by place and by topic, whether they lie in memory or in the file."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import accepted
from tasks.accepted import COLUMNS, Accepted
from tasks.step import Row


def row(number: int) -> Row:
    topic = ("tea", "ink", "fog")[number * number % 3]
    return {"id": f"i{number}", "topic": topic, "text": f"text {number}", "question_type": None}


@settings(deadline=None)
@given(stored=st.integers(0, 9), added=st.integers(0, 9), first=st.integers(0, 20), full=st.integers(1, 4))
def test_it_is_the_list_of_what_was_added(stored: int, added: int, first: int, full: int) -> None:
    rows = [row(number) for number in range(stored + added)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accepted, "_FULL", full)
        found = Accepted()
        schema = pa.schema([(name, pa.string()) for name in COLUMNS])
        found.extend(pa.RecordBatch.from_pylist(rows[:stored], schema))
        for one in rows[stored:]:
            found.append(one | {"state": "accepted"})
    assert list(found) == rows
    assert [found[place] for place in range(len(rows))] == rows == found[:]
    view, count = found.first(first), min(first, len(rows))
    assert (len(view), list(view), view[1:3]) == (count, rows[:count], rows[:count][1:3])
    for topic in ("tea", "ink", "fog", "unknown"):
        assert list(view.of_topic(topic)) == [one for one in rows[:count] if one["topic"] == topic]
    with pytest.raises(IndexError):
        view[count]

"""Addresses of every kind of page over the lake of these tests."""

from __future__ import annotations

EVERYWHERE = [
    *("/", "/report/run-1", "/rows", "/rows/attempts", "/rows/rejects", "/rows/instructions?_cols=all", "/rows/sft"),
    *("/row/instructions/i0", "/row/instructions/poison", "/row/instructions/rtl", "/row/attempts/lost0-try0"),
    *("/pairs/qac", "/words", "/words/principle:kind", "/models", "/models?a=base&b=m:1", "/models/m:1"),
    *("/snapshots?a=v1", "/live", "/sql?q=SELECT+*+FROM+instructions", "/rows/nothing"),
]

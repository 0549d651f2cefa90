"""A prompt of an export, and where it belongs there, computed without DuckDB."""

import hashlib


def held(text, share):
    """The side of a prompt, computed without DuckDB: the first eight bytes of the text's MD5 decide."""
    return int.from_bytes(hashlib.md5(text.encode()).digest()[:8], "little") % 1_000_000 < share * 1_000_000


def place(text):
    """A prompt's place in an export: the first two bytes of the same hash."""
    return int.from_bytes(hashlib.md5(text.encode()).digest()[:8], "little") >> 48


def asked(row):
    """The prompt of a row, in whichever shape; of a translated one what it was translated from."""
    if "source" in row:
        return row["source"]
    if "conversations" in row:
        return row["conversations"][0]["value"]
    if "messages" in row:
        return row["messages"][0]["content"]
    if isinstance(row.get("prompt"), str):
        return row["prompt"]
    if "prompt" in row:
        return row["prompt"][0]["content"]
    return row.get("instruction") or row["question"]

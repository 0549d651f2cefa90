"""Where a prompt belongs in an export, computed without DuckDB."""

import hashlib


def held(text, share):
    """The side of a prompt, computed without DuckDB: the first eight bytes of the text's MD5 decide."""
    return int.from_bytes(hashlib.md5(text.encode()).digest()[:8], "little") % 1_000_000 < share * 1_000_000


def place(text):
    """A prompt's place in an export: the first two bytes of the same hash."""
    return int.from_bytes(hashlib.md5(text.encode()).digest()[:8], "little") >> 48

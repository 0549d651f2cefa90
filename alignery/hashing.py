"""The content hash that every id and key is made with."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson


def digest(*parts: Any) -> str:
    """32 hex digits (blake2b-128) of the canonical JSON of the parts."""
    return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()

"""Addresses of servers, as a preset, an environment variable or a file holds them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit


def is_url(url: Any) -> bool:
    """Whether it may be a server's address: http(s), a host, no user, password, query or fragment."""
    if not (isinstance(url, str) and url.isprintable() and re.fullmatch(r"https?://[^@?#,\s\\]+", url)):
        return False
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")  # what a name is written in on the way
        return bool(host) and parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:  # a port out of range, brackets around no address, an invalid name
        return False


def base_urls(given: Any) -> Any:
    """One URL, several with commas between them (as an environment variable holds them), or a list."""
    urls = [url.strip().rstrip("/") for url in given.split(",")] if isinstance(given, str) else given
    sound = isinstance(urls, list | tuple) and urls and all(map(is_url, urls))
    if not sound or len(set(urls)) < len(urls):
        raise ValueError(
            "expected http(s)://host:port/v1, without user, password, '?' or '#'; one, or a list without twins"
        )
    return tuple(url.rstrip("/") for url in urls)

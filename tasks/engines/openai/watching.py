"""Servers whose addresses stand in the files of a folder: one joins with its file, and leaves with it."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from alignery.untrusted import excerpt
from tasks.engines.openai.http import Wire
from tasks.engines.replicas import Replica, Replicas
from tasks.engines.specs import OpenAISpec
from tasks.engines.urls import is_url

LONGEST = 2048  # bytes of a file
MOST = 4096  # files

logger = logging.getLogger(__name__)


async def follow(spec: OpenAISpec, replicas: Replicas[Wire]) -> None:
    """Keep the replicas to the servers of the spec's folder, until cancelled. A folder that cannot be read, or is
    there no more, changes nothing: the servers may live."""
    assert spec.servers
    known: dict[str, Replica[Wire]] = {}
    said = ""
    replicas.await_one()
    while True:
        try:
            there, trouble = await asyncio.to_thread(addresses, Path(spec.servers.watch))
        except OSError as error:
            there, trouble = set(known), excerpt(error)
        if trouble and trouble != said:
            logger.warning("servers.watch: %s", trouble)
        said = trouble
        for url in sorted(there - known.keys()):
            logger.info("%s joins", url)
            known[url] = replicas.add(url, Wire(url, spec))
        for url in sorted(known.keys() - there):
            logger.info("%s leaves", url)
            replicas.remove(known.pop(url))
        await asyncio.sleep(spec.servers.every_s)


def addresses(folder: Path) -> tuple[set[str], str]:
    """The addresses in the folder's files, and what is wrong with one that holds none; "" where all do.

    Raises:
        OSError: the folder cannot be read.
    """
    found: set[str] = set()
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    trouble = f"{len(names)} files in {excerpt(folder)}: the first {MOST} are read" if len(names) > MOST else ""
    for name in names[:MOST]:
        try:
            text = _text(folder / name)
        except FileNotFoundError:  # it has just been taken away
            continue
        except (OSError, ValueError) as error:
            trouble = f"{excerpt(folder / name)}: {excerpt(error)}; it is left out"
            continue
        if is_url(text):
            found.add(text.rstrip("/"))
        else:
            trouble = (
                f"{excerpt(folder / name)}: got {excerpt(repr(text), 80)}, expected http(s)://host:port/v1 on one "
                "line; it is left out"
            )
    return found, trouble


def _text(path: Path) -> str:
    """Raises ValueError where it is no file, or holds too much or no text."""
    if not path.is_file():  # a pipe would be waited for
        path.lstat()
        raise ValueError("got no plain file, expected one that holds an address")
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise ValueError(f"got more than {LONGEST} bytes, expected one address")
    return content.decode("utf-8").strip()

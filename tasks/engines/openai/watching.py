"""Service discovery by a folder: each file holds the address of one server, which is used while the file is there."""

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

LONGEST = 2048  # bytes read of a file
MOST = 4096  # files read

logger = logging.getLogger(__name__)


async def follow(spec: OpenAISpec, replicas: Replicas[Wire]) -> None:
    """Keep the replicas equal to the servers in the spec's folder, until cancelled. A folder that cannot be read, or
    was removed, changes nothing: the servers may still be up."""
    assert spec.servers
    known: dict[str, Replica[Wire]] = {}
    logged = ""
    replicas.await_one()
    while True:
        try:
            there, trouble = await asyncio.to_thread(addresses, Path(spec.servers.watch))
        except OSError as error:
            there, trouble = set(known), excerpt(error)
        if trouble and trouble != logged:
            logger.warning("servers.watch: %s", trouble)
        logged = trouble
        for url in sorted(there - known.keys()):
            logger.info("%s joins", url)
            known[url] = replicas.add(url, Wire(url, spec))
        for url in sorted(known.keys() - there):
            logger.info("%s leaves", url)
            replicas.remove(known.pop(url))
        await asyncio.sleep(spec.servers.every_s)


def addresses(folder: Path) -> tuple[set[str], str]:
    """The addresses in the folder's files, and what is wrong with one without an address; "" where all have one.

    Raises:
        OSError: the folder cannot be read.
    """
    found: set[str] = set()
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    trouble = f"{len(names)} files in {excerpt(folder)}: the first {MOST} are read" if len(names) > MOST else ""
    for name in names[:MOST]:
        try:
            text = _text(folder / name)
        except FileNotFoundError:  # removed since it was listed
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
    """A file's text. Raises ValueError where it is no plain file, too long or not UTF-8."""
    if not path.is_file():  # reading a pipe would block
        path.lstat()
        raise ValueError("got no plain file, expected one that holds an address")
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise ValueError(f"got more than {LONGEST} bytes, expected one address")
    return content.decode("utf-8").strip()

"""Servers discovered by a folder: they join and leave during a run, and no request is lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from faulty import Faulty, ok

from tasks.engines import EngineDown, Sampling, SpecError, open_engine, parse_spec
from tasks.engines.openai.watching import LONGEST, addresses

SLOW_S = 0.02


def watched(folder: Path, **changes):
    common = {"engine": "openai", "servers": {"watch": str(folder), "every_s": 0.02}, "model": "m", "in_flight": 4}
    return common | {"give_up_after_s": 5.0, "first_pause_s": 0.01, "longest_pause_s": 0.1} | changes


def slow(words, number):
    return ok(after_s=SLOW_S)


async def until(so, seconds=60):
    async with asyncio.timeout(seconds):
        while not so():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("dies", [False, True])
def test_one_leaves_and_one_joins_in_the_middle_and_nothing_is_lost(tmp_path, dies):
    """One that leaves in peace answers what it had; of one that dies, only what it had is asked again."""

    async def main():
        async with Faulty(slow) as one, Faulty(slow) as two, open_engine(watched(tmp_path)) as engine:
            asks = [asyncio.create_task(engine.generate(str(number), Sampling())) for number in range(120)]
            await asyncio.sleep(0.05)  # there is none yet
            (tmp_path / "one").write_text(one.url + "\n")
            await until(lambda: one.answered.total() >= 20)
            (tmp_path / "two").write_text(two.url)
            await until(lambda: two.answered.total() >= 8)
            (tmp_path / "one").unlink()
            if dies:
                await one.die()
            else:
                await until(lambda: len(engine.replicas.all) == 1)
            before = one.rows.total()
            replies = await asyncio.gather(*asks)
            return replies, before, one, two

    replies, before, one, two = asyncio.run(main())
    assert [reply.text for reply in replies] == ["fine"] * 120
    assert before < 120
    assert one.rows.total() - before <= (0 if dies else 4), "only what was on its way"
    asked = one.rows + two.rows
    assert asked.total() - 120 <= (4 if dies else 0)
    assert all(asked[str(number)] for number in range(120))


def test_none_within_the_stated_time_is_one_sentence_and_a_later_one_is_taken(tmp_path):
    folder = tmp_path / "servers"

    async def main():
        async with Faulty() as one, open_engine(watched(folder, give_up_after_s=0.2)) as engine:
            with pytest.raises(EngineDown) as fault:
                await engine.generate("x", Sampling())
            folder.mkdir()
            (folder / "one").write_text(one.url)
            await until(lambda: engine.replicas.all)
            return fault.value, await engine.generate("y", Sampling())

    fault, reply = asyncio.run(main())
    assert str(fault) == f"no file in {folder} has held a server's address for 0.2 s (give_up_after_s)"
    assert fault.recoverable
    assert reply.text == "fine"


def test_a_folder_that_is_gone_takes_no_server_away(tmp_path):
    folder = tmp_path / "servers"
    folder.mkdir()

    async def main():
        async with Faulty() as one, open_engine(watched(folder)) as engine:
            (folder / "one").write_text(one.url)
            await engine.generate("x", Sampling())
            folder.rename(tmp_path / "elsewhere")
            await asyncio.sleep(0.1)
            return await engine.generate("y", Sampling())

    assert asyncio.run(main()).text == "fine"


def test_what_stands_in_the_files_is_data(tmp_path):
    good = {"one": "http://one:8000/v1\n", "two": "https://two/v1/", "again": "http://one:8000/v1"}
    bad = {
        "empty": "",
        "words": "rm -rf /",
        "password": "http://me:word@one/v1",
        "lines": "http://a:1/v1\nhttp://b:1/v1",
        "long": "http://one:8000/" + "v" * LONGEST,
        ".hidden": "http://hidden/v1",
    }
    for name, text in (good | bad).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "bytes").write_bytes(b"http://\xff")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    found, trouble = addresses(tmp_path)
    assert found == {"http://one:8000/v1", "https://two/v1"}
    assert trouble.endswith("it is left out")
    for name in bad:
        (tmp_path / name).unlink()
    for name in ("bytes", "pipe", "link"):
        (tmp_path / name).unlink()
    (tmp_path / "folder").rmdir()
    assert addresses(tmp_path) == (found, "")


def test_a_spec_has_either_and_is_known_by_no_address():
    watch = {"engine": "openai", "model": "m", "servers": {"watch": "/srv/servers"}}
    spec = parse_spec(watch)
    assert spec.identity() == parse_spec(watch | {"servers": {"watch": "/other", "expect": 3}}).identity()
    assert parse_spec(watch | {"known_as": "http://one/v1"}).identity() == "openai:http://one/v1:m"
    assert parse_spec(watch | {"in_flight": 10, "servers": {"watch": "/srv", "expect": 3}}).places == 30
    for wrong in (watch | {"base_url": "http://one/v1"}, {"engine": "openai", "model": "m"}):
        with pytest.raises(SpecError, match=r"base_url: got (both|neither) base_url and servers"):
            parse_spec(wrong)

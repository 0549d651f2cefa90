"""By hand: aiohttp, one session, as many workers as places in flight, and each answer a line in a file.

It is what a careful engineer writes in an afternoon: a refused row is recorded, and rows in the file are not
requested again.
"""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
from load import FIELDS, IN_FLIGHT, MAX_TOKENS, MODEL, Job, job, prompt, report


async def main(job: Job) -> None:
    path = job.folder / "answers.jsonl"
    known: dict[str, str] = {}
    if path.exists():
        known = dict(json.loads(line) for line in path.read_text().splitlines())
    rows = iter(job.instructions())
    results: dict[str, str | None] = {}
    reasons: list[str] = []

    async def ask(session: aiohttp.ClientSession, words: str) -> str | None:
        body = {"model": MODEL, "max_tokens": MAX_TOKENS, "temperature": 1.0}
        messages = [{"role": "user", "content": words}]
        async with session.post(f"{job.url}/chat/completions", json=body | {"messages": messages}) as response:
            if response.status == 400:
                reasons.append(await response.text())
                return None
            response.raise_for_status()
            return str((await response.json())["choices"][0]["message"]["content"])

    async def worker(session: aiohttp.ClientSession) -> None:
        for row in rows:
            fields = {"instruction": row}
            results[row] = None
            for step in range(job.steps):
                words = prompt(step, fields)
                if words not in known:
                    if (answer := await ask(session, words)) is None:
                        break
                    known[words] = answer
                    file.write(json.dumps([words, answer]) + "\n")
                fields[FIELDS[step + 1]] = known[words]
            else:
                results[row] = known[words]

    connector, patience = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:
        with path.open("a", buffering=1) as file:
            await asyncio.gather(*(worker(session) for _ in range(IN_FLIGHT)))
    (job.folder / "refused.txt").write_text("\n".join(reasons))
    report(job, "aiohttp", time.time(), results, len(reasons))


if __name__ == "__main__":
    asyncio.run(main(job()))

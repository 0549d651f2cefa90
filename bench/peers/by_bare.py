"""By hand: httpx, a client for each place in flight (the most that it gives), and each answer a line in a file.

It is what a careful engineer writes in an afternoon: a row that is refused is noted, and what the file holds is not
asked for again.
"""

from __future__ import annotations

import asyncio
import json
import time

import httpx
from load import FIELDS, IN_FLIGHT, MAX_TOKENS, MODEL, Job, job, prompt, report


async def main(job: Job) -> None:
    path = job.folder / "answers.jsonl"
    known: dict[str, str] = {}
    if path.exists():
        known = dict(json.loads(line) for line in path.read_text().splitlines())
    rows, tls = iter(job.instructions()), httpx.create_ssl_context()
    results: dict[str, str | None] = {}
    reasons: list[str] = []

    async def worker() -> None:
        async with httpx.AsyncClient(timeout=600, verify=tls) as client:
            for row in rows:
                fields = {"instruction": row}
                results[row] = None
                for step in range(job.steps):
                    words = prompt(step, fields)
                    if words not in known:
                        body = {"model": MODEL, "max_tokens": MAX_TOKENS, "temperature": 1.0}
                        messages = [{"role": "user", "content": words}]
                        response = await client.post(f"{job.url}/chat/completions", json=body | {"messages": messages})
                        if response.status_code == 400:
                            reasons.append(response.text)
                            break
                        response.raise_for_status()
                        known[words] = response.json()["choices"][0]["message"]["content"]
                        file.write(json.dumps([words, known[words]]) + "\n")
                    fields[FIELDS[step + 1]] = known[words]
                else:
                    results[row] = known[words]

    with path.open("a", buffering=1) as file:
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    (job.folder / "refused.txt").write_text("\n".join(reasons))
    report(job, "httpx", time.time(), results, len(reasons))


if __name__ == "__main__":
    asyncio.run(main(job()))

"""curator: one `LLM` a step, as its documentation chains them, on its online processor for OpenAI's protocol.

`max_concurrent_requests` is the number in flight, and the limits by the minute, which would hold it back, are out of
the way. Rows that fail are allowed (`require_all_responses`), or the whole run would be an error. It resumes from its
working directory, to which it writes each answer as it comes.
"""

from __future__ import annotations

import os
import time
from importlib.metadata import distribution
from pathlib import Path

from load import FIELDS, IN_FLIGHT, MAX_TOKENS, MODEL, Job, job, prompt, report

# It counts tokens with an encoding that it would fetch from the network; litellm, which it needs, brings a copy.
os.environ["TIKTOKEN_CACHE_DIR"] = str(distribution("litellm").locate_file("litellm/litellm_core_utils/tokenizers"))

from bespokelabs import curator

UNLIMITED = 10**9


class Step(curator.LLM):
    number: int

    def prompt(self, input: dict[str, str]) -> str:
        return prompt(self.number, input)

    def parse(self, input: dict[str, str], response: str) -> dict[str, str]:
        return input | {FIELDS[self.number + 1]: response}


def step(job: Job, number: int) -> Step:
    limits = {"max_concurrent_requests": IN_FLIGHT, "max_requests_per_minute": UNLIMITED}
    backend = limits | {"base_url": job.url, "max_tokens_per_minute": UNLIMITED, "require_all_responses": False}
    sampling = {"temperature": 1.0, "max_tokens": MAX_TOKENS}
    llm = Step(model_name=MODEL, backend="openai", backend_params=backend, generation_params=sampling)
    llm.number = number
    return llm


def main(job: Job) -> None:
    rows = [{"instruction": text} for text in job.instructions()]
    reasons = 0
    for number in range(job.steps):
        response = step(job, number)(rows, working_dir=str(job.folder / f"step-{number}"))
        # Its list of failed requests has no reasons; the file of responses in its cache does.
        cached = Path(response.cache_dir).glob("responses_*.jsonl")
        reasons += sum("I refuse" in line for path in cached for line in path.read_text().splitlines())
        rows = [dict(row) for row in response.dataset]
    written_at = time.time()
    report(
        job, "bespokelabs-curator", written_at, {row["instruction"]: row[FIELDS[job.steps]] for row in rows}, reasons
    )


if __name__ == "__main__":
    main(job())

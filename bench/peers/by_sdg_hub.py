"""sdg_hub: a flow of prompt, chat and extraction blocks, asynchronous, `max_concurrency` the number in flight.

With checkpoints it walks the rows `save_freq` at a time and waits for each lot, so they are on only where the run will
be killed, and a lot is what fits in flight.
"""

from __future__ import annotations

import time

import pandas as pd
import yaml
from load import FIELDS, IN_FLIGHT, MAX_TOKENS, MODEL, Job, job, report, template
from sdg_hub import Flow, FlowMetadata
from sdg_hub.core.blocks import LLMChatBlock, LLMResponseExtractorBlock, PromptBuilderBlock, RenameColumnsBlock


def blocks_of(job: Job, number: int) -> list[object]:
    path, name = job.folder / f"prompt-{number}.yaml", FIELDS[number + 1]
    path.write_text(yaml.safe_dump([{"role": "user", "content": template(number)}]))
    asked, raw, content = f"{name}_messages", f"{name}_raw", f"{name}_text_content"
    ask = PromptBuilderBlock(
        block_name=f"{name}_prompt",
        input_cols=list(FIELDS[: number + 1]),
        output_cols=asked,
        prompt_config_path=str(path),
    )
    chat = LLMChatBlock(
        block_name=f"{name}_chat",
        input_cols=asked,
        output_cols=raw,
        async_mode=True,
        temperature=1.0,
        max_tokens=MAX_TOKENS,
    )
    extract = LLMResponseExtractorBlock(block_name=f"{name}_text", input_cols=raw, extract_content=True)
    return [ask, chat, extract, RenameColumnsBlock(block_name=f"{name}_name", input_cols={content: name})]


def main(job: Job) -> None:
    blocks = [block for number in range(job.steps) for block in blocks_of(job, number)]
    flow = Flow(blocks=blocks, metadata=FlowMetadata(name="peers"))
    flow.set_model_config(model=f"hosted_vllm/{MODEL}", api_base=job.url, api_key="none")
    saved = {"checkpoint_dir": str(job.folder / "checkpoints"), "save_freq": IN_FLIGHT} if job.resumable else {}
    rows = pd.DataFrame({"instruction": job.instructions()})
    frame = flow.generate(rows, max_concurrency=IN_FLIGHT, **saved)
    frame.to_json(job.folder / "rows.jsonl", orient="records", lines=True)
    report(job, "sdg-hub", time.time(), dict(zip(frame["instruction"], frame[FIELDS[job.steps]], strict=True)))


if __name__ == "__main__":
    main(job())

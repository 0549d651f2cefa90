"""data-designer: an LLM column a step, `max_parallel_requests` the number in flight.

Its buffer of rows, after which it writes and from which it resumes, is its default of 1,000 where speed is measured and
a sixth of the rows where it will be killed. Its early stop is off, because of the 3 % bad rows.
"""

from __future__ import annotations

import time

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner
from load import FIELDS, IN_FLIGHT, MAX_TOKENS, MODEL, Job, job, report, template


def config(job: Job) -> dd.DataDesignerConfigBuilder:
    inference = dd.ChatCompletionInferenceParams(
        temperature=1.0, max_tokens=MAX_TOKENS, max_parallel_requests=IN_FLIGHT, timeout=600
    )
    model = dd.ModelConfig(alias="writer", model=MODEL, provider="bench", inference_parameters=inference)
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    path = job.folder / "seeds.parquet"
    pd.DataFrame({"instruction": job.instructions()}).to_parquet(path)
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(path)))
    for number in range(job.steps):
        builder.add_column(
            dd.LLMTextColumnConfig(name=FIELDS[number + 1], prompt=template(number), model_alias="writer")
        )
    return builder


def main(job: Job) -> None:
    provider = dd.ModelProvider(name="bench", endpoint=job.url, provider_type="openai", api_key="none")
    designer = DataDesigner(artifact_path=job.folder / "artifacts", model_providers=[provider])
    buffer = {"buffer_size": job.rows // 6} if job.resumable else {}
    designer.set_run_config(dd.RunConfig(disable_early_shutdown=True, otel_metrics_port=None, **buffer))
    resume = dd.ResumeMode.IF_POSSIBLE if job.resumable else dd.ResumeMode.NEVER
    frame = designer.create(config(job), num_records=job.rows, resume=resume).load_dataset()
    report(job, "data-designer", time.time(), dict(zip(frame["instruction"], frame[FIELDS[job.steps]], strict=True)))


if __name__ == "__main__":
    main(job())

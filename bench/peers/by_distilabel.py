"""distilabel: a TextGeneration step for each step, whose batches are what is in flight.

A step's replica asks for a batch at once and waits for all of it. So the number in flight is shared out among REPLICAS
processes (`StepResources`), each with batches of its part: found by trying, see README.md.
"""

from __future__ import annotations

import itertools
import time

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import StepResources
from distilabel.steps.tasks import TextGeneration
from load import FIELDS, IN_FLIGHT, MAX_TOKENS, MODEL, Job, job, report, template

REPLICAS = 4


def pipeline(job: Job) -> Pipeline:
    with Pipeline(name="peers", cache_dir=job.folder / "cache") as dag:
        steps = []
        for number in range(job.steps):
            sampling = {"temperature": 1.0, "max_new_tokens": MAX_TOKENS}
            llm = OpenAILLM(model=MODEL, base_url=job.url, api_key="none", timeout=600, generation_kwargs=sampling)
            steps.append(
                TextGeneration(
                    name=FIELDS[number + 1],
                    llm=llm,
                    template=template(number),
                    columns=list(FIELDS[: number + 1]),
                    output_mappings={"generation": FIELDS[number + 1], "model_name": f"model_{number}"},
                    input_batch_size=IN_FLIGHT // REPLICAS,
                    resources=StepResources(replicas=REPLICAS),
                )
            )
        for one, following in itertools.pairwise(steps):
            one >> following
    return dag


def main(job: Job) -> None:
    rows = [{"instruction": text} for text in job.instructions()]
    dataset = pipeline(job).run(dataset=rows, dataset_batch_size=IN_FLIGHT)["default"]["train"]
    report(job, "distilabel", time.time(), dict(zip(dataset["instruction"], dataset[FIELDS[job.steps]], strict=True)))


if __name__ == "__main__":
    main(job())

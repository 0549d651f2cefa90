"""A model of real size with random weights, for where a GPU is at hand: the factory against the bare engine.

    python bench/gpu.py                   # vLLM: `raw_engine.py`'s comparison, and how busy the GPUs were
    python bench/gpu.py --without-vllm    # the transformers engine and the training recipes
    python bench/gpu.py --tiny            # the same code on a model of nano's size, for a machine without a GPU

Nothing is fetched: the configuration is written here (a Llama of 7.9 billion parameters: 36 layers of Llama 3 8B, whose
vocabulary is nano's), the tokenizer is nano's, the weights are drawn. Random replies seldom end by themselves: nearly
all have `--longest` tokens, and are rejected as cut short, which costs no less. Two vLLMs share the GPU, so each has
`--memory` of it.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from raw_engine import NANO, by_factory, compare, instructions, preset, quiet, table, waiting

from alignery.config.preset import load
from tasks.engines import open_engine

BIG = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 36}
BIG |= {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 8192}


def model(folder: Path, tiny: bool, weights: bool) -> Path:
    """A folder with configuration and tokenizer, and with random weights if a reader wants a file of them."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(NANO)
    config.dtype = "float32" if tiny else "bfloat16"
    for name, value in ({} if tiny else BIG).items():
        setattr(config, name, value)
    AutoTokenizer.from_pretrained(NANO).save_pretrained(folder)
    config.save_pretrained(folder)
    if weights:
        AutoModelForCausalLM.from_config(config, dtype=config.dtype).save_pretrained(folder)
    return folder


@contextmanager
def gpus() -> Iterator[Callable[[], str]]:
    """Samples the GPUs about once a second; yields a function that returns afterwards how busy they were."""
    seen: list[tuple[float, float]] = []
    done = threading.Event()
    query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]

    def look() -> None:
        while not done.wait(0.5):
            lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
            pairs = [tuple(map(float, line.split(","))) for line in lines]
            seen.append((statistics.mean(use for use, _ in pairs), max(memory for _, memory in pairs)))

    watching = threading.Thread(target=look)
    if shutil.which("nvidia-smi"):
        watching.start()
    try:
        yield lambda: _use(seen)
    finally:
        done.set()
        if watching.is_alive():
            watching.join()


def _use(seen: list[tuple[float, float]]) -> str:
    if not seen:
        return "no GPU was seen"
    used, memory = (list(side) for side in zip(*seen, strict=True))
    return f"GPU {statistics.mean(used):.0f} % busy (median {statistics.median(used):.0f}), {max(memory):.0f} MiB"


async def by_transformers(folder: Path, given: argparse.Namespace) -> None:
    """The factory's generation step with the embedded engine: after one turn that is not counted, each round."""
    more = {"threads": 1} if given.tiny else {"dtype": "bfloat16"}
    path = preset(folder, {"engine": "transformers", "model": str(folder)} | more, given.requests, given.longest, 256)
    loaded_preset, home = load(str(path)), folder / "waiting"
    await waiting(loaded_preset, home)
    async with open_engine(loaded_preset.spec("generator")) as engine:
        await by_factory(path, home, engine)
        for _ in range(given.rounds):
            with gpus() as seen:
                turn = await by_factory(path, home, engine)
            print(f"transformers engine through the factory: {turn.rate:.0f} tok/s; {seen()}; {turn}", flush=True)


def by_recipes(folder: Path, given: argparse.Namespace) -> None:
    """SFT and DPO with a low-rank adapter, on as many rows as there are requests."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.train.config import Lora
    from tasks.train.recipes import dpo, sft

    texts = list(islice(instructions(), 3 * given.requests))
    asked = [[{"role": "user", "content": text}] for text in texts[0::3]]
    chosen, rejected = ([[{"role": "assistant", "content": text}] for text in texts[n::3]] for n in (1, 2))
    columns: dict[str, dict[str, Any]] = {
        "sft": {"messages": [one + other for one, other in zip(asked, chosen, strict=True)]},
        "dpo": {"prompt": asked, "chosen": chosen, "rejected": rejected},
    }
    shared: dict[str, Any] = {"epochs": 1, "batch_size": 8, "gradient_accumulation": 1, "max_length": 256}
    shared |= {"threads": 1} if given.tiny else {"dtype": "bfloat16", "gradient_checkpointing": True}
    for recipe in (sft, dpo):
        name = recipe.__name__.rpartition(".")[2]
        (folder / name).mkdir()
        pq.write_table(pa.table(columns[name]), folder / name / "train-00000-of-00001.parquet")
        with gpus() as seen:
            config = recipe.Config(learning_rate=1e-5, lora=Lora(), **shared)
            report = recipe.train(folder / name, folder, folder / f"{name}-out", config)
        rate = report.tokens / report.seconds
        print(f"{name}: {report.rows} rows, {rate:.0f} tok/s, model read and saved included; {seen()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a model of nano's size, 64 requests, one round")
    parser.add_argument("--without-vllm", action="store_true")
    parser.add_argument("--requests", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--longest", type=int, help="new tokens of a reply")
    parser.add_argument("--memory", type=float, default=0.45, help="share of the GPU's memory for each vLLM")
    given = parser.parse_args()
    for name, (tiny, big) in {"requests": (64, 4000), "rounds": (1, 5), "longest": (32, 256)}.items():
        setattr(given, name, getattr(given, name) or (tiny if given.tiny else big))
    quiet()
    bare = given.without_vllm or find_spec("vllm") is None
    with tempfile.TemporaryDirectory() as temporary:
        folder = model(Path(temporary), given.tiny, weights=bare)
        if bare:
            asyncio.run(by_transformers(folder, given))
            by_recipes(folder, given)
            return
        more = {"dtype": "float32"} if given.tiny else {"dtype": "bfloat16", "gpu_memory_utilization": given.memory}
        spec = {"engine": "vllm", "model": str(folder), "max_model_len": 1024, "options": {"load_format": "dummy"}}
        table(asyncio.run(compare(spec | more, given.requests, given.rounds, given.longest, 256, gpus)))


if __name__ == "__main__":
    main()

"""How much of what real models reply is kept, step by step: `python bench/real_models.py MODEL… [--home DIR]`.

MODEL is a folder, a .gguf file or a hub's name, in vLLM where it is installed, else in transformers. The methods run on
the 32 prompts of bench/data/real_prompts.jsonl, beside instructions and questions that the model writes itself: without
`--methods` those of the presets for real models; `direct` is `constitutional` without critiques. The table has, for
each step, the rows that were asked and accepted, and the reasons of the rest; below it what the records say of
themselves (copies, changes), and tokens and minutes. Samples are written beside the lake, to be read.

With `--ratio` the engine is warm before the run; after it, its cache of prefixes emptied, the very same requests are
sent to it once more, all at once and by nobody but this script: the factory's tokens a second ÷ the engine's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import alignery
from prompts import Message
from tasks.engines import Completion, Engine, Sampling, open_engine
from tasks.engines.specs import parse_spec
from tasks.engines.vllm import VllmEngine

PROMPTS = Path(__file__).parent / "data" / "real_prompts.jsonl"
SAMPLED = (
    *("responses", "critiques", "revisions", "corrections", "instructions"),
    *("translations", "turns", "rationales", "instruction_tags"),
)
SHOWN = (
    *("kind", "origin", "state", "reason", "changed", "is_copy", "language", "route", "role"),
    *("final", "aspect", "value", "text"),
)
USUAL = ("self_instruct", "self_align", "constitutional", "aligner", "verbose", "rate", "compare")
STEPS = """
    SELECT step, count(*) FILTER (final) AS asked, count(*) FILTER (state = 'accepted') AS accepted,
        count(*) FILTER (final AND reason LIKE 'truncated%') AS cut, count(*) AS calls
    FROM attempts GROUP BY step ORDER BY min(rowid)
"""
REASONS = (
    "SELECT step, reason, count(*) AS n FROM attempts WHERE state <> 'accepted' GROUP BY ALL ORDER BY n DESC, reason"
)
FIGURES = {
    "revisions that change the answer": "SELECT avg(changed::INT), count(*) FROM revisions",
    "corrections that are copies": "SELECT avg(is_copy::INT), count(*) FROM corrections",
    "principled answers that cite a rule": "SELECT avg((len(rules) > 0)::INT), count(*) FROM responses"
    " WHERE kind = 'principled'",
    "written instructions that the gate accepts": "SELECT avg((state = 'accepted')::INT), count(*) FROM instructions"
    " WHERE origin <> 'real_prompts'",
    "median words of a correction ÷ of its answer": "SELECT median(len(string_split(c.text, ' ')) /"
    " len(string_split(r.text, ' '))), count(*) FROM corrections c JOIN responses r ON r.id = c.response_id",
}


@dataclass
class Recorder:
    """An open engine that remembers what it was asked, and when it began and ended to answer."""

    engine: Engine
    asked: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)  # each request, to be sent again
    tokens: int = 0
    began: float = 0.0
    ended: float = 0.0

    @property
    def identity(self) -> str:
        return self.engine.identity

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        self.began = self.began or time.perf_counter()
        self.asked.append(lambda: self.engine.generate(prompt, sampling))
        reply = await self.engine.generate(prompt, sampling)
        self.tokens, self.ended = self.tokens + reply.tokens_out, time.perf_counter()
        return reply

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        self.began = self.began or time.perf_counter()
        self.asked.append(lambda: self.engine.choose(prompt, options))
        found = await self.engine.choose(prompt, options)
        self.ended = time.perf_counter()
        return found


async def measured(made: dict[str, Any], home: Path) -> tuple[alignery.Summary, str]:
    """A refresh on a warm engine, and its tokens a second beside those of the same requests without it."""
    async with open_engine(parse_spec(made["models"]["generator"]), home / "logs") as engine:
        await engine.generate("Once upon a time", Sampling(max_tokens=64))
        recorder = Recorder(engine)

        @asynccontextmanager
        async def opened(spec: Any, logs: Path) -> AsyncIterator[Engine]:
            yield recorder

        with patch("alignery.pipeline.refresh.open_lazily", opened):
            done = await alignery.arefresh(made, home, progress=True)
        if isinstance(engine, VllmEngine):
            await engine._llm.reset_prefix_cache()
        began = time.perf_counter()
        replies = await asyncio.gather(*(ask() for ask in recorder.asked))
        own_s, run_s = time.perf_counter() - began, recorder.ended - recorder.began
    own = sum(reply.tokens_out for reply in replies if isinstance(reply, Completion))
    ours, theirs = recorder.tokens / run_s, own / own_s
    return done, (
        f"{len(replies)} requests: factory {recorder.tokens:,} tokens in {run_s:.0f} s, {ours:.0f} a second; "
        f"engine alone {own:,} in {own_s:.0f} s, {theirs:.0f} a second; factory ÷ engine {ours / theirs:.2f}"
    )


def preset(model: str, engine: str, given: argparse.Namespace) -> dict[str, Any]:
    """Every method that is wanted, one round. What Magpie sends is the start of ChatML, which such models know."""
    spec: dict[str, Any] = {"engine": engine, "model": model}
    spec |= {"dtype": given.dtype, "max_model_len": 4096} if engine == "vllm" else {"dtype": "float32", "threads": 2}
    long, short = {"max_tokens": given.tokens}, {"max_tokens": 160}
    few = {"accept": 12, "max_candidates": 24, "requests_per_round": 8}
    methods: dict[str, Any] = {
        "self_instruct": {"accept": 20, "max_candidates": 60, "requests_per_round": 4, "sampling": long},
        "self_align": {"sampling": long},
        "constitutional": {"rounds": 1, "sampling": long | {"temperature": 0.5}},
        "aligner": {"sampling": long},
        "verbose": {"sampling": long},
        "rate": {"sampling": short},
        "compare": {"sampling": long},
        "evolve": few | {"sampling": long},
        "personas": few | {"sampling": long},
        "magpie": few | {"prefix": "<|im_start|>user\n", "sampling": short},
        "tagging": {},
        "reason": {"k": 3, "sampling": long},
        "translate": {"languages": {"de": 0.5, "es": 0.5}, "sampling": long, "answers": {"sampling": long}},
        "dialogue": {"exchanges": 3, "sampling": long, "questions": {"sampling": short}},
        "direct": {"critique": False, "rounds": 1, "sampling": long | {"temperature": 0.5}},
    }
    names = {"direct": "constitutional"}
    chosen = {names.get(name, name): methods[name] for name in given.methods}
    prompts = {"path": str(first(given.prompts, given.home)), "origin": "real_prompts", "gate": False}
    line = {"reject_limit": 1.0, "prompts": [prompts], "respond": {"sampling": long}}
    return {"models": {"generator": spec}, "line": line | chosen}


def first(count: int, folder: Path) -> Path:
    """A file of the first prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"prompts-{count}.jsonl"
    path.write_text("".join(PROMPTS.read_text(encoding="utf-8").splitlines(keepends=True)[:count]), encoding="utf-8")
    return path.resolve()


def table(lake: alignery.OpenLake, model: str) -> list[str]:
    """The lines of one model's table."""
    reasons: dict[str, list[str]] = {}
    for row in lake.sql(REASONS).to_pylist():
        reasons.setdefault(row["step"], []).append(f"{row['n']} × {row['reason'][:60]}")
    lines = [
        "| model | step | asked | accepted | share, those cut aside | not accepted (tries) |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row in lake.sql(STEPS).to_pylist():
        whole = row["asked"] - row["cut"]
        share = f"{row['accepted'] / whole:.0%}" if whole else "-"
        top_reasons = "; ".join(reasons.get(row["step"], [])[:3])
        lines.append(f"| {model} | {row['step']} | {row['asked']} | {row['accepted']} | {share} | {top_reasons} |")
    for name, query in FIGURES.items():
        ((value, count),) = [tuple(row.values()) for row in lake.sql(query).to_pylist()]
        lines.append(f"\n{name}: {'-' if value is None else f'{value:.2f}'} of {count}" if count else f"\n{name}: none")
    return lines


def samples(lake: alignery.OpenLake, place: Path) -> None:
    """Records of each table, whole, for a reader."""
    with place.open("w", encoding="utf-8") as file:
        for name in SAMPLED:
            for row in lake.sql(f"FROM {name}").to_pylist():
                fields = {key: str(row[key]) for key in SHOWN if row.get(key) is not None}
                file.write(json.dumps({"table": name} | fields, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument(
        "--home", type=Path, default=Path(".alignery/real-models"), help="a lake for each model is made in it"
    )
    parser.add_argument(
        "--engine", choices=["vllm", "transformers"], default="vllm" if find_spec("vllm") else "transformers"
    )
    parser.add_argument("--tokens", type=int, default=320, help="the longest reply")
    parser.add_argument("--prompts", type=int, default=32, help="how many of the prompts")
    parser.add_argument("--methods", nargs="+", default=USUAL, help="beside the plain answers")
    parser.add_argument("--dtype", default="bfloat16", help="in vLLM; float32 on a CPU that has no AVX-512")
    parser.add_argument("--ratio", action="store_true", help="send the same requests to the engine alone, too")
    given = parser.parse_args()
    for model in given.models:
        home, began = given.home / Path(model).stem, time.perf_counter()
        config, ratio = preset(model, given.engine, given), ""
        if given.ratio:
            done, ratio = asyncio.run(measured(config, home))
        else:
            done = alignery.refresh(config, home, progress=True)
        minutes = (time.perf_counter() - began) / 60
        with alignery.open_lake(home) as lake:
            tokens = Counter(
                lake.sql("SELECT sum(tokens_in) AS read, sum(tokens_out) AS written FROM attempts").to_pylist()[0]
            )
            print("\n".join(table(lake, Path(model).stem)))
            samples(lake, home.with_suffix(".samples.jsonl"))
        print(f"\n{done.state}: {tokens['read']:,} tokens read, {tokens['written']:,} written, {minutes:.1f} min")
        print(f"\n{ratio}\n" if ratio else "", flush=True)


if __name__ == "__main__":
    main()

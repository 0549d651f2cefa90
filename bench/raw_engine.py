"""The factory's generation step against bare `LLM.generate`: vLLM on the CPU, nano, the very same requests.

    python bench/raw_engine.py [--requests 2000] [--rounds 5] [--random]

A lake holds instructions that wait for their answers. `factory` is the flow `refresh` on a copy of it, whole: Prefect,
prompts, ledger, commits. `bare` is one call of `LLM.generate` with the same texts, sampling and seeds. Both engines are
vLLM with its own settings for offline work, in processes of their own that were started before, and the sides take
turns. A step's seconds are from its first request to its last commit, a flow's from call to return. In float32 the
replies must be the same.

nano answers in a dozen tokens, so what a request costs beside its tokens weighs more than with any larger model. With
`--random` nano's weights are drawn: nearly every reply then has `--longest` tokens, and is rejected as cut short.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from alignery.config.preset import Preset, load
from alignery.pipeline.executor import Executor
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.refresh import RefreshPipeline
from alignery.pipeline.run import Run
from flows.shared_server import use_or_start_server
from nano.grammar import draw, render
from prompts import Message
from tasks.engines import Completion, Engine, Sampling, ScriptedEngine, VllmSpec, open_engine
from tasks.engines.tokenization import encode
from tasks.engines.vllm import _arguments, parameters
from warehouse import Lake

NANO = Path(__file__).parent.parent / "nano/checkpoint"
STEP = "respond.answer"
REST_S = 1.5  # between turns: vLLM's worker spins for a second more, on the core that the other side's worker wants
SECONDS = f"""
    SELECT epoch((SELECT max(created_at) FROM commits WHERE step = '{STEP}') - min(created_at - to_microseconds((1e6 *
        latency_s)::BIGINT))) AS seconds, sum(tokens_out)::BIGINT AS tokens, count(*) AS requests,
        sum(tokens_cached) / sum(tokens_in) AS cached
    FROM attempts WHERE step = '{STEP}'
"""


@dataclass(frozen=True)
class Turn:
    """One side's turn. `cpu_s` are this process's own, beside vLLM's; `watched` is whatever a watch saw meanwhile."""

    tokens: int
    seconds: float
    flow_s: float
    cpu_s: float
    watched: str = ""

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


@dataclass
class Shared:
    """An open engine that each flow gets in place of its own; records its requests and replies."""

    engine: Engine
    recorded: list[tuple[str | list[Message], Sampling, Completion]] | None = field(default_factory=list)

    @property
    def identity(self) -> str:
        return self.engine.identity

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        reply = await self.engine.generate(prompt, sampling)
        if self.recorded is not None:
            self.recorded.append((prompt, sampling, reply))
        return reply

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        return await self.engine.choose(prompt, options)


@contextmanager
def served_by(engine: Engine) -> Iterator[None]:
    """Flows in here open this engine, which stays open."""
    from alignery.pipeline import refresh as flow  # whose engines are opened there

    @asynccontextmanager
    async def shared(spec: Any, logs: Path) -> AsyncIterator[Engine]:
        yield engine

    own, flow.open_lazily = flow.open_lazily, shared  # type: ignore[assignment]
    try:
        yield
    finally:
        flow.open_lazily = own


def preset(folder: Path, spec: dict[str, Any], requests: int, longest: int, chunk: int) -> Path:
    """A preset of two steps: instructions, and their answers of at most `longest` tokens."""
    line = {
        "self_instruct": {"accept": requests, "max_candidates": 100 * requests, "rouge_l": 1.0, "blacklist": []},
        "respond": {"sampling": {"temperature": 0.7, "max_tokens": longest}},
        "chunk": chunk,
        "reject_limit": 1.0,  # of a random model each reply is cut short
    }
    whole = {"about": "bench", "words": {"variant": "nano"}, "models": {"generator": spec}, "line": line}
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(whole))
    return path


def instructions(seed: int = 5) -> Iterator[str]:
    """The micro-world's instructions, each once, for ever."""
    rng, seen = random.Random(seed), set[str]()
    while True:
        text = render(draw(rng))
        if text not in seen:
            seen.add(text)
            yield text


async def waiting(made: Preset, home: Path) -> None:
    """Make a lake whose instructions wait for an answer; a script wrote them in the generator's name."""
    texts, count = instructions(), made.line.self_instruct.count

    def listed(prompt: Any, sampling: Sampling) -> str:
        # As nano's prompt expects it: the list continues after "1." or the number at the prompt's end.
        first, *rest = (next(texts) for _ in range(count))
        return "\n".join([first, *(f"{number}. {text}" for number, text in enumerate(rest, 2))])

    engine = ScriptedEngine(listed, identity=made.spec("generator").identity())
    with Lake.open(made.place(home)) as lake, Run(lake, "refresh", made) as run:
        line = RefreshPipeline(
            made, Executor(lake, run, StepProgress(io.StringIO())), {"generator": engine, "aligner": engine}
        )
        run.words = line.words()
        async with asyncio.TaskGroup() as group:
            await line.writing.write(asyncio.Queue(), group)
        run.end("finished", {})


async def by_factory(path: Path, lake: Path, engine: Engine) -> Turn:
    """The flow `refresh` on a copy of the lake."""
    from flows.refresh import refresh  # Prefect reads its settings when it is imported: after `quiet`

    with tempfile.TemporaryDirectory() as folder:
        home = Path(shutil.copytree(lake, Path(folder) / "home"))
        with served_by(engine):
            began, cpu = time.perf_counter(), time.process_time()
            summary = await refresh(str(path), home)
            flow_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        with Lake.open(load(str(path)).place(home)) as opened:
            (row,) = opened.rows(SECONDS)
        assert (summary.sent, row["requests"]) == (summary.target, summary.target), summary
    cached = "" if row["cached"] is None else f"{row['cached']:.0%} of prompt tokens cached"
    return Turn(row["tokens"], row["seconds"], flow_s, cpu_s, cached)


class Bare:
    """vLLM's own LLM with the arguments that the factory gives it, and the requests that the factory sent."""

    def __init__(self, spec: VllmSpec) -> None:
        from vllm import LLM

        arguments = _arguments(spec)
        arguments["disable_log_stats"] = True
        self.llm = LLM(**arguments)

    def learn(self, recorded: Sequence[tuple[str | list[Message], Sampling, Completion]], same_texts: bool) -> None:
        """Take over the requests, texts made ready; one turn shows that they are the same ones."""
        from vllm import SamplingParams

        tokenizer = self.llm.get_tokenizer()
        self.texts = [_text(tokenizer, prompt) for prompt, _, _ in recorded]
        self.wanted = [SamplingParams(**(parameters(sampling) | {"detokenize": True})) for _, sampling, _ in recorded]
        for output, (prompt, _, reply) in zip(self.generate(), recorded, strict=True):
            assert output.prompt_token_ids == encode(tokenizer, prompt)
            assert not same_texts or output.outputs[0].text.removeprefix(" ") == reply.text

    def generate(self) -> list[Any]:
        return self.llm.generate(self.texts, self.wanted, use_tqdm=False)

    def turn(self) -> Turn:
        began, cpu = time.perf_counter(), time.process_time()
        outputs = self.generate()
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        return Turn(sum(len(output.outputs[0].token_ids) for output in outputs), seconds, seconds, cpu_s)


def _text(tokenizer: Any, prompt: str | list[Message]) -> str:
    """A prompt as `LLM.generate` takes it, which puts the token that begins a text in front by itself."""
    if isinstance(prompt, str):
        return prompt
    whole = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    return whole.removeprefix(tokenizer.bos_token or "")


Watch = Callable[[], AbstractContextManager[Callable[[], str]]]


async def compare(
    spec: dict[str, Any], requests: int, rounds: int, longest: int, chunk: int, watch: Watch | None = None
) -> list[tuple[Turn, Turn]]:
    """(factory, bare) of each round, after one of each that is not counted.

    Args:
        spec: of the vLLM engine.
        longest: new tokens of a reply.
        watch: looks on during each turn, and says afterwards what it saw.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = preset(Path(folder), spec, requests, longest, chunk)
        loaded_preset, home = load(str(path)), Path(folder) / "waiting"
        await waiting(loaded_preset, home)
        generator = loaded_preset.spec("generator")
        assert isinstance(generator, VllmSpec)
        async with open_engine(generator) as opened:
            shared = Shared(opened)
            await by_factory(path, home, shared)
            bare = Bare(generator)
            bare.learn(shared.recorded or [], same_texts=generator.dtype == "float32")
            shared.recorded = None
            found = []
            for number in range(rounds):
                await asyncio.sleep(REST_S)
                with watch() if watch else nullcontext(str) as seen:
                    ours = await by_factory(path, home, shared)
                ours = replace(ours, watched=f"{ours.watched} {seen()}".strip())
                await asyncio.sleep(REST_S)
                with watch() if watch else nullcontext(str) as seen:
                    theirs = bare.turn()
                theirs = replace(theirs, watched=seen())
                found.append((ours, theirs))
                print(f"round {number + 1}: factory {ours}, bare {theirs}", flush=True)
    return found


def table(found: Sequence[tuple[Turn, Turn]]) -> None:
    """Medians, and the ratios round by round."""
    ours, theirs = (statistics.median(turn.rate for turn in side) for side in zip(*found, strict=True))
    steps = [executor.rate / bare.rate for executor, bare in found]
    whole = [executor.tokens / executor.flow_s / bare.rate for executor, bare in found]
    print(
        "\n| tokens | factory, tok/s | bare, tok/s | ratio (range) | ratio of the whole flow |\n|---|---|---|---|---|"
    )
    print(f"| {found[0][0].tokens} | {ours:.0f} | {theirs:.0f} | {_ratio(steps)} | {_ratio(whole)} |", flush=True)


def _ratio(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--longest", type=int, default=64, help="new tokens of a reply")
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--random", action="store_true", help="random weights, and so long replies")
    given = parser.parse_args()
    quiet()
    spec: dict[str, Any] = {"engine": "vllm", "model": str(NANO), "dtype": "float32"}
    spec |= {"options": {"load_format": "dummy"}} if given.random else {}
    table(asyncio.run(compare(spec, given.requests, given.rounds, given.longest, given.chunk)))


def quiet() -> None:
    """Prefect in a home of its own, its server as the verbs have it, and no log lines of its or of vLLM's."""
    os.environ |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "VLLM_CPU_KVCACHE_SPACE": "1"}
    os.environ["PREFECT_HOME"] = home = tempfile.mkdtemp(prefix="prefect-")
    use_or_start_server(Path(home))()


if __name__ == "__main__":
    main()

"""vLLM in this process: AsyncLLM, one coroutine a request, batched by vLLM itself; prefix caching on.

It belongs to the event loop that opened it. vLLM's own engine is a separate process; if it dies, it is restarted once,
and requests in flight are sent again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from alignery.untrusted import excerpt
from prompts import Message
from tasks.engines.identity import GGUF, local_only, locate, locate_adapter
from tasks.engines.output import logged_to, named, printed_to, warned_to
from tasks.engines.protocol import Completion, EngineDown, Probabilities, RequestRefused, Sampling, SpecError
from tasks.engines.specs import VllmSpec
from tasks.engines.thoughts import split_thought
from tasks.engines.tokenization import check_form, check_length, decode, encode, encode_spellings, form, tidy

# The CPU's key-value cache is in GiB, and our choice; by default vLLM takes a share of the machine's memory.
QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_KVCACHE_SPACE": "2",
}
OFFLINE = {"HF_HUB_OFFLINE": "1"}
_CONFIGURED = {"VLLM_LOGGING_CONFIG_PATH", "VLLM_CONFIGURE_LOGGING"}  # by which a user configures vLLM's log
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for: vllm.config.lora.MaxLoRARanks

logger = logging.getLogger(__name__)


class VllmEngine:
    """Made by `open_vllm`."""

    def __init__(self, spec: VllmSpec, log: Path | None = None) -> None:
        self.identity = spec.identity()
        self._spec, self._log, self._deaths = spec, log, 0
        self._llm: Any = None
        self._lora: Any = None
        self._tokenizer: Any = None
        self._context = 0
        self._slots, self._starting = asyncio.Semaphore(spec.places), asyncio.Lock()
        self._numbers = count()

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        async with self._slots:
            # Not before its turn: all prompts at once would hold up vLLM's own process in its first steps.
            ids = encode(self._tokenizer, prompt, self._spec.chat_template_kwargs)
            check_length(len(ids), sampling.max_tokens, self._context)
            output, latency_s = await self._send(ids, form(sampling), **parameters(sampling))
        reply = output.outputs[0]
        if reply.finish_reason not in ("stop", "length"):
            raise RequestRefused(f"vLLM ended the reply with finish_reason {reply.finish_reason!r}")
        tokens = len(ids), len(reply.token_ids)
        # Set where one of the other tokens that end a reply (generation_config.json) did, which may be written as text.
        ended = isinstance(reply.stop_reason, int)
        written = reply.token_ids[:-1] if ended else reply.token_ids
        thought, text = split_thought(reply.text if sampling.stop else decode(self._tokenizer, written))
        return Completion(tidy(text), reply.finish_reason, *tokens, latency_s, output.num_cached_tokens, thought)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> Probabilities:
        """Probabilities of the options, each read as tokens that follow the prompt's; several tokens multiply."""
        ids = encode(self._tokenizer, prompt, self._spec.chat_template_kwargs)
        spelled = encode_spellings(self._tokenizer, options)
        option_ids = [tokens for _, tokens in spelled]
        check_length(len(ids), max(map(len, option_ids)) + 1, self._context)
        if all(len(option) == 1 for option in option_ids):
            first_tokens = sorted({option[0] for option in option_ids})
            async with self._slots:
                output, _ = await self._send(ids, max_tokens=1, logprob_token_ids=first_tokens)
            first = output.outputs[0].logprobs[0]
            logs = [first[option[0]].logprob for option in option_ids]
        else:
            logs = await asyncio.gather(*(self._log_probability(ids, option) for option in option_ids))
        return Probabilities.of_spellings(
            len(options), [(place, log) for (place, _), log in zip(spelled, logs, strict=True)]
        )

    async def _log_probability(self, ids: list[int], option: list[int]) -> float:
        async with self._slots:
            output, _ = await self._send([*ids, *option], max_tokens=1, prompt_logprobs=0)
        places = output.prompt_logprobs[len(ids) :]
        return math.fsum(place[token].logprob for place, token in zip(places, option, strict=True))

    async def start(self) -> None:
        """Start vLLM, and load the adapter.

        Raises:
            SpecError, EngineDown: as `open_vllm`.
        """
        starting = asyncio.ensure_future(asyncio.to_thread(_start, self._spec, self._log))
        try:
            llm = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread starts it whatever happens here; the engine must not be left without an owner.
            with suppress(SpecError, EngineDown):
                (await starting).shutdown()
            raise
        self._llm, self._tokenizer, self._context = llm, llm.get_tokenizer(), int(llm.model_config.max_model_len)
        check_form(self._spec.prompt_form, self._spec.model, self._tokenizer)
        if not self._deaths:  # after a restart it keeps its slots, because requests in flight hold them
            self._slots = asyncio.Semaphore(self._spec.at_once(llm.vllm_config.scheduler_config.max_num_seqs))
        if self._spec.lora:
            await self._load(self._spec.lora)

    async def _load(self, lora: str) -> None:
        """Load the adapter now: at the first request, an error in it would fail each row."""
        from vllm.lora.request import LoRARequest

        self._lora = LoRARequest("adapter", 1, str(locate_adapter(lora).folder.resolve()))
        try:
            await self._llm.add_lora(self._lora)
        except Exception as error:
            if type(error) is not Exception:  # vLLM passes on any error of its own process as a bare Exception
                raise
            raise SpecError(f"engine.lora: vLLM cannot use {lora!r}: {error}; give an adapter of the model") from error

    async def _restart(self, dead: Any) -> None:
        """Restart vLLM, once; requests that were in flight are sent again, with the same seeds.

        Raises:
            EngineDown: it died a second time, or does not start.
        """
        async with self._starting:
            if self._llm is not dead:  # another request was here first
                return
            self._deaths += 1
            if self._deaths > 1:
                raise EngineDown(
                    f"vLLM's engine process died again after it had been restarted once; {named(self._log)} says "
                    "why (out of memory? lower max_model_len, gpu_memory_utilization or in_flight); what was answered "
                    "is kept: run again to resume"
                )
            logger.warning("vLLM's engine process died; it is restarted, and requests in flight are sent again")
            dead.shutdown()
            await self.start()

    def close(self) -> None:
        if self._llm is not None:
            self._llm.shutdown()
        self._llm = None  # else it is torn down once more at the interpreter's end, with a traceback

    async def _send(self, ids: list[int], held_to: dict[str, Any] | None = None, **params: Any) -> tuple[Any, float]:
        """vLLM's output, and the seconds it took from when vLLM had the request."""
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        while True:
            llm, sent = self._llm, time.perf_counter()
            if llm is None:
                raise EngineDown("the vLLM engine was closed")
            try:
                structured = StructuredOutputsParams(**held_to) if held_to else None
                sampling_params = SamplingParams(
                    output_kind=RequestOutputKind.FINAL_ONLY,
                    structured_outputs=structured,
                    skip_clone=True,  # it is this request's own
                    **params,
                )
                name = f"r{next(self._numbers)}"
                # Ready-made input: a raw prompt would go through a thread first.
                stream = llm.generate(tokens_input(ids), sampling_params, name, lora_request=self._lora)
                outputs = [output async for output in stream]
                return outputs[-1], time.perf_counter() - sent
            except VLLMClientError as error:
                raise RequestRefused(f"vLLM refuses the request: {excerpt(error)}") from error
            except EngineGenerateError as error:
                raise RequestRefused(f"vLLM failed on the request: {excerpt(repr(error.__cause__))}") from error
            except EngineDeadError:
                await self._restart(llm)


def parameters(sampling: Sampling) -> dict[str, Any]:
    """A sampling as arguments of vLLM's SamplingParams, without constraints on replies."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_tokens": sampling.max_tokens,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "stop": list(sampling.stop),
        # Token by token, vLLM needs the text only for stop strings; it is decoded once, at the end.
        "detokenize": bool(sampling.stop),
        "seed": sampling.seed,
    }


def _arguments(spec: VllmSpec) -> dict[str, Any]:
    from vllm.platforms import current_platform

    place, is_folder = locate(spec.model)
    if place.endswith(GGUF):
        raise SpecError(f"engine.model: got {excerpt(place)}, expected a folder; take engine: transformers for a file")
    given: dict[str, Any] = {
        "revision": None if is_folder else spec.revision,
        "max_model_len": spec.max_model_len,
        "gpu_memory_utilization": spec.gpu_memory_utilization,
    }
    arguments: dict[str, Any] = {"model": place, "dtype": spec.dtype}
    arguments |= {name: value for name, value in given.items() if value is not None}
    arguments |= {"tensor_parallel_size": spec.tensor_parallel_size, "data_parallel_size": spec.data_parallel_size}
    arguments |= {"enable_prefix_caching": True, "disable_log_stats": True, "trust_remote_code": False}
    if spec.lora:
        rank = locate_adapter(spec.lora).rank
        arguments |= {"enable_lora": True, "max_lora_rank": next((room for room in RANKS if room >= rank), rank)}
    if current_platform.is_cpu():
        # A seeded request in a chunked prefill kills the engine on a CPU ("CPU Generator does not use offset").
        arguments |= {"enable_chunked_prefill": False, "enforce_eager": True}
    return arguments | spec.options


def _start(spec: VllmSpec, log: Path | None) -> Any:
    """An AsyncLLM. Half a minute or more, so it is done in a thread: meanwhile other engines' clocks run."""
    with printed_to(log, spec.model):
        return _started(spec, log)


def _started(spec: VllmSpec, log: Path | None) -> Any:
    offline = OFFLINE if local_only(spec.model, spec.revision) else {}
    # Read by vLLM's own processes when they start.
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise SpecError(
            f"engine: vllm cannot be imported ({excerpt(error)}); pip install 'alignery[vllm]', or use engine: "
            "transformers"
        ) from error
    if not _CONFIGURED & os.environ.keys():
        logged_to(log, "vllm")
    try:
        # A refresh is offline work: so by default batches are as big as those of vLLM's LLM class.
        with _environment(offline):
            return AsyncLLM.from_engine_args(AsyncEngineArgs(**_arguments(spec)), usage_context=UsageContext.LLM_CLASS)
    except (TypeError, ValueError, OSError) as error:
        raise SpecError(
            f"engine: vLLM will not start {spec.model!r}: {excerpt(error)}; correct the spec's options"
        ) from error
    except RuntimeError as error:
        raise EngineDown(f"vLLM's engine process failed to start: {excerpt(error)}; {named(log)} says why") from error


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """Variables for the processes that are started in it, and not for those that come later: these may need a hub."""
    new = {name: value for name, value in added.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@asynccontextmanager
async def open_vllm(spec: VllmSpec, log: Path | None = None) -> AsyncIterator[VllmEngine]:
    """Start vLLM and serve it until the context is left.

    Args:
        log: the file for what vLLM and its processes print; None leaves it to the terminal.

    Raises:
        SpecError: no such model or adapter, vLLM is not installed, or it will not start with these options.
        EngineDown: its process does not start.
    """
    engine = VllmEngine(spec, log)
    with warned_to(log):
        try:
            await engine.start()
            yield engine
        finally:
            engine.close()

"""vLLM in this process: AsyncLLM, one coroutine a request, batched by vLLM itself; prefix caching on.

It lives in the event loop that opened it. Starting takes half a minute or more and blocks that loop.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from prompts import Message
from tasks.engines.identity import locate
from tasks.engines.protocol import Completion, EngineDown, RequestRefused, Sampling, SpecError
from tasks.engines.spec import VllmSpec
from tasks.engines.tokens import check_length, encode, encode_options, tidy

# The CPU's key-value cache is in GiB, and our choice; left alone, vLLM takes a share of the machine's memory.
QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_KVCACHE_SPACE": "2",
}
OFFLINE = {"HF_HUB_OFFLINE": "1"}


class VllmEngine:
    """Made by `open_vllm`."""

    def __init__(self, spec: VllmSpec, llm: Any) -> None:
        self.identity = spec.identity()
        self._llm, self._tokenizer = llm, llm.get_tokenizer()
        self._context = int(llm.model_config.max_model_len)
        self._slots = asyncio.Semaphore(spec.in_flight)
        self._numbers = count()

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        asked = time.perf_counter()
        ids = encode(self._tokenizer, prompt)
        check_length(len(ids), sampling.max_tokens, self._context)
        output = await self._send(
            ids,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens,
            frequency_penalty=sampling.frequency_penalty,
            presence_penalty=sampling.presence_penalty,
            stop=list(sampling.stop),
            seed=sampling.seed,
        )
        reply = output.outputs[0]
        if reply.finish_reason not in ("stop", "length"):
            raise RequestRefused(f"vLLM ended the reply with finish_reason {reply.finish_reason!r}")
        tokens = len(ids), len(reply.token_ids)
        return Completion(tidy(reply.text), reply.finish_reason, *tokens, time.perf_counter() - asked)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        """Probabilities of the options, each read as tokens that follow the prompt's; several tokens multiply."""
        ids, option_ids = encode(self._tokenizer, prompt), encode_options(self._tokenizer, options)
        check_length(len(ids), max(map(len, option_ids)) + 1, self._context)
        if all(len(option) == 1 for option in option_ids):
            wanted = sorted({option[0] for option in option_ids})
            output = await self._send(ids, max_tokens=1, logprob_token_ids=wanted)
            first = output.outputs[0].logprobs[0]
            logs = [first[option[0]].logprob for option in option_ids]
        else:
            logs = await asyncio.gather(*(self._log_probability(ids, option) for option in option_ids))
        top = max(logs)
        weights = [math.exp(log - top) for log in logs]
        return [weight / math.fsum(weights) for weight in weights]

    async def _log_probability(self, ids: list[int], option: list[int]) -> float:
        output = await self._send([*ids, *option], max_tokens=1, prompt_logprobs=0)
        places = output.prompt_logprobs[len(ids) :]
        return math.fsum(place[token].logprob for place, token in zip(places, option, strict=True))

    def close(self) -> None:
        self._llm.shutdown()
        self._llm = None  # else it is torn down once more at the interpreter's end, with a traceback

    async def _send(self, ids: list[int], **params: Any) -> Any:
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind, SamplingParams
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        async with self._slots:
            if self._llm is None:
                raise EngineDown("the vLLM engine was closed")
            try:
                wanted = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, **params)
                stream = self._llm.generate(TokensPrompt(prompt_token_ids=ids), wanted, f"r{next(self._numbers)}")
                outputs = [output async for output in stream]
            except VLLMClientError as error:
                raise RequestRefused(f"vLLM refuses the request: {error}") from error
            except EngineGenerateError as error:
                raise RequestRefused(f"vLLM failed on the request: {error.__cause__!r}") from error
            except EngineDeadError as error:
                raise EngineDown("vLLM's engine process died; its own log says why") from error
        return outputs[-1]


def _arguments(spec: VllmSpec, place: str, is_folder: bool) -> dict[str, Any]:
    from vllm.platforms import current_platform

    given = {
        "revision": None if is_folder else spec.revision,
        "max_model_len": spec.max_model_len,
        "gpu_memory_utilization": spec.gpu_memory_utilization,
    }
    arguments = {"model": place, "dtype": spec.dtype, "tensor_parallel_size": spec.tensor_parallel_size}
    arguments |= {name: value for name, value in given.items() if value is not None}
    arguments |= {"enable_prefix_caching": True, "disable_log_stats": True}
    if current_platform.is_cpu():
        # A seeded request in a chunked prefill kills the engine on a CPU ("CPU Generator does not use offset").
        arguments |= {"enable_chunked_prefill": False, "enforce_eager": True}
    return arguments | spec.options


@asynccontextmanager
async def open_vllm(spec: VllmSpec) -> AsyncIterator[VllmEngine]:
    """Start vLLM and serve it until the context is left.

    Raises:
        SpecError: no such model, vLLM is not installed, or it will not start with these options.
    """
    place, is_folder = locate(spec.model)
    # Read by vLLM's own processes when they start.
    for name, value in (QUIET | OFFLINE if is_folder else QUIET).items():
        os.environ.setdefault(name, value)
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise SpecError(
            f"engine: vllm cannot be imported ({error}); pip install 'alignery[vllm]', or use engine: transformers"
        ) from error
    try:
        arguments = AsyncEngineArgs(**_arguments(spec, place, is_folder))
        engine = VllmEngine(spec, AsyncLLM.from_engine_args(arguments))
    except (TypeError, ValueError, OSError) as error:
        raise SpecError(f"engine: vLLM will not start {spec.model!r}: {error}; mend the spec's options") from error
    except RuntimeError as error:
        raise EngineDown(f"vLLM's engine process failed to start: {error}; its own log says why") from error
    try:
        yield engine
    finally:
        engine.close()

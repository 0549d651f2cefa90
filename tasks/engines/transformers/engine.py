"""The embedded engine: a transformers model in this process, behind a queue and one worker thread.

The worker owns the model and the tokenizer (neither is safe to share), takes requests as they come, and keeps one
running batch (`decode.py`). Newcomers join it when they are worth a merge; the oldest request goes first, and with it
those of nearest length, so that little of a batch is padding and none waits for ever.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from alignery.untrusted import excerpt
from prompts import Message
from tasks.engines.identity import GGUF, local_only, locate, locate_adapter
from tasks.engines.protocol import Completion, EngineDown, Probabilities, RequestRefused, Sampling, SpecError
from tasks.engines.specs import TransformersSpec
from tasks.engines.tokenization import check_form, check_length, encode, encode_spellings
from tasks.engines.transformers.attention import use_grouped_attention
from tasks.engines.transformers.batch import MAX_PREFILL_TOKENS, Decoder, Row, score
from tasks.engines.transformers.loading import loaded

MAX_JOIN_WAIT_STEPS = 8  # steps that a newcomer waits for others before it joins the running batch


@dataclass
class _Ask:
    prompt: str | list[Message]
    sampling_or_options: Sampling | Sequence[str]  # a Sampling asks for a reply, options ask for a choice
    future: Future[Any]


@dataclass
class _Choice:
    prompt: list[int]
    options: list[tuple[int, list[int]]]  # of every spelling: the place of its option, and its tokens
    count: int
    future: Future[Probabilities]


class TransformersEngine:
    """Made by `open_transformers`. Calls may come from any event loop."""

    def __init__(self, spec: TransformersSpec, model: Any, tokenizer: Any, context: int) -> None:
        self.identity = spec.identity()
        self._spec, self._model, self._tokenizer, self._context = spec, model, tokenizer, context
        self._decoder = Decoder(model, tokenizer, _ends(model, tokenizer))
        self._inbox: queue.SimpleQueue[_Ask | None] = queue.SimpleQueue()
        self._rows: list[Row] = []  # waiting, oldest first
        self._choices: list[_Choice] = []
        self._waited = 0
        self._lock = threading.Lock()
        self._open: set[Future[Any]] = set()
        self._fault: EngineDown | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="transformers-engine")
        self._pool.submit(self._work).add_done_callback(self._ended)

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        return await self._ask(prompt, sampling)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> Probabilities:
        """Probabilities of the options, each read as tokens that follow the prompt's; several tokens multiply."""
        return await self._ask(prompt, options)

    async def close(self) -> None:
        self._inbox.put(None)
        await asyncio.to_thread(self._pool.shutdown)

    async def _ask(self, prompt: str | list[Message], sampling_or_options: Sampling | Sequence[str]) -> Any:
        future: Future[Any] = Future()
        with self._lock:
            if self._fault:
                raise self._fault
            self._open.add(future)
        future.add_done_callback(self._open.discard)
        self._inbox.put(_Ask(prompt, sampling_or_options, future))
        return await asyncio.wrap_future(future)

    # Below: the worker's thread.

    def _work(self) -> None:
        if self._spec.threads is not None:
            torch.set_num_threads(self._spec.threads)
        with torch.inference_mode():
            while self._listen():
                if self._choices:
                    self._answer_choices()
                if newcomers := self._newcomers():
                    self._decoder.admit(newcomers)
                if self._decoder.rows:
                    self._decoder.step()

    def _ended(self, work: Future[None]) -> None:
        """The worker is closed or broken: open and later requests get EngineDown."""
        cause = work.exception()
        fault = EngineDown(
            f"the transformers engine failed: {type(cause).__name__}: {excerpt(cause)}"
            if cause
            else "the engine was closed"
        )
        fault.__cause__ = cause
        with self._lock:
            self._fault = fault
            left = list(self._open)
        for future in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(fault)

    def _listen(self) -> bool:
        """Accept new requests; wait only when there is nothing to do. False when it should stop."""
        deadline = 0.0
        if not (self._rows or self._choices or self._decoder.living):
            if not self._take(self._inbox.get()):
                return False
            deadline = time.monotonic() + self._spec.max_wait_ms / 1000
        while len(self._rows) < self._spec.batch_size or not self._inbox.empty():
            wait = deadline - time.monotonic()
            try:
                ask = self._inbox.get(wait > 0, max(wait, 0.0))
            except queue.Empty:
                break
            if not self._take(ask):
                return False
        return True

    def _take(self, ask: _Ask | None) -> bool:
        if ask is None:
            return False
        try:
            ids = encode(self._tokenizer, ask.prompt, self._spec.chat_template_kwargs)
            if isinstance(ask.sampling_or_options, Sampling):
                check_length(len(ids), ask.sampling_or_options.max_tokens, self._context)
                self._rows.append(Row(ids, ask.sampling_or_options, ask.future))
            else:
                options = encode_spellings(self._tokenizer, ask.sampling_or_options)
                check_length(len(ids), max(len(tokens) for _, tokens in options), self._context)
                self._choices.append(_Choice(ids, options, len(ask.sampling_or_options), ask.future))
        except RequestRefused as refusal:
            if ask.future.set_running_or_notify_cancel():
                ask.future.set_exception(refusal)
        return True

    def _newcomers(self) -> list[Row]:
        """The requests to admit now: none while they are few and the batch is busy, so that merging stays rare."""
        self._rows = [row for row in self._rows if not row.future.cancelled()]
        running = self._decoder.living
        count = min(len(self._rows), self._spec.batch_size - running)
        self._waited += 1
        if count <= 0 or (count * 8 < running and self._waited < MAX_JOIN_WAIT_STEPS):
            return []
        self._waited = 0
        chosen = _nearest(self._rows, count)
        self._rows = [row for row in self._rows if id(row) not in {id(row) for row in chosen}]
        return chosen

    def _answer_choices(self) -> None:
        chosen = _nearest(self._choices, self._spec.batch_size)
        self._choices = [choice for choice in self._choices if id(choice) not in {id(one) for one in chosen}]
        tokens = [[ids for _, ids in choice.options] for choice in chosen]
        for choice, logs in zip(chosen, score(self._model, [one.prompt for one in chosen], tokens), strict=True):
            if choice.future.set_running_or_notify_cancel():
                spellings = [(place, log) for (place, _), log in zip(choice.options, logs, strict=True)]
                choice.future.set_result(Probabilities.of_spellings(choice.count, spellings))


_Asked = TypeVar("_Asked", Row, _Choice)


def _nearest(waiting: Sequence[_Asked], count: int) -> list[_Asked]:
    """The oldest and those nearest to its prompt in length: at most `count`, and MAX_PREFILL_TOKENS padded tokens."""
    length = len(waiting[0].prompt)
    near = sorted(waiting, key=lambda one: abs(len(one.prompt) - length))[:count]
    return near[: max(1, MAX_PREFILL_TOKENS // max(len(one.prompt) for one in near))]


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    end_ids = model.generation_config.eos_token_id
    ids = end_ids if isinstance(end_ids, list) else [end_ids]
    return frozenset(token for token in (*ids, tokenizer.eos_token_id) if token is not None)


def _load(spec: TransformersSpec) -> TransformersEngine:
    place, is_here = locate(spec.model)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if spec.device == "auto" else spec.device
    disable_progress_bar()
    # Local files are read without requests to a hub, and a model's own code is never run: by default stdin is asked.
    source: dict[str, Any] = {
        "local_files_only": local_only(spec.model, spec.revision),
        "trust_remote_code": False,
    }
    source |= {} if is_here else {"revision": spec.revision}
    if place.endswith(GGUF):
        place, source["gguf_file"] = os.path.split(place)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **source)
        model = AutoModelForCausalLM.from_pretrained(place, dtype=getattr(torch, spec.dtype), **source)
    except (OSError, ValueError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise SpecError(
                f"engine.model: {spec.model!r} has code of its own, which is never run; give a model of an "
                "architecture that transformers has"
            ) from error
        reason = excerpt(str(error).partition("\n")[0])
        fix = "give another folder" if is_here else "check the name and the network, or give a local folder"
        raise SpecError(f"engine.model: cannot load {spec.model!r}: {reason}; {fix}") from error
    check_form(spec.prompt_form, spec.model, tokenizer)
    if spec.lora:
        model = _merged(model, spec.lora)
    context = spec.context or getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is None or model._is_stateful:
        raise SpecError(
            f"engine.model: {spec.model!r} ({type(model).__name__}) has no KV cache of a fixed length; "
            "set engine.context, or use engine: vllm"
        )
    if device == "cpu":
        use_grouped_attention(model)
    return TransformersEngine(spec, model.to(device).eval(), tokenizer, context)


def _merged(model: Any, lora: str) -> Any:
    """The model with an adapter added to its weights."""
    adapter = locate_adapter(lora)
    try:
        from peft import PeftModel
    except ImportError as error:
        raise SpecError(
            f"engine.lora: peft cannot be imported ({excerpt(error)}); pip install 'alignery[train]'"
        ) from error
    try:
        return PeftModel.from_pretrained(model, adapter.folder).merge_and_unload()
    except (RuntimeError, ValueError) as error:
        reason = excerpt(str(error).partition("\n")[0])
        raise SpecError(f"engine.lora: {lora!r} does not fit the model: {reason}; give an adapter of it") from error


def open_transformers(
    spec: TransformersSpec, log: Path | None = None
) -> AbstractAsyncContextManager[TransformersEngine]:
    """Load the model (in a thread) and serve it until the context is left: see `loaded`. Raises SpecError."""
    return loaded(partial(_load, spec), spec.model, log)

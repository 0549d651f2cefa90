"""A reward model as an engine: it is sent a whole conversation, and its reply is a number, how good the last turn is.

It is a transformers model for sequence classification with one label, as the recipe `reward` saves it. So it is
requested, cached and identified by its weights like every other model. One worker thread owns the model, and scores
waiting conversations together, up to `batch_size` of similar length.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from alignery.untrusted import excerpt
from prompts import Message
from tasks.engines.identity import local_only, locate
from tasks.engines.protocol import Completion, EngineDown, RequestRefused, Sampling, SpecError
from tasks.engines.specs import RewardSpec
from tasks.engines.transformers.batch import MAX_PREFILL_TOKENS
from tasks.engines.transformers.loading import loaded


@dataclass
class _Ask:
    ids: list[int]
    future: Future[Completion]


class RewardEngine:
    """Made by `open_reward`. Calls may come from any event loop."""

    def __init__(self, spec: RewardSpec, model: Any, tokenizer: Any) -> None:
        self.identity = spec.identity()
        self._spec, self._model, self.tokenizer = spec, model, tokenizer
        self.context = spec.context or getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._encoding = threading.Lock()  # a tokenizer is safe for one thread at a time
        self._lock = threading.Lock()
        self._waiting: list[_Ask] = []  # oldest first
        self._fault: EngineDown | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="reward-engine", initializer=self._begin)

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        """The score as a text, with six places; `sampling` is ignored.

        Raises:
            RequestRefused: it is not a conversation whose last turn is the assistant's, or is longer than the context.
        """
        ask = _Ask(self._encoded(prompt), Future())
        with self._lock:
            if self._fault:
                raise self._fault
            self._waiting.append(ask)
        # One job per request: the first takes all that wait by then, and those that find nothing left do nothing.
        self._pool.submit(self._score_waiting).add_done_callback(self._ended)
        return await asyncio.wrap_future(ask.future)

    def scores(self, conversations: Sequence[list[Message]]) -> list[float]:
        """The same as numbers, all at once and in this thread: for a training, which is the engine's only user.

        Raises:
            RequestRefused: as above.
        """
        rows = [self._encoded(one) for one in conversations]
        parts = [rows[place : place + self._spec.batch_size] for place in range(0, len(rows), self._spec.batch_size)]
        return [score for part in parts for score in self._scores(part)]

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        raise RequestRefused("a reward model scores answers and chooses none; bind the alias to a language model")

    async def close(self) -> None:
        self._fail(EngineDown("the engine was closed"))
        await asyncio.to_thread(self._pool.shutdown)

    def _encoded(self, prompt: str | list[Message]) -> list[int]:
        if isinstance(prompt, str) or prompt[-1]["role"] != "assistant":
            raise RequestRefused(
                "a reward model scores a conversation that ends with the assistant's answer, and got another prompt; "
                "bind the alias to a language model"
            )
        try:
            with self._encoding:
                ids = list(
                    self.tokenizer.apply_chat_template(prompt, return_dict=True, **self._spec.chat_template_kwargs)[
                        "input_ids"
                    ]
                )
        except jinja2.TemplateError as error:
            raise RequestRefused(f"the model's chat template refuses the turns: {excerpt(error)}") from error
        if self.context and len(ids) > self.context:
            raise RequestRefused(
                f"conversation too long: {len(ids)} tokens exceed the context of {self.context}; shorten the answers"
            )
        return ids

    # Below: the worker's thread.

    def _begin(self) -> None:
        if self._spec.threads is not None:
            torch.set_num_threads(self._spec.threads)

    def _score_waiting(self) -> None:
        with self._lock:
            length = len(self._waiting[0].ids) if self._waiting else 0
            near = sorted(self._waiting, key=lambda ask: abs(len(ask.ids) - length))
            near = near[: self._spec.batch_size]
            batch = near[: max(1, MAX_PREFILL_TOKENS // max(len(ask.ids) for ask in near))] if near else []
            chosen = {id(ask) for ask in batch}
            self._waiting = [ask for ask in self._waiting if id(ask) not in chosen]
        if not batch:
            return
        began = time.perf_counter()
        try:
            scores = self._scores([ask.ids for ask in batch])
        except BaseException:
            with self._lock:
                self._waiting = [*batch, *self._waiting]  # `_ended` answers them
            raise
        took_s = time.perf_counter() - began
        for ask, score in zip(batch, scores, strict=True):
            if not ask.future.set_running_or_notify_cancel():
                continue
            if math.isfinite(score):
                ask.future.set_result(Completion(f"{score:.6f}", "stop", len(ask.ids), 0, took_s))
            else:
                ask.future.set_exception(RequestRefused(f"the reward model's score is {score}, expected a number"))

    def _scores(self, rows: Sequence[list[int]]) -> list[float]:
        """Each is read at its row's last token: padding is to its right, and is the model's own padding token."""
        width, pad = max(map(len, rows)), self._model.config.pad_token_id
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=self._model.device)
        columns = torch.arange(width, device=self._model.device)
        mask = columns < torch.tensor([[len(row)] for row in rows], device=self._model.device)
        with torch.inference_mode():
            scores: list[float] = self._model(input_ids=ids, attention_mask=mask.long()).logits[:, 0].float().tolist()
        return scores

    def _ended(self, work: Future[None]) -> None:
        """If the worker broke, open and later requests get EngineDown."""
        if not work.cancelled() and (cause := work.exception()):
            fault = EngineDown(f"the reward engine failed: {type(cause).__name__}: {excerpt(cause)}")
            fault.__cause__ = cause
            self._fail(fault)

    def _fail(self, fault: EngineDown) -> None:
        with self._lock:
            self._fault = self._fault or fault
            left, self._waiting = self._waiting, []
        for ask in left:
            if ask.future.set_running_or_notify_cancel():
                ask.future.set_exception(fault)


def load_reward(spec: RewardSpec) -> RewardEngine:
    """The engine itself. Raises SpecError where the folder holds no reward model."""
    place, is_here = locate(spec.model)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if spec.device == "auto" else spec.device
    disable_progress_bar()
    # As in the embedded engine: local files are read without a hub, and a model's own code is never run.
    source: dict[str, Any] = {
        "local_files_only": local_only(spec.model, spec.revision),
        "trust_remote_code": False,
    }
    source |= {} if is_here else {"revision": spec.revision}
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **source)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            place, dtype=getattr(torch, spec.dtype), output_loading_info=True, **source
        )
    except (OSError, ValueError, ImportError) as error:
        reason = excerpt(str(error).partition("\n")[0])
        raise SpecError(f"engine.model: cannot load {spec.model!r}: {reason}; give a reward model's folder") from error
    if info["missing_keys"] or model.config.num_labels != 1:
        raise SpecError(
            f"engine.model: {spec.model!r} is no reward model: got {model.config.num_labels} labels and "
            f"{len(info['missing_keys'])} weights missing, expected one label and a trained head; give a folder that "
            "the recipe `reward` made"
        )
    if tokenizer.chat_template is None:
        raise SpecError(
            f"engine.model: {spec.model!r} has no chat template; give its tokenizer the one it was trained with"
        )
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if model.config.pad_token_id in (None, tokenizer.eos_token_id):
        raise SpecError(
            f"engine.model: {spec.model!r} has no padding token beside its end token, by which the end of an answer is "
            "known; set pad_token_id in its config.json to another token"
        )
    return RewardEngine(spec, model.to(device).eval(), tokenizer)


def open_reward(spec: RewardSpec, log: Path | None = None) -> AbstractAsyncContextManager[RewardEngine]:
    """As `open_transformers`."""
    return loaded(partial(load_reward, spec), spec.model, log)

"""Continuous batching over a transformers model: rows join and leave a running batch between two steps.

Rows are right-aligned: column W-1 is each one's newest token, columns before its first are masked. So one
two-dimensional mask serves any causal decoder. The keys and values of a prefix that prompts share are computed once.
`model.generate` runs a whole batch to its longest reply; with replies of 8 to 96 tokens this loop gives about twice its
tokens a second, with equal ones about the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers.cache_utils import Cache, DynamicLayer

from tasks.engines.protocol import Completion, Sampling
from tasks.engines.thoughts import split_thought
from tasks.engines.tokenization import cut, decode, tidy
from tasks.engines.transformers.prefix_cache import MIN_TOKENS, Prefix, PrefixCache
from tasks.engines.transformers.sampling import Dice, draw

SLACK = 64  # columns a cache grows by, so that a step seldom copies it
MAX_PREFILL_TOKENS = 16384  # padded prompt tokens read at once; bounds memory


@dataclass
class Row:
    """One request in progress: its prompt's token ids, the tokens written, and the future that waits for it."""

    prompt: list[int]
    sampling: Sampling
    future: Future[Completion]
    joined: float = 0.0  # when it came into the batch; time.perf_counter()
    dice: Dice | None = None
    written: list[int] = field(default_factory=list)
    done: bool = False


class _Layer(DynamicLayer):  # type: ignore[misc]
    """Keys and values (B, H, W, D) with room to grow in place; the library's own layer copies all of it each step."""

    keys: Any
    values: Any
    room: tuple[Any, Any]

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.hold(key_states, value_states)
            return self.keys, self.values
        width, end = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if end > self.room[0].shape[2]:
            shape = (*self.keys.shape[:2], end + SLACK, self.keys.shape[3])
            grown = self.keys.new_zeros(shape), self.values.new_zeros((*shape[:3], self.values.shape[3]))
            grown[0][:, :, :width], grown[1][:, :, :width] = self.keys, self.values
            self.room = grown
        self.room[0][:, :, width:end], self.room[1][:, :, width:end] = key_states, value_states
        self.keys, self.values = self.room[0][:, :, :end], self.room[1][:, :, :end]
        return self.keys, self.values

    def hold(self, keys: Any, values: Any) -> None:
        self.room = (keys, values)
        self.keys, self.values = keys, values


class Decoder:
    """The running batch. `admit` and `step` are called from one thread only."""

    def __init__(self, model: Any, tokenizer: Any, ends: frozenset[int]) -> None:
        self.rows: list[Row] = []
        self.model, self.tokenizer, self.ends = model, tokenizer, ends
        self._cache: Any = None
        self._prefixes = PrefixCache()
        self._pieces: list[str] = []
        self._closers: dict[str, frozenset[int] | None] = {}

    @property
    def living(self) -> int:
        return sum(not row.done for row in self.rows)

    def admit(self, rows: Sequence[Row]) -> None:
        """Read the prompts of new rows, write each one's first token, and let them join the batch."""
        shared, others = self._prefixes.group([row.prompt for row in rows])
        for indices in shared:
            self._join([rows[index] for index in indices], self._prefill_shared)
        if others:
            self._join([rows[index] for index in others], self._prefill)

    def _join(self, rows: Sequence[Row], prefill: Callable[[list[list[int]]], tuple[Any, Any]]) -> None:
        now = time.perf_counter()
        logits, cache = prefill([row.prompt for row in rows])
        for row in rows:
            row.joined, row.dice = now, Dice.of(row.sampling, logits.shape[-1], logits.device)
        self._write(rows, logits)
        self._merge(rows, cache)

    def _prefill(self, prompts: list[list[int]]) -> tuple[Any, Any]:
        """Logits (B, V) after each prompt, and the cache of all."""
        cache = Cache(layer_class_to_replicate=_Layer)
        return self._forward(prompts, [len(prompt) for prompt in prompts], cache), cache

    def _prefill_shared(self, prompts: list[list[int]]) -> tuple[Any, Any]:
        """The same of prompts that share a prefix, which is taken from the prefix cache or put into it."""
        prefix = self._shared_prefix(prompts)
        start = len(prefix.ids)
        expanded = ([one.expand(len(prompts), -1, -1, -1) for one in layer] for layer in prefix.layers)
        cache = Cache(layers=[_layer(keys, values, start) for keys, values in expanded])
        rest = [prompt[start:-1] for prompt in prompts]
        if width := max(map(len, rest)):
            # Left-aligned, so that each row continues where the prefix ends; no token attends to the padding behind it.
            self.model(
                input_ids=torch.tensor([row + [0] * (width - len(row)) for row in rest], device=self.model.device),
                position_ids=torch.arange(start, start + width, device=self.model.device).expand(len(rest), -1),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        lengths = [len(prompt) - 1 for prompt in prompts]
        aligned = ([_right_aligned(one, lengths) for one in (layer.keys, layer.values)] for layer in cache.layers)
        cache = Cache(layers=[_layer(keys, values, max(lengths)) for keys, values in aligned])
        return self._forward([prompt[-1:] for prompt in prompts], [len(prompt) for prompt in prompts], cache), cache

    def _shared_prefix(self, prompts: Sequence[list[int]]) -> Prefix:
        common, cached = self._prefixes.find(prompts)
        done = len(cached.ids) if cached else 0
        if cached and (len(prompts) == 1 or len(common) - done < MIN_TOKENS):
            return cached
        cache = Cache(layer_class_to_replicate=_Layer)
        if cached:
            cache = Cache(layers=[_layer(keys, values, done) for keys, values in cached.layers])
        self._forward([common[done:]], [len(common)], cache)
        prefix = Prefix(common, [(layer.keys, layer.values) for layer in cache.layers])
        self._prefixes.put(prefix)
        return prefix

    def step(self) -> None:
        """One more token for every row. Finished rows stay until they are an eighth of the batch."""
        if len(self.rows) - self.living > len(self.rows) // 8:
            self._merge([], None)
        if self.rows:
            lengths = [len(row.prompt) + len(row.written) for row in self.rows]
            self._write(self.rows, self._forward([row.written[-1:] for row in self.rows], lengths, self._cache))

    def _forward(self, tokens: Sequence[Sequence[int]], lengths: Sequence[int], cache: Any) -> Any:
        """Logits (B, V) after each row's last token. `lengths` (B) count all of a row, the new tokens included."""
        device = self.model.device
        new = max(len(ids) for ids in tokens)
        width = new + cache.get_seq_length()
        ids = torch.tensor([[0] * (new - len(row)) + list(row) for row in tokens], device=device)  # (B, new)
        start = width - torch.tensor(lengths, device=device).unsqueeze(-1)  # (B, 1)
        columns = torch.arange(width, device=device)
        output = self.model(
            input_ids=ids,
            attention_mask=(columns >= start).long(),  # (B, W)
            position_ids=(columns[width - new :] - start).clamp(min=0),  # (B, new)
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()

    def _write(self, rows: Sequence[Row], logits: Any) -> None:
        for row, token in zip(rows, draw(logits, [row.dice for row in rows if row.dice]), strict=True):
            if not row.done:
                row.written.append(token)
                self._finish(row, token)

    def _finish(self, row: Row, token: int) -> None:
        """Answer a row that has just ended, by its end-of-text token, a stop string or its last allowed token."""
        ended = token in self.ends
        stopped = any(self._may_close(stop, token) for stop in row.sampling.stop)
        full = len(row.written) >= row.sampling.max_tokens
        if row.future.cancelled():
            row.done = True
        elif ended or stopped or full:
            written = row.written[:-1] if ended else row.written
            text = decode(self.tokenizer, written)
            text, found = cut(text, row.sampling.stop)
            row.done = ended or found or full
            if row.done and row.future.set_running_or_notify_cancel():
                reason: Literal["stop", "length"] = "stop" if ended or found else "length"
                tokens = len(row.prompt), len(row.written)
                thought, text = split_thought(text)
                took_s = time.perf_counter() - row.joined
                row.future.set_result(Completion(tidy(text), reason, *tokens, took_s, thought=thought))

    def _may_close(self, stop: str, token: int) -> bool:
        """Whether a token may complete a stop string: if it holds its last character. Decoding is slow, this is not."""
        if stop not in self._closers:
            if not self._pieces:
                ids = [[token] for token in range(len(self.tokenizer))]
                self._pieces = self.tokenizer.batch_decode(ids, clean_up_tokenization_spaces=False)
            # A tokenizer may hide a token's leading space, or spread one character over several tokens.
            certain = stop[-1].isascii() and stop[-1] != " "
            ids_with = frozenset(token for token, piece in enumerate(self._pieces) if stop[-1] in piece)
            self._closers[stop] = ids_with if certain else None
        closers = self._closers[stop]
        return closers is None or token in closers

    def _merge(self, newcomers: Sequence[Row], cache: Any) -> None:
        """Drop the finished rows and append the newcomers below the rest, in a cache no wider than they need."""
        parts = [(rows, part) for rows, part in ((self.rows, self._cache), (newcomers, cache)) if rows]
        if len(parts) == 1 and not any(row.done for row in parts[0][0]):
            self.rows, self._cache = list(parts[0][0]), parts[0][1]
            return
        alive = [([place for place, row in enumerate(rows) if not row.done], part) for rows, part in parts]
        self.rows = [row for rows, _ in parts for row in rows if not row.done]
        self._cache = None
        if not self.rows:
            return
        # The newest token is not in the cache yet.
        width = max(len(row.prompt) + len(row.written) - 1 for row in self.rows)
        layers = []
        for number in range(len(alive[0][1].layers)):
            cached = [(places, part.layers[number]) for places, part in alive if places]
            keys, values = (
                _stacked([(places, getattr(old, name)) for places, old in cached], width) for name in ("keys", "values")
            )
            layers.append(_layer(keys, values, width))
        self._cache = Cache(layers=layers)


def _layer(keys: Any, values: Any, width: int) -> _Layer:
    """A layer of the first `width` columns of keys and values; the columns behind are room to grow."""
    layer = _Layer()
    layer.lazy_initialization(keys, values)
    layer.hold(keys, values)
    layer.keys, layer.values = keys[:, :, :width], values[:, :, :width]
    return layer


def _right_aligned(tensor: Any, lengths: Sequence[int]) -> Any:
    """Left-aligned rows of these lengths of a tensor (B, H, W, D), right-aligned, with room to grow."""
    width = max(lengths)
    whole = tensor.new_zeros((*tensor.shape[:2], width + SLACK, tensor.shape[3]))
    for row, length in enumerate(lengths):
        whole[row, :, width - length : width] = tensor[row, :, :length]
    return whole


def _stacked(parts: Sequence[tuple[Sequence[int], Any]], width: int) -> Any:
    """The chosen rows of tensors (B, H, W, D) one below another, right-aligned at `width`, with room behind."""
    like = parts[0][1]
    count = sum(len(places) for places, _ in parts)
    whole = like.new_zeros((count, like.shape[1], width + SLACK, like.shape[3]))
    top = 0
    for places, tensor in parts:
        wide = min(width, tensor.shape[2])
        whole[top : top + len(places), :, width - wide : width] = tensor[places, :, tensor.shape[2] - wide :]
        top += len(places)
    return whole


def score(model: Any, prompts: Sequence[list[int]], options: Sequence[Sequence[list[int]]]) -> list[list[float]]:
    """Log-probabilities of each prompt's options: the sums of their tokens'.

    One row is read for each distinct beginning that a prompt's options share, so options of one token cost one row.
    """
    heads = [(place, head) for place, opts in enumerate(options) for head in dict.fromkeys(tuple(o[:-1]) for o in opts)]
    sequences = [[*prompts[place], *head] for place, head in heads]
    width, keep = max(len(ids) for ids in sequences), 1 + max(len(head) for _, head in heads)
    ids = torch.tensor([[0] * (width - len(ids)) + ids for ids in sequences], device=model.device)
    start = torch.tensor([[width - len(ids)] for ids in sequences], device=model.device)
    columns = torch.arange(width, device=model.device)
    logits = model(
        input_ids=ids,
        attention_mask=(columns >= start).long(),
        position_ids=(columns - start).clamp(min=0),
        use_cache=False,
        logits_to_keep=keep,
    ).logits
    logs = logits.float().log_softmax(-1)  # (rows, keep, V)
    row_of = {head: row for row, head in enumerate(heads)}
    found = []
    for place, opts in enumerate(options):
        sums = []
        for option in opts:
            lines = logs[row_of[place, tuple(option[:-1])], -len(option) :]  # (tokens of the option, V)
            sums.append(sum(lines[number, token] for number, token in enumerate(option)))
        found.append(torch.stack(sums).tolist())
    return found

"""A step: one request a row, replies read into records, and one attempt for every call made.

A `Step` is data and small pure functions, so that its work keys are known before anything is sent; `execute` is the
one place where a completion is requested, retried, read and recorded.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from alignery.hashing import digest
from alignery.untrusted import excerpt
from prompts import Form, Message, Prompt
from tasks.answer import fields_of
from tasks.engines import Completion, Engine, EngineDown, RequestRefused, Sampling, Verbatim
from tasks.filters.heuristics import BROKEN, EMPTY, TRUNCATED
from tasks.filters.leftovers import is_invisible, leftover, without_end

Row = dict[str, Any]
# (request key, try number) → the attempt whose reply is reused without a request.
Replies = Mapping[tuple[str, int], Row]
KNOWN_REPLY = "known_reply"  # `attempts.replayed_from` of a reply that followed from the row
_BROKEN = re.compile("\ufffd[\\w\ufffd]|\\w\ufffd")  # bytes that are no text, within words; by itself it may be meant
_WORDS = 1000  # characters of an engine's words in a reason; our choice


class ParseError(ValueError):
    """The reply is not in the form that the prompt asked for; another seed may do better."""


class Rejected(ValueError):
    """The reply was parsed and is rejected; the message is the reason, a short fixed phrase."""


@dataclass(frozen=True, eq=False)  # a step equals only itself: functions cannot be compared
class Step:
    """One kind of request.

    Args:
        name: `method.step`, as in `attempts.step`.
        table: the table that its records go to.
        prompt: the prompt; its hash is part of the fingerprint.
        sampling: how replies are drawn; the prompt's own stops are added.
        parents: the fields of a row that hold the ids of the records it is made from; copied to each record.
        variables: row → the prompt's variables.
        read: (reply, row) → the fields of each record it yields. Raises ParseError or Rejected.
        read_cut: the same of a reply that reached max_tokens; without it such a reply is rejected.
        key_fields: row → what else makes the work (a principle and its hash); part of the work key.
        sample_key: row → what distinguishes equal requests that need separate replies.
        next_row: (row, one of its records) → the row that the next step of a chain gets.
        config: further settings that the outcome depends on; part of the fingerprint.
        known_reply: row → the reply where it follows from the row, so that no request is sent; else None.
        retries: how many more seeds an unparsed reply is given.
        version: raise it when replies are parsed in another way: earlier work is then redone by parsing the replies in
            the lake again, without requests.
        options: where it is a choice: the model is not asked to write but for the probability of each of these as its
            next words, and what `read` gets is for `probabilities`.
        min_mass: the probability (0 to 1) that the options have together, at the least; else nothing was chosen.
    """

    name: str
    table: str
    prompt: Prompt
    sampling: Sampling
    parents: tuple[str, ...]
    variables: Callable[[Row], Mapping[str, Any]]
    read: Callable[[str, Row], Sequence[Row]]
    read_cut: Callable[[str, Row], Sequence[Row]] | None = None
    key_fields: Callable[[Row], Mapping[str, Any]] = lambda row: {}
    sample_key: Callable[[Row], str | None] = lambda row: None
    next_row: Callable[[Row, Row], Row] = lambda row, record: row
    config: Mapping[str, Any] = field(default_factory=dict)
    known_reply: Callable[[Row], str | None] = lambda row: None
    retries: int = 2
    version: int = 1
    options: tuple[str, ...] = ()
    min_mass: float = 0.0
    _fingerprints: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def fingerprint(self, engine: Engine) -> str:
        """The hash of what all work of this step shares: prompt, model, sampling, settings."""
        if engine.identity not in self._fingerprints:  # it is made from long texts, and needed for every row
            self._fingerprints[engine.identity] = digest(
                self.name,
                self.prompt.hash,
                engine.identity,
                self._options_or_sampling,
                dict(self.config),
                self.retries,
                *([] if self.version == 1 else [self.version]),
            )
        return self._fingerprints[engine.identity]

    def work_key(self, row: Row, engine: Engine) -> str:
        """The hash of everything that makes this one piece of work."""
        return digest(self.fingerprint(engine), self.inputs(row))

    def inputs(self, row: Row) -> dict[str, Any]:
        return {name: row[name] for name in self.parents} | dict(self.key_fields(row))

    def request_key(self, row: Row, messages: str | list[Message], engine: Engine) -> str:
        """The hash of what is sent, independent of how the reply is parsed: prompt, model, sampling or options.

        Seeds are derived from it too, so after a change of parser, gate or id the same request finds its reply.
        """
        return digest(messages, engine.identity, self._options_or_sampling, self.sample_key(row))

    def in_form(self, form: Form) -> Step:
        """The step for a model of that form."""
        if (prompt := self.prompt.in_form(form)) is self.prompt:
            return self
        return replace(self, prompt=prompt, options=prompt.following(*self.options))

    def whole_reply(self, text: str) -> str:
        """A reply with the words that the prompt began it with; some servers leave these to the model, which may say
        them itself."""
        begun = self.prompt.prefill
        return text if not begun or text.lstrip().startswith(begun) else f"{begun} {text.lstrip(' ')}"

    @cached_property
    def drawn(self) -> Sampling:
        """The sampling with the prompt's stops."""
        return replace(self.sampling, stop=(*self.sampling.stop, *self.prompt.stop))

    # Made once: every request needs them.
    @cached_property
    def _options_or_sampling(self) -> Any:
        """Options or sampling, as used in keys."""
        if isinstance(self.options, Verbatim):
            return {"verbatim": list(self.options)}
        return self.options or self._drawn_identity

    @cached_property
    def _drawn_identity(self) -> dict[str, Any]:
        return self.drawn.identity()

    @cached_property
    def drawn_text(self) -> str:
        """The sampling as stored in `attempts`."""
        return json.dumps(self._drawn_identity, sort_keys=True)


@dataclass
class Outcome:
    """The results of the calls for some rows."""

    step: Step
    fingerprint: str
    records: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """One row under one step, with the engine to use."""

    step: Step
    row: Row
    engine: Engine

    @cached_property
    def fingerprint(self) -> str:
        return self.step.fingerprint(self.engine)

    @cached_property
    def key(self) -> str:
        return self.step.work_key(self.row, self.engine)

    @cached_property
    def messages(self) -> str | list[Message]:
        return self.step.prompt.render(**self.step.variables(self.row))

    @cached_property
    def request_key(self) -> str:
        return self.step.request_key(self.row, self.messages, self.engine)


async def execute(
    ask: Request, replies: Replies, outcome: Outcome, on_attempt: Callable[[Row], None] = lambda attempt: None
) -> None:
    """Send requests for one row until its work is finished; each call is in `outcome` as soon as it is answered.

    Args:
        on_attempt: called with each attempt at once, so that it survives if the next one fails. The last one, which
            is `final`, comes when its records are in `outcome`.

    Raises:
        EngineDown: the engine does not answer; the call is in `outcome`, and its work is not finished.
    """
    step, row = ask.step, ask.row
    for number in range(step.retries + 1):
        sampling = replace(step.drawn, seed=int(digest(ask.request_key, number)[:8], 16) >> 1)
        attempt = _new_attempt(ask, number, sampling)
        try:
            if (text := step.known_reply(row)) is not None:
                completion = Completion(text, "stop", 0, 0, 0.0)
                attempt |= {"replayed_from": KNOWN_REPLY}
            elif known := replies.get((ask.request_key, number)):
                completion = Completion(known["raw_text"], known["finish_reason"], 0, 0, 0.0)
                attempt |= {"replayed_from": known["id"]}
            elif step.options:
                completion = await _choose(ask)
            else:
                completion = await ask.engine.generate(ask.messages, sampling)
            fields, misfit = fields_of(completion)
            attempt |= fields | {"created_at": datetime.now(UTC)}  # when it was answered
            if misfit:
                raise RequestRefused(misfit)
            found = read_reply(step, completion, row)
        except ParseError as error:
            attempt |= {"state": "unparsed", "reason": str(error), "final": number == step.retries}
        except Rejected as error:
            attempt |= {"state": "rejected", "reason": str(error), "final": True}
        except RequestRefused as error:
            attempt |= {"state": "failed", "reason": excerpt(error, _WORDS), "final": True}
        except EngineDown as error:
            # Not final: the next run sends the row again.
            attempt |= {"state": "failed", "reason": excerpt(error, _WORDS), "final": False}
            outcome.attempts.append(attempt)
            on_attempt(attempt)
            raise
        else:
            attempt |= {"state": "accepted", "reason": None, "final": True}
            outcome.records += [_record(step, row, attempt, place, fields) for place, fields in enumerate(found)]
        outcome.attempts.append(attempt)
        on_attempt(attempt)
        if attempt["final"]:
            return


async def _choose(ask: Request) -> Completion:
    """The choice as a reply: JSON of each option's probability, and of how many replies were drawn for them; of options
    that are taken verbatim, of their log-probabilities too."""
    began = time.perf_counter()
    found = await ask.engine.choose(ask.messages, ask.step.options)
    if len(found) != len(ask.step.options) or not all(0 <= one <= 1 for one in found):  # nan is neither
        raise RequestRefused(f"got {excerpt(list(found), 80)}, expected a probability for each option; fix the engine")
    reply: dict[str, Any] = {
        "probabilities": list(found),
        "draws": getattr(found, "draws", 0),
        "mass": getattr(found, "mass", None),
    }
    if isinstance(ask.step.options, Verbatim):
        reply["logs"] = getattr(found, "logs", None)
    return Completion(json.dumps(reply), "stop", 0, 0, time.perf_counter() - began)


def _check_mass(reply: str, least: float) -> None:
    """Raises Rejected if the options of a choice have less than that probability together."""
    mass = json.loads(reply).get("mass")  # an older reply has none
    if mass is not None and mass < least:
        raise Rejected("chose none of the options: their probability is below min_mass")


def probabilities(reply: str) -> list[float]:
    """The probabilities in the reply of a step with `options`, in their order; they sum to 1."""
    return [float(one) for one in json.loads(reply)["probabilities"]]


def read_reply(step: Step, completion: Completion, row: Row) -> Sequence[Row]:
    """The records in a reply; truncated and empty replies are rejected here for most steps."""
    read = step.read_cut if completion.finish_reason == "length" else step.read
    if read is None:
        raise Rejected(TRUNCATED)
    text = without_end(completion.text)
    if is_invisible(text):
        raise Rejected(EMPTY)
    if _BROKEN.search(text):
        raise ParseError(BROKEN)
    if fault := leftover(text):
        raise ParseError(fault)
    if step.options:
        _check_mass(text, step.min_mass)
    return read(step.whole_reply(text), row)


def _new_attempt(ask: Request, number: int, sampling: Sampling) -> Row:
    step, row = ask.step, ask.row
    now = datetime.now(UTC)
    return {
        # Unique to the call: work that a dead engine left unfinished is sent again under the same key.
        "id": digest(ask.key, number, now.isoformat()),
        "work_key": ask.key,
        "step": step.name,
        "fingerprint": ask.fingerprint,
        # Each once: in a first round the criticised answer and the first answer are the same record.
        "parents": list(dict.fromkeys(row[name] for name in step.parents)),
        "inputs": json.dumps(step.inputs(row), sort_keys=True, ensure_ascii=False),
        "prompt_id": step.prompt.id,
        "prompt_hash": step.prompt.hash,
        "model": ask.engine.identity,
        "sampling": step.drawn_text,
        "seed": sampling.seed,
        "try_number": number,
        "raw_text": None,
        "thought": None,
        "finish_reason": None,
        "tokens_in": 0,
        "tokens_out": 0,
        "latency_s": None,
        "tokens_cached": None,
        "created_at": now,
        "request_key": ask.request_key,
        "replayed_from": None,
    }


def _record(step: Step, row: Row, attempt: Row, place: int, fields: Row) -> Row:
    return {
        # From the key and not the try, so that the id depends on the request, not on the seed that succeeded.
        "id": digest(attempt["work_key"], "record", place),
        "parents": attempt["parents"],
        "attempt_id": attempt["id"],
        "work_key": attempt["work_key"],
        "created_at": attempt["created_at"],
        **{name: row[name] for name in step.parents},
        **fields,
    }

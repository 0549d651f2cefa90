"""Tasks of lm-evaluation-harness as suites: contexts, options, filters and scores are its own, and our engines answer.

Each document is a prompt like any other: answered ones are not sent again, and two models are compared document by
document. A task is of the type `generate_until`, which every engine can answer, or `multiple_choice`, which
takes the log-probability of whole options. Departures from what lm_eval does with its own models:

1. A model that has a chat template is sent the document as one user's turn, with its worked examples and its
   description; there the description is the system's. `apply_chat_template: false` sends a text, the default there.
2. A text begins with the special tokens (BOS) that its tokenizer writes; there only with `add_bos_token`.
3. An option is tokenized separately, and not together with the context.
4. A figure is a mean over documents, of a group too. Metrics that only many documents have together (perplexity, BLEU,
   F1) are left out, and so is `exact_match` of a choice, for which an engine would have to report its greedy decoding.
5. A document without an answer has the worst figure.
6. Nothing is fetched unless HF_HUB_OFFLINE=0, and no task runs code that a model wrote.
"""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from alignery.errors import UsageError
from alignery.hashing import digest
from alignery.untrusted import excerpt
from prompts import Form, Library
from tasks.engines import Sampling, Verbatim
from tasks.evaluate.suites.config import Config, LmEval
from tasks.step import Row, Step

_GENERATE, _CHOOSE = "generate_until", "multiple_choice"
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # lm_eval's order
_SEEDS = (0, 1234)  # of random, and of numpy and the worked examples: lm_eval's


class HarnessError(UsageError):
    """A task of lm_eval is missing, cannot be run here, or has no score of a document; the message has the fix."""


@dataclass(frozen=True)
class Loaded:
    """A task, or the tasks of a group, as a suite.

    Args:
        rows: {prompt_id, kind (the task), prompt (the document's own words), context (what is sent), answer (the right
            one), document (its hash)}, and `options` or `generation` (the task's settings).
        score: (row, answer) → metric → 0 to 1.
        better: metric → "higher" or "lower"; a metric of a filter with a name is `metric/filter`.
    """

    rows: list[Row]
    score: Callable[[Row, str], Mapping[str, float]]
    better: Mapping[str, str]


def load(config: Config) -> Loaded:
    """A suite's task. It is loaded once, and again where a file of its `include_path` has changed.

    Raises:
        HarnessError: lm_eval, the task or its data are missing, or the task cannot be run here.
    """
    folder = config.lm_eval.include_path if config.lm_eval else None
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
    return _load(config, tuple((path, path.stat().st_mtime_ns) for path in files))


def step(config: Config, library: Library, sampling: Sampling, form: Form) -> Callable[[Row], Step]:
    """How a document is sent to a model of that form.

    Args:
        sampling: its `max_tokens` is for tasks that give none.
    """
    assert config.lm_eval is not None
    prompt = library.prompt("evaluate/document").in_form(form if config.lm_eval.apply_chat_template else "text")
    chosen = partial(_read_logs, config.name)

    def record(reply: str, row: Row) -> list[Row]:
        return [{"suite": config.name, "prompt": row["prompt"], "text": reply}]

    def of(row: Row) -> Step:
        options = row.get("options", ())
        return Step(
            name="evaluate.choose" if options else "evaluate.answer",
            table="eval_answers",
            prompt=prompt,
            sampling=sampling if options else _sampling(row["generation"], sampling, config.name),
            parents=("prompt_id",),
            variables=lambda row: {"context": row["context"]},
            read=(lambda reply, row: record(chosen(reply), row)) if options else record,
            read_cut=None if options else record,
            next_row=lambda row, record: record,
            key_fields=lambda row: {"prompt": row["context"]},
            config={"suite": config.name},
            retries=0,
            options=Verbatim(option if prompt.is_text else option.lstrip() for option in dict.fromkeys(options)),
        )

    return of


def _read_logs(suite: str, reply: str) -> str:
    if json.loads(reply).get("logs") is None:
        raise HarnessError(
            f"evaluate.suites: {suite}: a task of the type {_CHOOSE} wants the log-probabilities of whole options, "
            "which the engines transformers and vllm give, and openai where the server is vLLM's; bind the generator "
            f"to one of these, or take a task of the type {_GENERATE}, which every engine can answer"
        )
    return reply


def _sampling(generation: Mapping[str, Any], default: Sampling, suite: str) -> Sampling:
    """A task's `generation_kwargs`: greedy unless it draws."""
    known = {"until", "do_sample", "temperature", "top_p", "top_k", *_LENGTHS}
    if unknown := sorted(generation.keys() - known):
        raise HarnessError(
            f"evaluate.suites: {suite}: generation_kwargs: got {excerpt(unknown, 80)}, expected some of "
            f"{sorted(known)}; drop it in a task of your own (include_path)"
        )
    until, do_sample = generation.get("until") or (), bool(generation.get("do_sample"))
    return Sampling(
        temperature=float(generation.get("temperature", 1.0)) if do_sample else 0.0,
        top_p=float(generation.get("top_p", 1.0)) if do_sample else 1.0,
        top_k=int(generation.get("top_k", 0)) if do_sample else 0,
        max_tokens=int(next((generation[name] for name in _LENGTHS if name in generation), default.max_tokens)),
        stop=tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop),
    )


@lru_cache(maxsize=8)
def _load(config: Config, files: tuple[tuple[Path, int], ...]) -> Loaded:
    asked = config.lm_eval
    assert asked is not None
    where = f"evaluate.suites: {config.name}: lm_eval"
    with _offline(where), _seeded(), redirect_stderr(io.StringIO()):  # its progress bars and notices
        tasks = _tasks(asked, where)
        if len(types := {task.OUTPUT_TYPE for task in tasks.values()}) > 1:
            raise HarnessError(f"{where}: task: got a group of the types {sorted(types)}, expected one; name its tasks")
        scored = {name: _Task(task, name, asked, where) for name, task in tasks.items()}
        rows = [row for task in scored.values() for row in task.build(config)]
    better = {metric: way for task in scored.values() for metric, way in task.better.items()}
    if asked.metrics and (unknown := sorted({*asked.metrics} - better.keys())):
        known = sorted({metric for task in scored.values() for metric in task.known})
        raise HarnessError(f"{where}: metrics: got {excerpt(unknown, 80)}, expected some of {known}; correct it")
    if not better:
        raise HarnessError(f"{where}: task: {asked.task} has no figure of a single document; choose another task")
    return Loaded(rows, lambda row, answer: scored[row["kind"]].score(row, answer), better)


def _tasks(asked: LmEval, where: str) -> dict[str, Any]:
    """The tasks behind a name, with their data."""
    import datasets
    import jinja2

    manager = _manager(asked.include_path)
    if asked.task not in manager.all_tasks:
        near = get_close_matches(asked.task, manager.all_tasks, 5)
        place = asked.include_path or "lm_eval's own"
        raise HarnessError(
            f"{where}: task: got {excerpt(asked.task, 80)!r}, which is not among {excerpt(place)} tasks"
            + (f" (near are {near})" if near else "")
            + "; correct it, or give include_path, the folder of your own"
        )
    faults: tuple[type[Exception], ...] = (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError)
    faults += (jinja2.TemplateError, datasets.exceptions.DatasetsError)
    try:
        found: dict[str, Any] = manager.load([asked.task])["tasks"]
    except faults as error:
        raise HarnessError(
            f"{where}: task: {asked.task} cannot be loaded: {type(error).__name__}: {excerpt(error)}; its data are "
            "read from this machine alone: HF_HUB_OFFLINE=0 lets them be fetched, or write a task over files of your "
            "own (dataset_path: json, in a folder that include_path names)"
        ) from error
    return found


@lru_cache(maxsize=1)
def _own_tasks() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()  # reads every file of lm_eval's tasks, which takes a while


def _manager(folder: Path | None) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(folder), include_defaults=False) if folder else _own_tasks()


class _Task:
    """One task: its documents, and the score of an answer to one."""

    def __init__(self, task: Any, name: str, asked: LmEval, where: str) -> None:
        self._task, self._name, self._asked, self._where = task, name, asked, f"{where}: task: {name}"
        self._check()
        means = {metric for metric, how in task.aggregation().items() if getattr(how, "__name__", "") == "mean"}
        means -= {"exact_match"} if task.OUTPUT_TYPE == _CHOOSE else set()
        ways = {metric: "lower" if way is False else "higher" for metric, way in task.higher_is_better().items()}
        self.known = {
            _label(metric, each.name): (metric, ways.get(metric, "higher"))
            for each in task._filters
            for metric in task.aggregation()
            if metric in means
        }
        metrics = asked.metrics or self.known
        self.better = {label: way for label, (_, way) in self.known.items() if label in metrics}
        self._documents: dict[str, list[Any]] = {}

    def _check(self) -> None:
        task = self._task
        got: str | None = None
        if task.OUTPUT_TYPE not in (_GENERATE, _CHOOSE):
            got = f"the type {task.OUTPUT_TYPE}, expected {_GENERATE} or {_CHOOSE}, which are what our engines can give"
        elif getattr(task, "UNSAFE_CODE", False):
            got = "one that runs code which a model wrote, which is never run here"
        elif getattr(task, "MULTIMODAL", False):
            got = "one with pictures or sounds, expected texts"
        elif (repeats := task.get_config("repeats") or 1) > 1:
            got = f"repeats {repeats}, expected one reply to a document"
        if got:
            raise HarnessError(f"{self._where}: got {got}; choose another task")

    def build(self, config: Config) -> list[Row]:
        """Its documents as rows: the first `limit`."""
        task, shots = self._task, self._asked.num_fewshot
        own = task.get_config("num_fewshot")
        if own is None or (shots is not None and own != 0):  # a task with 0 never has any: lm_eval's rule
            task.set_config(key="num_fewshot", value=shots or 0)
        task.set_fewshot_seed(seed=_SEEDS[1])
        task.build_all_requests(limit=config.limit)
        documents: dict[int, list[Any]] = {}
        for one in task.instances:
            documents.setdefault(one.doc_id, []).append(one)
        return [self._row(config.name, id, sorted(some, key=lambda one: one.idx)) for id, some in documents.items()]

    def _row(self, suite: str, document: int, instances: list[Any]) -> Row:
        task, first = self._task, instances[0]
        contexts = [one.args[0] for one in instances]
        if not isinstance(contexts[0], str) or len({*contexts}) > 1:
            raise HarnessError(
                f"{self._where}: got a document with several contexts, expected one with options to follow it; "
                "choose another task"
            )
        words, answer = task.doc_to_text(first.doc), task.doc_to_target(first.doc)
        row: Row = {
            "prompt_id": f"{suite}/{self._name}/{document}",
            "kind": self._name,
            "prompt": words if isinstance(words, str) and words.strip() else contexts[0],
            "context": contexts[0],
            "answer": str(answer),
            "document": digest(json.dumps(first.doc, sort_keys=True, default=str)),
        }
        if task.OUTPUT_TYPE == _CHOOSE:
            row["options"] = options = [one.args[1] for one in instances]
            if isinstance(answer, int) and 0 <= answer < len(options):
                row["answer"] = options[answer].strip()
        else:
            row["generation"] = dict(first.args[1])
        self._documents[row["prompt_id"]] = instances
        return row

    def score(self, row: Row, answer: str) -> Mapping[str, float]:
        replies: list[Any] = [answer]
        if "options" in row:
            if not answer:
                return {label: float(way == "lower") for label, way in self.better.items()}
            logs = dict(zip(dict.fromkeys(row["options"]), json.loads(answer)["logs"], strict=True))
            replies = [(logs[option], False) for option in row["options"]]
        instances = self._documents[row["prompt_id"]]
        answered = [
            replace(one, resps=[reply], filtered_resps={}) for one, reply in zip(instances, replies, strict=True)
        ]
        found: dict[str, Any] = {}
        for each in self._task._filters:
            each.apply(answered)
            result = self._task.process_results(answered[0].doc, [one.filtered_resps[each.name] for one in answered])
            found |= {_label(metric, each.name): value for metric, value in result.items()}
        return {label: self._figure(label, found[label]) for label in self.better if label in found}

    def _figure(self, label: str, value: Any) -> float:
        try:
            figure = float(value)
        except (TypeError, ValueError):
            figure = -1.0
        if not 0 <= figure <= 1:
            raise HarnessError(
                f"{self._where}: {label}: got {excerpt(repr(value), 40)} of a document, expected a figure from 0 to 1; "
                f"leave it out: metrics: {[other for other in self.better if other != label]}"
            )
        return figure


def _label(metric: str, filter: str) -> str:
    return metric if filter == "none" else f"{metric}/{filter}"


@contextmanager
def _seeded() -> Iterator[None]:
    """Seeded as in lm_eval, because some tasks shuffle options: so they are the same every time."""
    import numpy as np

    before = random.getstate(), np.random.get_state()
    random.seed(_SEEDS[0])
    np.random.seed(_SEEDS[1])
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


@contextmanager
def _offline(where: str) -> Iterator[None]:
    """lm_eval and what it loads data with, which fetch nothing meanwhile unless HF_HUB_OFFLINE=0 allows it."""
    try:
        import datasets.config
        import huggingface_hub.constants
        import lm_eval.tasks  # noqa: F401
    except ImportError as error:
        raise HarnessError(
            f"{where}: got no lm_eval that can be imported ({excerpt(error)}); pip install 'alignery[lm-eval]'"
        ) from error
    # Each read the variable when it was imported.
    switches: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    allowed = os.environ.get("HF_HUB_OFFLINE") == "0"
    for switch in switches:
        switch.HF_HUB_OFFLINE = not allowed
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value

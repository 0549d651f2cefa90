"""A suite's answers and figures as a log of Inspect (inspect_ai, log format 2), for `inspect view` to open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from alignery.hashing import digest
from tasks.evaluate.suites.suite import Suite
from tasks.step import Row


def log_name(model: str, suite: str, at: datetime) -> str:
    """The file's name as Inspect expects it: time, task, id."""
    return f"{at:%Y-%m-%dT%H-%M-%S}+00-00_{suite.replace('_', '-')}_{digest(model, suite)[:22]}.json"


def inspect_log(model: str, name: str, suite: Suite, answers: Sequence[Row], at: datetime) -> dict[str, Any]:
    """The log of one model on one suite.

    Args:
        model: its identity.
        name: as it is shown.
        answers: rows {prompt_id, text}; a prompt without one has the empty answer.
        at: when it was evaluated, UTC.
    """
    texts = {row["prompt_id"]: row["text"] for row in answers}
    whole = [row for row in suite.figures(answers) if "@" not in row["metric"]]
    created = at.isoformat()
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": digest(model, suite.name)[:22],
            "run_id": digest(model, suite.name, created)[:22],
            "task_id": digest(model, suite.name)[:22],
            "created": created,
            "task": suite.name,
            "model": name,
            "dataset": {"name": suite.name, "samples": len(suite.prompts)},
            "config": {"epochs": 1},
            "metadata": {"identity": model, "kind": suite.kind},
        },
        "results": {
            "total_samples": len(suite.prompts),
            "completed_samples": len(suite.prompts),
            "scores": [
                {
                    "name": row["metric"],
                    "scorer": row["metric"],
                    "scored_samples": row["count"],
                    "metrics": {"mean": {"name": "mean", "value": row["value"]}},
                }
                for row in whole
            ],
        },
        "stats": {"started_at": created, "completed_at": created},
        "samples": [_sample(name, suite, row, texts.get(row["prompt_id"], "")) for row in suite.prompts],
    }


def _sample(name: str, suite: Suite, row: Row, text: str) -> dict[str, Any]:
    question, reply = {"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": text}
    return {
        "id": row["prompt_id"],
        "epoch": 1,
        "input": row["prompt"],
        "target": row.get("right") or row.get("answer") or "",
        "messages": [question, reply],
        "output": {"model": name, "choices": [{"message": reply, "stop_reason": "stop"}]},
        "scores": {metric: {"value": value, "answer": text} for metric, value in suite.score(row, text).items()},
        "metadata": {name: value for name, value in row.items() if name not in ("prompt_id", "prompt")},
    }

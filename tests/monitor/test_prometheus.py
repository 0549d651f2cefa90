"""What is counted, and what Prometheus reads of it: of this process, of others, and of such that ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families
from steps import answering

from alignery.config.preset import build
from alignery.errors import UsageError
from alignery.monitor import exporters, metrics, prometheus
from alignery.monitor.metrics import Metrics
from alignery.pipeline.executor import Executor
from alignery.pipeline.progress import StepProgress
from alignery.pipeline.run import Run, measure
from tasks.engines import Completion, ScriptedEngine
from tasks.step import ParseError, Rejected, Row
from warehouse import Lake
from warehouse.query import status

ROOT = Path(__file__).parents[2]
Samples = dict[tuple[str, tuple[str, ...]], float]


def read(reply: str, row: Row) -> list[Row]:
    if reply.startswith("bad"):
        raise ParseError("line 7 is no answer")
    if reply.startswith("no"):
        raise Rejected("a refusal")
    return [{"kind": "base", "text": reply, "complete": True}]


STEP = answering(read, retries=1)


@pytest.fixture(autouse=True)
def unwatched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process counts nothing before, and nothing after."""
    monkeypatch.setattr(metrics, "_counts", None)
    exporters.start.cache_clear()
    yield
    exporters.start.cache_clear()


def walk(lake: Lake, rows: int, *replies: str) -> None:
    """A run of so many rows, one after the other; each reply has as many tokens as words."""
    texts = iter(replies)

    def reply(*_: object) -> Completion:
        text = next(texts)
        return Completion(text, "stop", tokens_in=10, tokens_out=len(text.split()), latency_s=0.1, tokens_cached=4)

    models = {"generator": {"engine": "scripted", "replies": ["unused"]}}
    preset = build({"name": "t", "about": "t", "models": models, "line": {"self_instruct": {"accept": 4}}})

    async def main() -> None:
        engine = ScriptedEngine(reply)
        executor = Executor(lake, run, StepProgress(StringIO()), reject_limit=1.0)
        for n in range(rows):
            await executor.run_batch(STEP, [{"instruction_id": f"i{n}", "instruction": f"thing {n}"}], engine)
        run.end("finished", {})

    with Run(lake, "refresh", preset) as run:
        asyncio.run(main())


def scraped(url: str) -> Samples:
    text = urllib.request.urlopen(url, timeout=60).read().decode()
    names = ("flow", "step", "model", "state", "type", "reason", "table", "le")  # the page has them by the alphabet
    return {
        (sample.name, tuple(sample.labels[name] for name in names if name in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for (known, labels), value in samples.items() if known == name}


def test_a_run_is_counted_and_shown(lake: Lake) -> None:
    with prometheus.served("127.0.0.1", 0) as url:
        walk(lake, 3, "yes it is", "bad", "bad", "no")
        seen = scraped(url)
    requests = {labels[2]: value for labels, value in of(seen, "alignery_requests_total").items()}
    assert requests == {"accepted": 1, "unparsed": 2, "rejected": 1}
    tokens = {labels[2]: value for labels, value in of(seen, "alignery_tokens_total").items()}
    assert tokens == {"in": 40, "out": 6, "cached": 16}
    assert {labels[:2] for labels in of(seen, "alignery_tokens_total")} == {("test.say", "scripted")}
    assert of(seen, "alignery_rejects_total") == {
        ("test.say", "line … is no answer"): 1,
        ("test.say", "a refusal"): 1,
    }
    assert of(seen, "alignery_requests_in_flight") == {("test.say",): 0}
    assert of(seen, "alignery_runs_total") == {("refresh", "finished"): 1}
    commits = of(seen, "alignery_commit_duration_seconds_count")[()]
    assert commits >= 1
    assert of(seen, "alignery_commit_duration_seconds_bucket")[("+Inf",)] == commits
    assert of(seen, "alignery_commit_duration_seconds_sum")[()] > 0
    rows = {table: value for (table,), value in of(seen, "alignery_lake_rows").items()}
    assert rows == {row["table"]: row["rows"] for row in status.sizes(lake)}
    assert rows["attempts"] == lake.rows("SELECT count(*) AS n FROM attempts")[0]["n"] == 4
    on_disk = sum(path.stat().st_size for path in (lake.home / "data").rglob("*.parquet"))
    assert sum(of(seen, "alignery_lake_size_bytes").values()) == on_disk


def test_nothing_is_counted_where_nobody_watches(lake: Lake) -> None:
    walk(lake, 1, "yes")
    measure(lake)
    assert metrics.counts() is None


def test_other_processes_are_added_up_and_what_ended_stays() -> None:
    code = (
        "import os, sys; from alignery.monitor import exporters, metrics\n"
        "exporters.start(); metrics.watch().add(metrics.RUNS, 2, 'refresh', 'finished')\n"
        "metrics.watch().add(metrics.IN_FLIGHT, 5, 's'); metrics.watch().put(metrics.LAKE_ROWS, 7, 'attempts')\n"
        "metrics.watch().record(metrics.COMMITS, 0.2); exporters.write(); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with prometheus.served("127.0.0.1", 0) as url:
        metrics.watch().put(metrics.LAKE_ROWS, 3, "attempts")
        metrics.ended("refresh", "finished")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
        with subprocess.Popen(command, **pipes) as other:  # type: ignore[call-overload]
            other.stdout.readline()
            alive = scraped(url)
            other.communicate()
        folder = Path(os.environ[prometheus.FOLDER])
        gone, again = scraped(url), scraped(url)
        assert list(folder.iterdir()) == []
    for seen in (alive, gone, again):
        assert of(seen, "alignery_runs_total") == {("refresh", "finished"): 3}
        assert of(seen, "alignery_lake_rows") == {("attempts",): 7}
        assert of(seen, "alignery_commit_duration_seconds_count") == {(): 1}
    assert of(alive, "alignery_requests_in_flight") == {("s",): 5}
    assert of(gone, "alignery_requests_in_flight") == {}
    assert prometheus.FOLDER not in os.environ


def test_a_label_has_no_text_of_a_server_and_there_are_few() -> None:
    counts = metrics.watch()

    def attempt(state: str, reason: str) -> Row:
        return {"step": "s", "model": "m\x1b[2J", "state": state, "reason": reason, "final": True,
                "replayed_from": None, "tokens_in": 0, "tokens_out": 0, "tokens_cached": None}  # fmt: skip

    metrics.answered([attempt("failed", "HTTP 400: words of a server")])
    for number in range(200):
        name = "".join(chr(97 + int(digit)) for digit in str(number))
        metrics.answered([attempt("rejected", f"reason {name}"), attempt("rejected", f"reason {number}")])
    reasons = {labels[1]: value for labels, value in counts.of(metrics.REJECTS)}
    assert len(reasons) == metrics.REASONS + 1
    assert reasons["failed"] == 1
    assert reasons["reason …"] == 200
    assert sum(reasons.values()) == 401
    assert {labels[1] for labels, _ in counts.of(metrics.REQUESTS)} == {"m\\x1b[2J"}


def test_an_address_that_is_taken_or_none_is_a_sentence() -> None:
    from alignery.cli.main import app
    from alignery.cli.serve import _address

    assert _address("9464") == ("127.0.0.1", 9464)
    assert _address("0.0.0.0:80") == ("0.0.0.0", 80)
    assert _address("[::1]:80") == ("::1", 80)
    for wrong in ("", "x", "host:", "127.0.0.1:99999", "1:-1"):
        with pytest.raises(typer.BadParameter, match="expected a port"):
            _address(wrong)
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    assert serve.make_context("serve", ["--metrics", "9464"]).params["metrics"] == "9464"
    assert serve.make_context("serve", []).params["metrics"] is None
    with prometheus.served("127.0.0.1", 0) as url:
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(UsageError, match=f"--metrics: got 127.0.0.1:{port}"), prometheus.served("127.0.0.1", port):
            pass


def test_counts_of_two_processes_are_added() -> None:
    total, one = Metrics(), Metrics()
    one.record(metrics.COMMITS, 0.01)
    one.record(metrics.COMMITS, 99)
    for _ in range(2):
        prometheus._add(total, one.snapshot())
    (counts,) = total.histograms.values()
    assert (counts[0], counts[len(metrics.SECONDS)], counts[-1]) == (2, 2, pytest.approx(198.02))

"""The basis of plans, their estimates, and what was used: plain rows for `tasks.estimate` and `alignery plan`."""

from __future__ import annotations

from collections.abc import Iterable

from warehouse.lake import Lake
from warehouse.schema.tables import Row, quoted

_REQUESTS = 1000  # the newest of a model, from which its pace is estimated
_OWN = ("id", "run_id", "created_at", "source")  # the probe's measurements are then in the lake


def step_costs(lake: Lake, fingerprints: Iterable[str]) -> dict[str, Row]:
    """What finished work used, by fingerprint of its step; work whose replies were only parsed again is left out.

    Returns:
        fingerprint → rows, accepted, cached (share of prompt tokens, 0 to 1), and of calls, tokens_in and tokens_out
        the mean and standard deviation (`…_mean`, `…_sd`) by piece of work.
    """
    listed = ", ".join(quoted(fingerprint) for fingerprint in fingerprints)
    figures = ", ".join(
        f"avg({name})::DOUBLE AS {name}_mean, coalesce(stddev_samp({name}), 0) AS {name}_sd"
        for name in ("calls", "tokens_in", "tokens_out")
    )
    found = lake.rows(
        "WITH works AS ("
        " SELECT fingerprint, bool_or(final AND state = 'accepted') AS accepted,"
        " count(*) FILTER (replayed_from IS NULL) AS calls, sum(tokens_in) AS tokens_in,"
        " sum(tokens_out) AS tokens_out, sum(coalesce(tokens_cached, 0)) AS tokens_cached"
        f" FROM attempts WHERE fingerprint IN ({listed})"
        " GROUP BY fingerprint, work_key HAVING bool_or(final))"
        f"SELECT fingerprint, count(*) AS rows, count(*) FILTER (accepted) AS accepted, {figures},"
        " coalesce(sum(tokens_cached) / nullif(sum(tokens_in), 0), 0)::DOUBLE AS cached"
        " FROM works WHERE calls > 0 GROUP BY fingerprint"
    )
    return {row.pop("fingerprint"): row for row in found}


def gated(lake: Lake, table: str, fingerprint: str) -> tuple[int, int]:
    """Candidates of a table that were written under a fingerprint, and those of them that their gate accepted."""
    (found,) = lake.rows(
        f"SELECT count(*) AS written, count(*) FILTER (state = 'accepted') AS kept FROM {table}"
        f" SEMI JOIN (SELECT id FROM attempts WHERE fingerprint = {quoted(fingerprint)}) a ON a.id = attempt_id"
    )
    return found["written"], found["kept"]


def written(lake: Lake, table: str, fingerprint: str, preset: str) -> tuple[int, int]:
    """The same up to the end of the preset's newest refresh that finished (of another, where it has none): what a run
    that is to bring more starts from.

    What a failed run has written since is not counted, so that its next try completes the same number.
    """
    (found,) = lake.rows(
        f"SELECT count(*) AS written, count(*) FILTER (state = 'accepted') AS kept FROM {table}"
        f" SEMI JOIN (SELECT id FROM attempts WHERE fingerprint = {quoted(fingerprint)}) a ON a.id = attempt_id"
        f" WHERE snapshot_id <= (SELECT coalesce(max(snapshot_id) FILTER (preset = {quoted(preset)}), max(snapshot_id))"
        " FROM runs WHERE state = 'finished' AND flow = 'refresh')"
    )
    return found["written"], found["kept"]


def requests(lake: Lake, model: str) -> list[tuple[float, float, float]]:
    """A model's newest requests: reply tokens, requests in flight meanwhile (their mean), seconds."""
    found = lake.rows(
        "WITH sent AS (SELECT id, tokens_out, latency_s, created_at,"
        " created_at - to_microseconds((1e6 * latency_s)::BIGINT) AS sent_at FROM attempts"
        f" WHERE model = {quoted(model)} AND replayed_from IS NULL AND latency_s > 0 AND tokens_out > 0"
        f" ORDER BY snapshot_id DESC, created_at DESC, id LIMIT {_REQUESTS}) "
        "SELECT any_value(a.tokens_out)::DOUBLE AS tokens, any_value(a.latency_s) AS seconds,"
        " greatest(1, sum(date_diff('microsecond', greatest(a.sent_at, b.sent_at), least(a.created_at, b.created_at)))"
        " / 1e6 / any_value(a.latency_s)) AS load"
        " FROM sent a JOIN sent b ON b.sent_at < a.created_at AND b.created_at > a.sent_at GROUP BY a.id ORDER BY a.id"
    )
    return [(row["tokens"], row["load"], row["seconds"]) for row in found]


def newest(lake: Lake, config_hash: str) -> list[Row]:
    """The rows of the newest plan for a configuration, the total last; none without a plan."""
    return lake.rows(
        f"SELECT * FROM plans WHERE config_hash = {quoted(config_hash)}"
        " QUALIFY snapshot_id = max(snapshot_id) OVER () ORDER BY step = 'total', step"
    )


def keep(lake: Lake, rows: list[Row], run_id: str) -> None:
    """Commit a plan's rows."""
    lake.ledger.write("plans", rows, run_id=run_id, message=f"plan: {len(rows) - 1} steps")


def same(plan: list[Row], rows: list[Row]) -> bool:
    """Whether a stored plan has the same estimates as these rows."""
    one, other = ({row["step"]: {k: row[k] for k in row if k not in _OWN} for row in side} for side in (plan, rows))
    return one == other


def estimate_vs_actual(lake: Lake, plan_id: str) -> list[Row]:
    """A plan compared with what was used so far: its rows of the view `plan_vs_actual`."""
    return lake.rows(f"SELECT * FROM plan_vs_actual WHERE plan_id = {quoted(plan_id)}")

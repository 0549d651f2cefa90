-- What each step's requests cost in each run, and a run's in all: tokens, latency percentiles, tokens a second,
-- requests in flight.
--
-- A whole run has a row of its own, whose step is 'total'. Only requests that were sent count, not replies that were
-- reused. `wall_s` is from the first one sent to the last one answered, `in_flight` the mean number of requests in
-- flight in that time, and `cache_rate` the share of prompt tokens that the engine had in its cache, among the
-- requests for which it says so.
SELECT
    run_id, coalesce(step, 'total') AS step,
    CASE WHEN count(DISTINCT model) = 1 THEN any_value(model) END AS model,
    count(*) AS requests,
    coalesce(sum(tokens_in), 0)::BIGINT AS tokens_in,
    coalesce(sum(tokens_out), 0)::BIGINT AS tokens_out,
    sum(tokens_cached)::BIGINT AS tokens_cached,
    sum(tokens_cached) / nullif(sum(tokens_in) FILTER (tokens_cached IS NOT NULL), 0) AS cache_rate,
    quantile_cont(latency_s, 0.5) AS latency_p50_s,
    quantile_cont(latency_s, 0.9) AS latency_p90_s,
    quantile_cont(latency_s, 0.99) AS latency_p99_s,
    date_diff('microsecond', min(sent_at), max(created_at)) / 1e6 AS wall_s,
    sum(tokens_out) / nullif(wall_s, 0) AS tokens_out_per_s,
    sum(latency_s) / nullif(wall_s, 0) AS in_flight,
    min(sent_at) AS started_at
FROM (
    SELECT *, created_at - to_microseconds((1e6 * coalesce(latency_s, 0))::BIGINT) AS sent_at
    FROM attempts
    WHERE replayed_from IS NULL
)
GROUP BY GROUPING SETS ((run_id, step), (run_id))
ORDER BY min(min(sent_at)) OVER (PARTITION BY run_id), run_id, step = 'total', started_at, step

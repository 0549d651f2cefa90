-- The outcome of each step's work in each run: rows in, attempts by state, the top reason, tokens, seconds.
--
-- `rows_in` counts work keys and `attempts` counts calls, so a retry adds only to the second. A row such as
-- 'self_instruct.gate' counts the candidates that the gate judged; it makes no calls. Nor does 'preferences.judge': of
-- the revisions that the judge of `compare` saw beside the first answer, `accepted` are those that it found better.
-- `seconds` is the sum of the calls' latencies, which overlap.
WITH gate AS (
    SELECT run_id, step, id AS work, state, reason, 0 AS calls,
        0 AS tokens_in, 0 AS tokens_out, 0.0 AS latency_s, created_at
    FROM (SELECT run_id, step, id, state, reason, created_at FROM candidates UNION ALL BY NAME FROM agreements)
),
judged AS (
    SELECT run_id, step, work_key AS work, state, reason, 1 AS calls,
        tokens_in, tokens_out, latency_s, created_at
    FROM attempts
    UNION ALL BY NAME
    FROM gate
),
reasons AS (
    -- Texts that differ only in their numbers, as for prompts too long, are one reason.
    SELECT run_id, step, if(min(reason) = max(reason), min(reason), kind) AS reason, count(*) AS times
    FROM (SELECT *, regexp_replace(reason, '[0-9]+', '…', 'g') AS kind FROM judged WHERE state <> 'accepted')
    GROUP BY run_id, step, kind
    QUALIFY row_number() OVER (PARTITION BY run_id, step ORDER BY times DESC, kind) = 1
)
SELECT
    j.run_id, j.step,
    count(DISTINCT j.work) AS rows_in,
    sum(j.calls)::BIGINT AS attempts,
    count(*) FILTER (j.state = 'accepted') AS accepted,
    count(*) FILTER (j.state = 'rejected') AS rejected,
    count(*) FILTER (j.state = 'unparsed') AS unparsed,
    count(*) FILTER (j.state = 'failed') AS failed,
    any_value(t.reason) AS top_reason,
    coalesce(any_value(t.times), 0) AS top_reason_count,
    coalesce(sum(j.tokens_in), 0)::BIGINT AS tokens_in,
    coalesce(sum(j.tokens_out), 0)::BIGINT AS tokens_out,
    coalesce(sum(j.latency_s), 0) AS seconds,
    min(j.created_at) AS started_at
FROM judged j
LEFT JOIN reasons t ON t.run_id = j.run_id AND t.step = j.step
GROUP BY j.run_id, j.step
ORDER BY started_at, j.step

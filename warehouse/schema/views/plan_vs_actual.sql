-- Each plan's estimates with their intervals, next to what refreshes of the same configuration used since, by step.
--
-- One row a plan, step and figure: calls, tokens_in, tokens_out, minutes, money. A refresh belongs to the newest plan
-- of its configuration made before it. If none ran yet, `actual` is null. A run's minutes are those from
-- the first request sent to the last one answered; a step's are its share of them, by its requests' seconds.
WITH plan AS (
    SELECT id AS plan_id, config_hash, max(snapshot_id) AS since
    FROM plans
    GROUP BY ALL
),
run AS (
    SELECT id AS run_id, config_hash, min(snapshot_id) AS begun
    FROM runs
    WHERE flow = 'refresh'
    GROUP BY ALL
),
meant AS (
    SELECT run.run_id, plan.plan_id
    FROM run
    ASOF JOIN plan ON run.config_hash = plan.config_hash AND run.begun > plan.since
),
sent AS (
    SELECT
        m.plan_id, m.run_id, a.step, a.tokens_in, a.tokens_out, coalesce(a.tokens_cached, 0) AS tokens_cached,
        coalesce(a.latency_s, 0) AS seconds, a.created_at,
        a.created_at - to_microseconds((1e6 * coalesce(a.latency_s, 0))::BIGINT) AS sent_at
    FROM attempts a
    JOIN meant m ON m.run_id = a.run_id
    WHERE a.replayed_from IS NULL
),
walls AS (
    SELECT
        run_id, date_diff('microsecond', min(sent_at), max(created_at)) / 6e7 AS minutes,
        sum(seconds) AS seconds
    FROM sent
    GROUP BY run_id
),
priced AS (
    SELECT
        s.plan_id, s.step, s.tokens_in, s.tokens_out, w.minutes * s.seconds / nullif(w.seconds, 0) AS minutes,
        ((s.tokens_in - s.tokens_cached) * p.price_in + s.tokens_cached * coalesce(p.price_cached, p.price_in)
            + s.tokens_out * p.price_out) / 1e6 AS money
    FROM sent s
    JOIN walls w ON w.run_id = s.run_id
    LEFT JOIN plans p ON p.id = s.plan_id AND p.step = s.step
),
took AS (
    SELECT
        plan_id, coalesce(step, 'total') AS step, count(*) AS calls, sum(tokens_in) AS tokens_in,
        sum(tokens_out) AS tokens_out, sum(minutes) AS minutes, sum(money) AS money
    FROM priced
    GROUP BY GROUPING SETS ((plan_id, step), (plan_id))
),
figures AS (
    SELECT
        p.id, p.config_hash, p.preset, p.step, p.created_at, p.snapshot_id,
        p.id IN (SELECT plan_id FROM meant) AS ran,
        unnest([
            {place: 1, figure: 'calls', estimated: p.calls::DOUBLE, low: p.calls_low::DOUBLE,
             high: p.calls_high::DOUBLE, spent: t.calls::DOUBLE},
            {place: 2, figure: 'tokens_in', estimated: p.tokens_in::DOUBLE, low: p.tokens_in_low::DOUBLE,
             high: p.tokens_in_high::DOUBLE, spent: t.tokens_in::DOUBLE},
            {place: 3, figure: 'tokens_out', estimated: p.tokens_out::DOUBLE, low: p.tokens_out_low::DOUBLE,
             high: p.tokens_out_high::DOUBLE, spent: t.tokens_out::DOUBLE},
            {place: 4, figure: 'minutes', estimated: p.minutes, low: p.minutes_low,
             high: p.minutes_high, spent: t.minutes},
            {place: 5, figure: 'money', estimated: p.money, low: p.money_low,
             high: p.money_high, spent: t.money}
        ], recursive := true)
    FROM plans p
    LEFT JOIN took t ON t.plan_id = p.id AND t.step = p.step
)
SELECT
    id AS plan_id, config_hash, preset, step, figure, estimated, low, high,
    CASE WHEN ran THEN coalesce(spent, 0) END AS actual,
    actual / nullif(estimated, 0) AS ratio,
    actual BETWEEN low AND high AS within,
    created_at
FROM figures
WHERE estimated IS NOT NULL
ORDER BY snapshot_id DESC, (step = 'total'), step, place

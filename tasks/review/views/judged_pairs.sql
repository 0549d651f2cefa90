-- Judges' outcomes on pairs of answers, one row a pair, judge and dimension: `p` that a is better, and in each order.
--
-- `source` says where: 'comparison' under a principle (which is the `dimension`), or 'verdict' on two models' held-out
-- answers, where a win is 1, a tie a half and a loss 0. `winner` is a, b or tie: of a verdict it takes both orders, and
-- they must agree. Of a pair that was judged again, for example with another prompt, the newest in each order counts.
WITH said AS (
    SELECT
        'comparison' AS source, c.a_id, c.b_id, c.principle_id AS dimension, c.instruction_id, NULL AS prompt_id,
        c.first, c.p_a AS p, a.model AS judge, c.id, c.created_at, c.snapshot_id
    FROM comparisons c
    JOIN attempts a ON a.id = c.attempt_id
    UNION ALL
    SELECT
        'verdict', v.a_id, v.b_id, v.dimension, NULL, v.prompt_id, v.first,
        CASE v.winner WHEN 'a' THEN 1.0 WHEN 'b' THEN 0.0 ELSE 0.5 END, a.model, v.id, v.created_at, v.snapshot_id
    FROM verdicts v
    JOIN attempts a ON a.id = v.attempt_id
),
newest AS (
    FROM said
    QUALIFY row_number() OVER (
        PARTITION BY source, a_id, b_id, dimension, judge, first ORDER BY snapshot_id DESC, created_at DESC, id
    ) = 1
)
SELECT
    source, a_id, b_id, dimension, judge, any_value(instruction_id) AS instruction_id,
    any_value(prompt_id) AS prompt_id, avg(p) AS p,
    avg(p) FILTER (first = 'a') AS p_a_first, avg(p) FILTER (first = 'b') AS p_b_first,
    CASE
        WHEN source = 'verdict' AND (p_a_first IS NULL OR p_b_first IS NULL) THEN NULL
        WHEN avg(p) = 0.5 OR (source = 'verdict' AND p_a_first <> p_b_first) THEN 'tie'
        WHEN avg(p) > 0.5 THEN 'a'
        ELSE 'b'
    END AS winner
FROM newest
GROUP BY source, a_id, b_id, dimension, judge

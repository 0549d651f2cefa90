-- What judges said of pairs of answers, one row a pair, judge and dimension: `p` that a is better, and in each order.
--
-- `source` says where: 'comparison' under a principle (`dimension` is the principle; of several of its drawings the mean)
-- or 'verdict' on two models' held-out answers, where a win is 1, a tie a half and a loss 0. `winner` is a, b or tie: of
-- a verdict it takes both orders, and they must agree.
WITH said AS (
    SELECT
        'comparison' AS source, c.a_id, c.b_id, c.principle_id AS dimension, c.instruction_id, NULL AS prompt_id,
        c.first, c.p_a AS p, a.model AS judge
    FROM comparisons c
    JOIN attempts a ON a.id = c.attempt_id
    UNION ALL
    SELECT
        'verdict', v.a_id, v.b_id, v.dimension, NULL, v.prompt_id, v.first,
        CASE v.winner WHEN 'a' THEN 1.0 WHEN 'b' THEN 0.0 ELSE 0.5 END, a.model
    FROM verdicts v
    JOIN attempts a ON a.id = v.attempt_id
)
SELECT
    source, a_id, b_id, dimension, judge, any_value(instruction_id) AS instruction_id,
    any_value(prompt_id) AS prompt_id, avg(p) AS p,
    avg(p) FILTER (first = 'a') AS p_a_first, avg(p) FILTER (first = 'b') AS p_b_first,
    CASE
        WHEN source = 'verdict' AND (p_a_first IS NULL OR p_b_first IS NULL) THEN NULL
        WHEN source = 'verdict' THEN CASE WHEN p_a_first <> p_b_first OR avg(p) = 0.5 THEN 'tie' WHEN avg(p) > 0.5 THEN 'a' ELSE 'b' END
        ELSE CASE WHEN avg(p) > 0.5 THEN 'a' WHEN avg(p) < 0.5 THEN 'b' ELSE 'tie' END
    END AS winner
FROM said
GROUP BY source, a_id, b_id, dimension, judge

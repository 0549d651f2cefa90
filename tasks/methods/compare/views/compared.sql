-- Pairs of answers that were compared under a principle: what each order said, their mean, and whether they agree.
--
-- `p_a` is the probability that a is better, the mean of the orders that were asked; `consistent` is null where that is
-- one. Of a pair that was compared again, under another principle or prompt, the newest counts.
WITH orders AS (
    SELECT
        id, instruction_id, a_id, b_id, first, principle_id, principle_hash, p_a, thought_id IS NOT NULL AS thought_first,
        attempt_id, run_id, created_at, snapshot_id
    FROM comparisons
    QUALIFY row_number() OVER (
        PARTITION BY instruction_id, a_id, b_id, principle_id, principle_hash, thought_first, first
        ORDER BY snapshot_id DESC, created_at DESC, id
    ) = 1
)
SELECT
    min(id) AS id, instruction_id, a_id, b_id, principle_id, principle_hash, thought_first, avg(p_a) AS p_a,
    any_value(p_a) FILTER (first = 'a') AS p_a_first,
    any_value(p_a) FILTER (first = 'b') AS p_a_second,
    (p_a_first > 0.5) = (p_a_second > 0.5) AS consistent,
    arg_min(attempt_id, id) AS attempt_id, arg_min(run_id, id) AS run_id,
    max(created_at) AS created_at, max(snapshot_id) AS snapshot_id
FROM orders
GROUP BY instruction_id, a_id, b_id, principle_id, principle_hash, thought_first
QUALIFY row_number() OVER (
    PARTITION BY instruction_id, a_id, b_id ORDER BY max(snapshot_id) DESC, max(created_at) DESC, min(id)
) = 1

-- The score of each sample by each scorer: the mean of its newest values over the aspects (`score`, on `scale`).
--
-- For each model and number the newest sample is kept, whatever drew the older ones; likewise for first answers
-- (`model` is then base), principled answers, revisions and a stack's corrections, with the number 0. `aspects` counts
-- the values: answers are ranked only against those with as many.
WITH answers AS (
    SELECT id, instruction_id, model, number, text, snapshot_id, created_at FROM samples
    UNION ALL
    SELECT id, instruction_id, kind, 0, text, snapshot_id, created_at FROM responses
    WHERE kind IN ('base', 'principled') AND complete IS NOT FALSE
    UNION ALL
    SELECT id, instruction_id, 'revision', 0, text, snapshot_id, created_at FROM revisions
    SEMI JOIN sample_scores ON sample_scores.sample_id = revisions.id
    UNION ALL
    SELECT id, instruction_id, 'correction', 0, text, snapshot_id, created_at FROM corrections
    SEMI JOIN sample_scores ON sample_scores.sample_id = corrections.id
),
drawn AS (
    SELECT * FROM answers
    QUALIFY row_number() OVER (
        PARTITION BY instruction_id, model, number ORDER BY snapshot_id DESC, created_at DESC, id
    ) = 1
),
newest AS (
    SELECT *, snapshot_id FROM sample_scores
    QUALIFY row_number() OVER (
        PARTITION BY sample_id, scorer, aspect ORDER BY snapshot_id DESC, created_at DESC, id
    ) = 1
)
SELECT
    min(n.id) AS id, d.instruction_id, d.id AS sample_id, d.model, d.number, n.scorer, avg(n.value) AS score,
    count(*) AS aspects, any_value(n.scale) AS scale, d.text,
    arg_min(n.attempt_id, n.id) AS attempt_id, arg_min(n.run_id, n.id) AS run_id,
    max(n.created_at) AS created_at, max(n.snapshot_id) AS snapshot_id
FROM newest n
JOIN drawn d ON d.id = n.sample_id
GROUP BY d.instruction_id, d.id, d.model, d.number, n.scorer, d.text

-- The model's own preferences: `prompt`, `chosen` and `rejected`, as messages, and `p`, how sure that choice is.
--
-- `p` is the probability that the chosen answer is the better one (above 0.5, to 1): the soft label of a reward model.
-- Two equal answers are not a pair. The prompts are the half that `sft` leaves. Pairs that a user provided
-- (principle 'given') are all here, and none of their prompts is in `sft`.
WITH texts AS (
    SELECT id, text FROM responses
    UNION ALL
    SELECT id, text FROM revisions
),
pairs AS (
    SELECT
        c.*, i.text AS prompt, i.topic, c.p_a > 0.5 AS is_a,
        CASE WHEN is_a THEN a.text ELSE b.text END AS better, CASE WHEN is_a THEN b.text ELSE a.text END AS worse
    FROM compared c
    JOIN instructions i ON i.id = c.instruction_id
    JOIN texts a ON a.id = c.a_id
    JOIN texts b ON b.id = c.b_id
    WHERE c.p_a <> 0.5 AND a.text <> b.text AND (c.principle_id = 'given' OR md5_number_lower(i.text) % 2 = 1)
)
SELECT
    [{'role': 'user', 'content': prompt}] AS prompt,
    [{'role': 'assistant', 'content': better}] AS chosen,
    [{'role': 'assistant', 'content': worse}] AS rejected,
    greatest(p_a, 1 - p_a) AS p,
    id, CASE WHEN is_a THEN a_id ELSE b_id END AS chosen_id, CASE WHEN is_a THEN b_id ELSE a_id END AS rejected_id,
    consistent, principle_id, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM pairs

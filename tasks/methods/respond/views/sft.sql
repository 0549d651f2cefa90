-- Supervised fine-tuning: `messages` of one instruction and the answer to learn.
--
-- Answers are principled answers (source 'principled', thought pruned) and final revisions that differ
-- from the first answer (source 'revision'); truncated answers are left out. For each prompt and source only the
-- newest is kept, whatever wrote the older ones: another model, prompt or sampling.
--
-- A prompt is in `sft` or in `preferences`, never in both: a hash of its text decides, one half each, so
-- the split is stable, and equal texts under two instruction ids are on the same side. A prompt with a pair that
-- a user provided is in `preferences`.
WITH answers AS (
    SELECT
        r.id, 'principled' AS source, i.text AS prompt, r.text AS answer, r.instruction_id, i.topic,
        r.attempt_id, r.run_id, r.created_at, r.snapshot_id
    FROM responses r
    JOIN instructions i ON i.id = r.instruction_id
    WHERE r.kind = 'principled' AND r.complete IS NOT FALSE
    UNION ALL BY NAME
    SELECT
        id, 'revision' AS source, prompt, final_text AS answer, instruction_id, topic,
        attempt_id, run_id, created_at, snapshot_id
    FROM revised
)
SELECT
    [{'role': 'user', 'content': prompt}, {'role': 'assistant', 'content': answer}] AS messages,
    id, source, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM answers
ANTI JOIN (
    SELECT i.text AS prompt FROM comparisons c JOIN instructions i ON i.id = c.instruction_id
    WHERE c.principle_id = 'given'
) USING (prompt)
WHERE md5_number_lower(prompt) % 2 = 0
QUALIFY row_number() OVER (PARTITION BY prompt, source ORDER BY snapshot_id DESC, created_at DESC, id) = 1

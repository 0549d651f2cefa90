-- Constitutional AI, supervised: `messages` of revisions of all rounds (source 'revision'), mixed with helpful answers.
--
-- A hash of its text decides what a prompt gives. 425 of 1,000 give a helpful answer: the principled one (source
-- 'principled') or, where there is none, a first answer that no round changed (source 'base'). The others give their
-- revisions: of each round the newest, each text once. The paper has 135,296 helpful prompts beside 182,831 harmful
-- ones, which is .425 of all. The prompts are the half that `sft` has.
WITH prompts AS (
    SELECT id, text AS prompt, topic, md5_number_lower(text) // 2 % 1000 < 425 AS is_helpful
    FROM instructions
    WHERE md5_number_lower(text) % 2 = 0
),
rounds AS (
    SELECT
        v.id, 'revision' AS source, p.prompt, v.text AS answer, v.round, v.instruction_id, p.topic,
        v.attempt_id, v.run_id, v.created_at, v.snapshot_id
    FROM revisions v
    JOIN prompts p ON p.id = v.instruction_id
    WHERE NOT p.is_helpful
    QUALIFY row_number() OVER (PARTITION BY p.prompt, v.round ORDER BY v.snapshot_id DESC, v.created_at DESC, v.id) = 1
),
helpful AS (
    SELECT
        r.id, r.kind AS source, p.prompt, r.text AS answer, NULL::INTEGER AS round, r.instruction_id, p.topic,
        r.attempt_id, r.run_id, r.created_at, r.snapshot_id
    FROM responses r
    JOIN prompts p ON p.id = r.instruction_id
    LEFT JOIN (SELECT response_id, bool_or(changed) AS changed FROM revisions GROUP BY response_id) v
        ON v.response_id = r.id
    WHERE p.is_helpful AND r.complete IS NOT FALSE AND (r.kind = 'principled' OR (r.kind = 'base' AND NOT v.changed))
    QUALIFY row_number() OVER (
        PARTITION BY p.prompt ORDER BY r.kind DESC, r.snapshot_id DESC, r.created_at DESC, r.id
    ) = 1
)
SELECT
    [{'role': 'user', 'content': prompt}, {'role': 'assistant', 'content': answer}] AS messages,
    id, source, round, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM (FROM rounds UNION ALL FROM helpful)
QUALIFY row_number() OVER (PARTITION BY prompt, answer ORDER BY round, id) = 1

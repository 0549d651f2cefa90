-- Preferences: `prompt`, `chosen` and `rejected`, as messages: a final revision and the first answer, or a given pair.
--
-- Only where the two differ, and no judge of `compare` said that the first answer was the better one. Of revisions once a prompt, the newest; their prompts are the half that `sft` leaves.
-- Pairs that a user brought (principle 'given') are all here, and none of their prompts is in `sft`.
WITH pairs AS (
    SELECT
        v.prompt AS question, final_text AS better, first_text AS worse, NULL AS given,
        id, id AS chosen_id, response_id AS rejected_id, response_id, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
    FROM revised v
    ANTI JOIN (SELECT b_id FROM compared WHERE p_a > 0.5) judged ON judged.b_id = v.id
    WHERE md5_number_lower(v.prompt) % 2 = 1
    UNION ALL BY NAME
    SELECT
        i.text AS question, a.text AS better, b.text AS worse, [better, worse] AS given,
        c.id, c.a_id AS chosen_id, c.b_id AS rejected_id, c.a_id AS response_id, c.instruction_id, i.topic, c.attempt_id, c.run_id, c.created_at, c.snapshot_id
    FROM comparisons c
    JOIN instructions i ON i.id = c.instruction_id
    JOIN responses a ON a.id = c.a_id
    JOIN responses b ON b.id = c.b_id
    WHERE c.principle_id = 'given'
)
SELECT
    [{'role': 'user', 'content': question}] AS prompt,
    [{'role': 'assistant', 'content': better}] AS chosen,
    [{'role': 'assistant', 'content': worse}] AS rejected,
    id, chosen_id, rejected_id, response_id, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM pairs
QUALIFY row_number() OVER (PARTITION BY question, given ORDER BY snapshot_id DESC, created_at DESC, id) = 1

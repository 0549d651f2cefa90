-- Preferences: `prompt`, `chosen` (the final revision) and `rejected` (the first answer), as messages.
--
-- Only where the two differ, and once a prompt: the newest. The prompts are the half that `sft` leaves.
SELECT
    [{'role': 'user', 'content': prompt}] AS prompt,
    [{'role': 'assistant', 'content': final_text}] AS chosen,
    [{'role': 'assistant', 'content': first_text}] AS rejected,
    id, response_id, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM revised v
WHERE md5_number_lower(v.prompt) % 2 = 1
QUALIFY row_number() OVER (PARTITION BY v.prompt ORDER BY snapshot_id DESC, created_at DESC, id) = 1

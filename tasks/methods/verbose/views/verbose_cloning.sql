-- Verbose cloning: `messages` of one instruction and the long answer to learn, without the words that asked for length.
--
-- Only answers that reached their end, and of each prompt the newest. The prompts are the half that `sft` has.
SELECT
    [{'role': 'user', 'content': i.text}, {'role': 'assistant', 'content': r.text}] AS messages,
    r.id, r.instruction_id, i.topic, r.attempt_id, r.run_id, r.created_at, r.snapshot_id
FROM responses r
JOIN instructions i ON i.id = r.instruction_id
WHERE r.kind = 'verbose' AND r.complete IS NOT FALSE AND md5_number_lower(i.text) % 2 = 0
QUALIFY row_number() OVER (PARTITION BY i.text ORDER BY r.snapshot_id DESC, r.created_at DESC, r.id) = 1

-- Supervised fine-tuning on base answers: `messages` of one instruction and what the model answered it.
--
-- Of each prompt the newest answer; truncated answers are left out. Published where no other method of the preset has
-- training data of its own, as with Magpie alone.
SELECT
    [{'role': 'user', 'content': i.text}, {'role': 'assistant', 'content': r.text}] AS messages,
    r.id, i.origin, r.instruction_id, i.topic, r.attempt_id, r.run_id, r.created_at, r.snapshot_id
FROM responses r
JOIN instructions i ON i.id = r.instruction_id
WHERE r.kind = 'base' AND r.complete IS NOT FALSE
QUALIFY row_number() OVER (PARTITION BY i.text ORDER BY r.snapshot_id DESC, r.created_at DESC, r.id) = 1

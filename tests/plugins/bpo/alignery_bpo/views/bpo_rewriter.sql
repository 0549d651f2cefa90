-- What BPO teaches a model that rewrites: `messages` of an instruction and its rewrite, where the two differ.
--
-- Of each instruction's text the newest rewrite.
SELECT
    [{'role': 'user', 'content': i.text}, {'role': 'assistant', 'content': r.text}] AS messages,
    r.id, r.instruction_id, i.topic, r.attempt_id, r.run_id, r.created_at, r.snapshot_id
FROM rewrites r
JOIN instructions i ON i.id = r.instruction_id
WHERE r.changed
QUALIFY row_number() OVER (PARTITION BY i.text ORDER BY r.snapshot_id DESC, r.created_at DESC, r.id) = 1

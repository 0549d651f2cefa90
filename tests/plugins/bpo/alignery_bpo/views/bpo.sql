-- What BPO teaches a model that answers: `messages` of an instruction and the answer that its rewrite had.
--
-- Of each instruction's text the newest answer.
SELECT
    [{'role': 'user', 'content': i.text}, {'role': 'assistant', 'content': a.text}] AS messages,
    a.id, a.instruction_id, a.rewrite_id, i.topic, a.attempt_id, a.run_id, a.created_at, a.snapshot_id
FROM rewrite_answers a
JOIN instructions i ON i.id = a.instruction_id
QUALIFY row_number() OVER (PARTITION BY i.text ORDER BY a.snapshot_id DESC, a.created_at DESC, a.id) = 1

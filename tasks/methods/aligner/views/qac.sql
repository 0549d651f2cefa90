-- Question, answer, correction: what an Aligner learns from.
--
-- Copies (`is_copy`) stay, because an Aligner must learn to leave a good answer unchanged. Of several corrections
-- of the same answer to the same question, the newest is kept. `upstream` is the alias of the model that wrote the
-- answer, null for the generator. What the members of a squad wrote is not here: they correct corrections.
SELECT
    i.text AS question, r.text AS answer, c.text AS correction, c.is_copy,
    c.id, c.response_id, c.instruction_id, i.topic, c.template_id, r.upstream, c.attempt_id, c.run_id, c.created_at, c.snapshot_id
FROM corrections c
JOIN responses r ON r.id = c.response_id
JOIN instructions i ON i.id = c.instruction_id
WHERE c.aligner IS NULL
QUALIFY row_number() OVER (PARTITION BY i.text, r.text ORDER BY c.snapshot_id DESC, c.created_at DESC, c.id) = 1

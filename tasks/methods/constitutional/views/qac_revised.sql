-- Question, answer, correction, where the constitution corrects: each answer of a chain of revisions, and the chain's end.
--
-- The first answer and the revisions between are corrected to the newest revision, which is its own copy (`is_copy`):
-- an Aligner must learn to leave a good answer alone. `id` is the answer's, `correction_id` the newest revision's.
-- No template asked for these corrections: `template_id` is null. Of an answer that several chains have to one
-- question, the newest is kept.
WITH ends AS (
    SELECT v.*, v.snapshot_id, i.text AS question, i.topic
    FROM revisions v
    JOIN instructions i ON i.id = v.instruction_id
    QUALIFY row_number() OVER (PARTITION BY v.response_id, i.text ORDER BY v.snapshot_id DESC, v.created_at DESC, v.round DESC, v.id) = 1
),
answers AS (
    SELECT id, id AS response_id, text FROM responses
    UNION ALL
    SELECT id, response_id, text FROM revisions
)
SELECT
    e.question, a.text AS answer, e.text AS correction, a.text = e.text AS is_copy,
    a.id, e.id AS correction_id, e.response_id, e.instruction_id, e.topic, NULL::VARCHAR AS template_id,
    e.attempt_id, e.run_id, e.created_at, e.snapshot_id
FROM ends e
JOIN answers a USING (response_id)
QUALIFY row_number() OVER (PARTITION BY e.question, a.text ORDER BY e.snapshot_id DESC, e.created_at DESC, a.id) = 1

-- Answers, revisions and corrections as people edited them: the question, the original, and the newest edit of it.
--
-- `side` is the half that the prompt is in, sft or preferences, as those views split them. `id` is the mark that holds
-- the edit, `author` who made it. What a person flagged is left out, and so is an edit that restores the original.
WITH texts AS (
    SELECT id, text FROM responses
    UNION ALL
    SELECT id, text FROM revisions
    UNION ALL
    SELECT id, text FROM corrections
),
given AS (
    SELECT DISTINCT i.text AS question
    FROM comparisons c
    JOIN instructions i ON i.id = c.instruction_id
    WHERE c.principle_id = 'given'
)
SELECT
    i.text AS question, t.text AS original, r.edit AS edited, r.editor AS author, r.names AS reviewed_by,
    CASE WHEN md5_number_lower(i.text) % 2 = 0 AND g.question IS NULL THEN 'sft' ELSE 'preferences' END AS side,
    r.edit_id AS id, r.target_id, r.target_table, r.instruction_id, i.topic, r.created_at, r.snapshot_id
FROM reviews r
JOIN texts t ON t.id = r.target_id
JOIN instructions i ON i.id = r.instruction_id
LEFT JOIN given g ON g.question = i.text
WHERE r.other_id IS NULL AND r.flags = 0 AND r.edit <> t.text
QUALIFY row_number() OVER (PARTITION BY i.text, t.text ORDER BY r.created_at DESC, r.edit_id) = 1

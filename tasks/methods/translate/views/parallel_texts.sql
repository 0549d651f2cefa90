-- Texts with their translations: instructions, and the answers that were translated. Of each text and language the
-- newest.
SELECT
    source, text AS translation, language, if(answer_id IS NULL, 'instruction', 'answer') AS kind, id, instruction_id,
    attempt_id, run_id, created_at, snapshot_id
FROM translations
WHERE source IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY source, language ORDER BY snapshot_id DESC, created_at DESC, id) = 1

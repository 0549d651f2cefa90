-- Who came from whom: one row for each record and parent, with what wrote the record.
--
-- A record without parents has one row whose `parent_id` is null.
WITH records AS (
    SELECT 'instructions' AS record_table, id, parents, attempt_id, run_id, created_at FROM instructions
    UNION ALL SELECT 'topics', id, parents, attempt_id, run_id, created_at FROM topics
    UNION ALL SELECT 'classifications', id, parents, attempt_id, run_id, created_at FROM classifications
    UNION ALL SELECT 'instances', id, parents, attempt_id, run_id, created_at FROM instances
    UNION ALL SELECT 'responses', id, parents, attempt_id, run_id, created_at FROM responses
    UNION ALL SELECT 'critiques', id, parents, attempt_id, run_id, created_at FROM critiques
    UNION ALL SELECT 'revisions', id, parents, attempt_id, run_id, created_at FROM revisions
    UNION ALL SELECT 'corrections', id, parents, attempt_id, run_id, created_at FROM corrections
    UNION ALL SELECT 'comparisons', id, parents, attempt_id, run_id, created_at FROM comparisons
    UNION ALL SELECT 'thoughts', id, parents, attempt_id, run_id, created_at FROM thoughts
    UNION ALL SELECT 'inspections', id, parents, attempt_id, run_id, created_at FROM inspections
    UNION ALL SELECT 'ratings', id, parents, attempt_id, run_id, created_at FROM ratings
    UNION ALL SELECT 'verdicts', id, parents, attempt_id, run_id, created_at FROM verdicts
    UNION ALL SELECT 'eval_answers', id, parents, attempt_id, run_id, created_at FROM eval_answers
),
edges AS (
    SELECT * EXCLUDE parents, unnest(CASE WHEN len(parents) = 0 THEN [NULL] ELSE parents END) AS parent_id
    FROM records
)
SELECT
    e.record_table, e.id AS record_id, e.parent_id, a.step, a.model, a.prompt_id, a.prompt_hash, a.seed,
    e.attempt_id, e.run_id, e.created_at
FROM edges e
LEFT JOIN attempts a ON a.id = e.attempt_id

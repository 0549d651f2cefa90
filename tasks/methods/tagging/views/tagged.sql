-- Instructions with a judge's labels: difficulty, quality and category, each null where it is not known.
--
-- Of each aspect the newest label. An instruction without any is not here.
SELECT
    i.id, i.text AS instruction, i.topic, i.origin,
    max(t.value) FILTER (t.aspect = 'difficulty') AS difficulty,
    max(t.value) FILTER (t.aspect = 'quality') AS quality,
    max(t.value) FILTER (t.aspect = 'category') AS category,
    i.attempt_id, i.run_id, i.created_at, i.snapshot_id
FROM instructions i
JOIN (
    FROM instruction_tags
    QUALIFY row_number() OVER (PARTITION BY instruction_id, aspect ORDER BY snapshot_id DESC, created_at DESC, id) = 1
) t ON t.instruction_id = i.id
GROUP BY ALL

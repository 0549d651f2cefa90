-- Each person's current marks of each row or pair: the newest verdict, score, edit and note of their marks on it.
--
-- A later mark keeps the fields that it does not set; the verdict 'clear' withdraws all earlier marks. The newest is
-- determined by when marks were made, because some come from files of other tools. `id` is the newest mark's and
-- `edit_id` that of the mark with the edited text.
WITH placed AS (
    SELECT
        *, snapshot_id, row_number() OVER (PARTITION BY work_key ORDER BY created_at, snapshot_id, id) AS place
    FROM marks
),
with_clear AS (
    SELECT *, max(place) FILTER (verdict = 'clear') OVER (PARTITION BY work_key) AS cleared
    FROM placed
)
SELECT
    any_value(target_id) AS target_id, any_value(other_id) AS other_id, any_value(target_table) AS target_table,
    any_value(dimension) AS dimension, any_value(instruction_id) AS instruction_id, any_value(marked_by) AS marked_by,
    arg_max(verdict, place) FILTER (verdict IS NOT NULL) AS verdict,
    arg_max(score, place) FILTER (score IS NOT NULL) AS score,
    arg_max(text, place) FILTER (text IS NOT NULL) AS text,
    arg_max(note, place) FILTER (note IS NOT NULL) AS note,
    arg_max(shown_left, place) FILTER (verdict IS NOT NULL) AS shown_left,
    arg_max(id, place) AS id, arg_max(id, place) FILTER (text IS NOT NULL) AS edit_id,
    work_key, count(*) AS marks, max(created_at) AS created_at, max(snapshot_id) AS snapshot_id
FROM with_clear
WHERE place > coalesce(cleared, 0)
GROUP BY work_key

-- All people's marks of each row or pair together: verdicts by kind, the mean score, and the newest edit.
--
-- Of a pair `target_id` is the one whose id comes first, and `firsts` the verdicts for it. `editor` is who made the
-- edit, `edit_id` the mark that holds it.
SELECT
    target_id, other_id, any_value(target_table) AS target_table, any_value(instruction_id) AS instruction_id,
    count(DISTINCT marked_by) AS people, list(DISTINCT marked_by ORDER BY marked_by) AS names,
    count(*) FILTER (verdict = 'right') AS rights, count(*) FILTER (verdict = 'wrong') AS wrongs,
    count(*) FILTER (verdict = 'flag') AS flags,
    count(*) FILTER (verdict = 'first') AS firsts, count(*) FILTER (verdict = 'second') AS seconds,
    count(*) FILTER (verdict = 'tie') AS ties, avg(score) AS score,
    arg_max(text, (created_at, id)) FILTER (text IS NOT NULL) AS edit,
    arg_max(edit_id, (created_at, id)) FILTER (text IS NOT NULL) AS edit_id,
    arg_max(marked_by, (created_at, id)) FILTER (text IS NOT NULL) AS editor,
    max(created_at) AS created_at, max(snapshot_id) AS snapshot_id
FROM current_marks
GROUP BY target_id, other_id

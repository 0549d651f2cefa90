-- Each answer's newest rating on each dimension, and whether AlpaGasus would keep it: `score` 4.5 or more (0 to 5).
--
-- `target_id` is the answer or revision that was rated. Replies without a score are not ratings: the view `rejects` has
-- them, and `funnel` counts them as unparsed.
SELECT
    target_id, dimension, score, score >= 4.5 AS kept, reason,
    id, response_id, instruction_id, attempt_id, run_id, created_at, snapshot_id
FROM ratings
WHERE dimension IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY target_id, dimension ORDER BY snapshot_id DESC, created_at DESC, id) = 1

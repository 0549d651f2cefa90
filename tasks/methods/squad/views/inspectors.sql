-- The scores of each inspector of a squad: the mean over first answers, and over the final ones.
--
-- `answers` counts the answers scored, `below` those under 0.5, `mended` those of these that reached 0.5. The
-- lowest mean comes first: that is the order in which a squad applies its aligners (Ngweta et al., arXiv 2403.04224).
WITH answers AS (
    SELECT
        inspector, response_id,
        arg_max(score, (snapshot_id, created_at, id)) FILTER (target_id = response_id) AS before,
        arg_max(score, (snapshot_id, created_at, id)) AS after
    FROM inspections
    GROUP BY inspector, response_id
)
SELECT
    inspector, count(*) AS answers, avg(before) AS mean_before, avg(after) AS mean_after,
    count(*) FILTER (before < 0.5) AS below, count(*) FILTER (before < 0.5 AND after >= 0.5) AS mended
FROM answers
GROUP BY inspector
ORDER BY mean_before, inspector

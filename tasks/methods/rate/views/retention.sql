-- What a rating of 4.5 or more leaves of each topic: answers rated, those kept, their share (0 to 1), the mean score.
--
-- A filter that empties a topic shows here; AlpaGasus lost much of its code this way.
SELECT
    r.dimension, i.topic, count(*) AS rated, count(*) FILTER (r.kept) AS kept,
    count(*) FILTER (r.kept) / count(*) AS share_kept,
    avg(r.score) AS mean_score
FROM rated r
JOIN instructions i ON i.id = r.instruction_id
GROUP BY r.dimension, i.topic
ORDER BY r.dimension, share_kept, i.topic

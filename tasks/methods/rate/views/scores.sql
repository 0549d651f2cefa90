-- How often each score was given, by dimension: the histogram of the ratings, every half point from 0 to 5.
--
-- `share` (0 to 1) is that of the dimension's ratings; `at_least` is the share of this score and those above it, which
-- is what a threshold there would keep.
WITH given AS (
    SELECT dimension, score, count(*) AS answers
    FROM rated
    GROUP BY dimension, score
),
grid AS (
    SELECT DISTINCT dimension, half / 2.0 AS score
    FROM given, range(11) halves(half)
)
SELECT
    dimension, grid.score, coalesce(answers, 0) AS answers,
    coalesce(answers, 0) / sum(answers) OVER (PARTITION BY dimension) AS share,
    coalesce(sum(answers) OVER (PARTITION BY dimension ORDER BY grid.score DESC), 0)
        / sum(answers) OVER (PARTITION BY dimension) AS at_least
FROM grid
LEFT JOIN given USING (dimension, score)
ORDER BY dimension, grid.score

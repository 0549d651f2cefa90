-- The scores of each model's samples, before and after the best one is taken, and how varied the samples are.
--
-- One row for each model (`policy` is its identity: a round of RAFT has its own) and scorer. `mean_score` is over all its
-- samples, `best_score` over the best one of each instruction, `worst_score` over the worst. `distinct_2` (0 to 1) is
-- the share of two-word sequences that occur for the first time: it drops when answers become alike.
WITH newest AS (
    SELECT * FROM sample_scores
    QUALIFY row_number() OVER (
        PARTITION BY sample_id, scorer, aspect ORDER BY snapshot_id DESC, created_at DESC, id
    ) = 1
),
marked AS (
    SELECT a.model AS policy, n.scorer, s.instruction_id, s.id, s.text, avg(n.value) AS score
    FROM newest n
    JOIN samples s ON s.id = n.sample_id
    JOIN attempts a ON a.id = s.attempt_id
    GROUP BY ALL
),
by_prompt AS (
    SELECT
        policy, scorer, instruction_id, count(*) AS samples, sum(score) AS total, max(score) AS best, min(score) AS worst
    FROM marked
    GROUP BY ALL
),
words AS (
    SELECT policy, scorer, string_split(lower(trim(text)), ' ') AS said FROM marked
),
sequences AS (
    SELECT policy, scorer, unnest(list_transform(range(1, len(said)), lambda n: said[n] || ' ' || said[n + 1])) AS two
    FROM words
),
variety AS (
    SELECT policy, scorer, count(DISTINCT two) / count(*) AS distinct_2 FROM sequences GROUP BY ALL
)
SELECT
    policy, scorer, count(*) AS prompts, sum(samples)::BIGINT AS samples, sum(total) / sum(samples) AS mean_score,
    avg(best) AS best_score, avg(worst) AS worst_score, any_value(distinct_2) AS distinct_2
FROM by_prompt
LEFT JOIN variety USING (policy, scorer)
GROUP BY policy, scorer
ORDER BY policy, scorer

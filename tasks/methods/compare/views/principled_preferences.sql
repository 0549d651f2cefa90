-- The model's own preferences, with the principle that each was made under: what a reward model that follows
-- principles learns from.
--
-- As `soft_preferences`, without pairs that a user provided; `principle` is the criterion that the judge was shown.
WITH words AS (
    SELECT hash, any_value(source) AS principle
    FROM prompts
    GROUP BY hash
)
SELECT s.* EXCLUDE (snapshot_id), w.principle, s.snapshot_id
FROM soft_preferences s
JOIN compared c ON c.id = s.id
JOIN words w ON w.hash = c.principle_hash
WHERE s.principle_id <> 'given'

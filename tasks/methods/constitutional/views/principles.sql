-- What each principle of the constitution did: how often it was drawn, what was revised under it, what that changed.
--
-- `drawn` counts critiques and direct revisions; `changed` the revisions that differ from what they revise, and
-- `share_changed` is their share (0 to 1); `median_round` is the round of the middle one of them. `critique_request`
-- (null where there were direct revisions alone) and `revision_request` are its words as they were last used;
-- `wordings` counts those that either has had.
WITH drawn AS (
    SELECT
        principle_id, count(*) AS drawn, count(DISTINCT principle_hash) AS wordings,
        arg_max(principle_hash, snapshot_id) AS hash
    FROM (
        SELECT principle_id, principle_hash, snapshot_id FROM critiques
        UNION ALL
        SELECT principle_id, NULL, NULL FROM revisions WHERE critique_id IS NULL
    )
    GROUP BY principle_id
),
made AS (
    SELECT
        principle_id, count(*) AS revised, count(*) FILTER (changed) AS changed,
        median(round) FILTER (changed) AS median_round, count(DISTINCT principle_hash) AS wordings,
        arg_max(principle_hash, snapshot_id) AS hash
    FROM revisions
    GROUP BY principle_id
),
words AS (
    SELECT hash, any_value(source) AS source
    FROM prompts
    GROUP BY hash
)
SELECT
    d.principle_id, d.drawn, coalesce(m.revised, 0) AS revised, coalesce(m.changed, 0) AS changed,
    m.changed / m.revised AS share_changed, m.median_round, greatest(d.wordings, m.wordings) AS wordings,
    w.source AS critique_request, v.source AS revision_request
FROM drawn d
LEFT JOIN made m ON m.principle_id = d.principle_id
LEFT JOIN words w ON w.hash = d.hash
LEFT JOIN words v ON v.hash = m.hash
ORDER BY changed DESC, d.principle_id

-- How often a judge agrees with a principle: whether it prefers the revised answer, where the principle changed it.
--
-- `changed` counts the answers that the principle changed in any round; `judged` those of them of which `compare` set
-- the last revision against the first answer; `agreement` (0 to 1) is the share of these in which the revision was the
-- better one. Several principles may have changed one answer: `judged_alone` and `agreement_alone` are of those that
-- only this one changed. `compared` counts pairs that the judge compared under the principle itself, `consistent` the
-- share of those asked in both orders in which both said the same.
WITH changes AS (
    SELECT DISTINCT response_id, principle_id FROM revisions WHERE changed
),
verdicts AS (
    SELECT v.response_id, avg((c.p_a < 0.5)::INTEGER) AS agreed
    FROM compared c
    JOIN revisions v ON v.id = c.b_id AND v.response_id = c.a_id
    WHERE c.p_a <> 0.5
    GROUP BY v.response_id
),
sole AS (
    SELECT response_id FROM changes GROUP BY response_id HAVING count(*) = 1
),
agreed AS (
    SELECT
        principle_id, count(*) AS changed, count(agreed) AS judged, avg(agreed) AS agreement,
        count(agreed) FILTER (s.response_id IS NOT NULL) AS judged_alone,
        avg(agreed) FILTER (s.response_id IS NOT NULL) AS agreement_alone
    FROM changes
    LEFT JOIN verdicts USING (response_id)
    LEFT JOIN sole s USING (response_id)
    GROUP BY principle_id
),
judging AS (
    SELECT principle_id, count(*) AS compared, avg(consistent::INTEGER) AS consistent
    FROM compared
    GROUP BY principle_id
)
SELECT
    principle_id, coalesce(changed, 0) AS changed, coalesce(judged, 0) AS judged, agreement,
    coalesce(judged_alone, 0) AS judged_alone, agreement_alone, coalesce(compared, 0) AS compared, consistent
FROM agreed
FULL JOIN judging USING (principle_id)
ORDER BY agreement DESC NULLS LAST, principle_id

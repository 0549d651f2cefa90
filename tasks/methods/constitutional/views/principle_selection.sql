-- A small set of principles that does most of what all do: in the order in which each adds most to those before it.
--
-- What counts are instructions whose answer a principle changed, without those whose change a judge of `compare`
-- called the worse answer. `adds` counts those that no principle above covers, `share` (0 to 1) is what these and it
-- cover of all; `is_kept` holds for the first ones that together reach 0.9. Principles that add nothing are not here.
-- An answer meets only the principles that were drawn for it, so that with few rounds each share is at least what it
-- says.
WITH RECURSIVE useful AS (
    SELECT DISTINCT v.instruction_id, v.principle_id
    FROM revisions v
    WHERE v.changed AND v.response_id NOT IN (
        SELECT r.response_id
        FROM compared c
        JOIN revisions r ON r.id = c.b_id AND r.response_id = c.a_id
        WHERE c.p_a > 0.5
    )
),
-- A bit for each instruction, in one order.
covers AS MATERIALIZED (
    SELECT
        p.principle_id,
        string_agg(CASE WHEN u.instruction_id IS NULL THEN '0' ELSE '1' END, '' ORDER BY i.instruction_id)::BIT AS bits
    FROM (SELECT DISTINCT principle_id FROM useful) p
    CROSS JOIN (SELECT DISTINCT instruction_id FROM useful) i
    LEFT JOIN useful u ON u.principle_id = p.principle_id AND u.instruction_id = i.instruction_id
    GROUP BY p.principle_id
),
picked AS (
    SELECT 0 AS place, NULL::VARCHAR AS principle_id, 0::BIGINT AS adds, []::VARCHAR[] AS chosen, NULL::BIT AS seen
    UNION ALL
    SELECT place, principle_id, new, chosen, seen
    FROM (
        SELECT
            p.place + 1 AS place, c.principle_id, list_append(p.chosen, c.principle_id) AS chosen,
            bit_count(c.bits & ~coalesce(p.seen, xor(c.bits, c.bits)))::BIGINT AS new,
            coalesce(p.seen, c.bits) | c.bits AS seen
        FROM picked p
        JOIN covers c ON NOT list_contains(p.chosen, c.principle_id)
        QUALIFY row_number() OVER (ORDER BY new DESC, c.principle_id) = 1
    )
    WHERE new > 0
)
SELECT
    place, principle_id, adds, bit_count(seen) / bit_length(seen) AS share,
    (bit_count(seen) - adds) / bit_length(seen) < 0.9 AS is_kept
FROM picked
WHERE place > 0
ORDER BY place

-- What each template over a user's table made: prompts, how many of them have an answer, the metrics that it names.
SELECT
    i.origin, t.template, count(DISTINCT i.id) AS prompts, count(t.answer) AS answers,
    any_value(t.choices) AS choices, any_value(t.metrics) AS metrics, max(t.snapshot_id) AS snapshot_id
FROM templated t
JOIN instructions i ON i.id = t.instruction_id
GROUP BY i.origin, t.template

-- Everything that was not accepted, with its reason and its text: attempts, and candidates that a gate rejected.
--
-- `final` says whether that was the final attempt at the work; an unparsed reply whose retry was accepted has false.
-- `nearest` is the text that a candidate was too similar to.
SELECT
    step, state, reason, id, raw_text AS text, parents, id AS attempt_id, prompt_id, model, seed, final,
    NULL::DOUBLE AS similarity, NULL::VARCHAR AS nearest, run_id, created_at
FROM attempts
WHERE state <> 'accepted'
UNION ALL BY NAME
SELECT
    c.step, c.state, c.reason, c.id, c.text, c.parents, c.attempt_id, a.prompt_id, a.model,
    a.seed, true AS final, c.similarity, c.nearest, c.run_id, c.created_at
FROM candidates c
LEFT JOIN attempts a ON a.id = c.attempt_id
WHERE c.state = 'rejected'

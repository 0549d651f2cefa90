-- Everything that was not accepted, with its reason and its text: calls, and candidates that the gate turned down.
--
-- `final` says whether that settled the work; an unparsed reply that another seed mended has false. `nearest` is the
-- text that a candidate was too similar to.
SELECT
    step, state, reason, id, raw_text AS text, parents, id AS attempt_id, prompt_id, model, seed, final,
    NULL::DOUBLE AS similarity, NULL::VARCHAR AS nearest, run_id, created_at
FROM attempts
WHERE state <> 'accepted'
UNION ALL BY NAME
SELECT
    'self_instruct.gate' AS step, i.state, i.reason, i.id, i.text, i.parents, i.attempt_id, a.prompt_id, a.model,
    a.seed, true AS final, i.similarity, i.nearest, i.run_id, i.created_at
FROM instructions i
LEFT JOIN attempts a ON a.id = i.attempt_id
WHERE i.state = 'rejected'

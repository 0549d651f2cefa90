-- Chains of thought that end in the answer of the majority, each text once, with the votes that it won by.
SELECT
    v.prompt, r.text, r.final, v.votes, v.chains, v.agreement, r.id, r.instruction_id, i.topic,
    r.attempt_id, r.run_id, r.created_at, r.snapshot_id
FROM rationales r
JOIN instructions i ON i.id = r.instruction_id
JOIN votes v ON v.prompt = i.text AND v.final = r.final
WHERE v.state = 'accepted'
QUALIFY row_number() OVER (PARTITION BY v.prompt, r.text ORDER BY r.snapshot_id DESC, r.created_at DESC, r.id) = 1

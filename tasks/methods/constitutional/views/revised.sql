-- Each first answer that a revision changed, beside its newest revision.
--
-- The newest revision of an answer is the last round of its last chain: a round is asked after the one it
-- revises, and a chain under a changed principle, prompt or model comes after the old one. What is newest is
-- determined by the commits' order (`snapshot_id`), which no clock can turn back. Where the newest is the first
-- answer again, the answer has no row here. (An answer has one instruction and one prompt; that these are in the
-- window lets filters on them pass through it, and so an export of many rows be taken in parts.)
SELECT
    v.id, v.response_id, v.instruction_id, i.topic, i.text AS prompt, r.text AS first_text, v.text AS final_text,
    v.round, v.attempt_id, v.run_id, v.created_at, v.snapshot_id
FROM revisions v
JOIN responses r ON r.id = v.response_id AND r.instruction_id = v.instruction_id
JOIN instructions i ON i.id = v.instruction_id
QUALIFY row_number() OVER (PARTITION BY v.response_id, v.instruction_id, i.text ORDER BY v.snapshot_id DESC, v.created_at DESC, v.round DESC, v.id) = 1
    AND v.text <> r.text

-- The two routes side by side: an instruction in another language with the answer that was written there and the answer
-- that was translated, where it has both.
SELECT
    a.source, a.language, a.messages[1].content AS instruction, a.messages[2].content AS post_answering,
    t.messages[2].content AS post_translating, a.id AS post_answering_id, t.id AS post_translating_id,
    a.instruction_id, a.topic, a.run_id, a.created_at, a.snapshot_id
FROM post_answering a
JOIN post_translating t ON t.translation_id = a.translation_id

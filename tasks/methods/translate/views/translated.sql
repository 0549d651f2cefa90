-- Instructions and answers in other languages: `messages` of two turns, and the route of the answer.
--
-- `route` is 'post_answering' (the answer was written in the language) or 'post_translating' (an answer was translated
-- into it). Of each instruction's text, language and route the newest; `source` is that text.
SELECT
    [{'role': 'user', 'content': t.text}, {'role': 'assistant', 'content': a.text}] AS messages,
    i.text AS source, a.language, a.route, a.share, a.translation_id, a.answer_id, a.id, a.instruction_id, i.topic,
    i.origin, a.attempt_id, a.run_id, a.created_at, a.snapshot_id
FROM translations a
JOIN translations t ON t.id = a.translation_id
JOIN instructions i ON i.id = a.instruction_id
QUALIFY row_number() OVER (
    PARTITION BY i.text, a.language, a.route ORDER BY a.snapshot_id DESC, a.created_at DESC, a.id
) = 1

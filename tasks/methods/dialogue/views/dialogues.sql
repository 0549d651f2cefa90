-- Dialogues of self-chat: `messages` from the person and the assistant in turn, the assistant's last.
--
-- For each first message (an accepted instruction) the newest dialogue. A message without an answer is left out: its
-- dialogue ends before it. `exchanges` counts messages with their answers.
WITH ends AS (
    SELECT t.*, t.snapshot_id, i.text AS seed, i.topic, i.origin
    FROM turns t
    JOIN instructions i ON i.id = t.instruction_id
    ANTI JOIN (SELECT unnest(before) AS id FROM turns WHERE role = 'assistant') continued ON continued.id = t.id
    WHERE t.role = 'assistant'
    QUALIFY row_number() OVER (PARTITION BY i.text ORDER BY t.snapshot_id DESC, t.created_at DESC, t.id) = 1
),
paths AS (
    SELECT id, unnest(list_append(before, id)) AS turn_id
    FROM ends
),
said AS (
    SELECT p.id, list({'role': t.role, 'content': t.text} ORDER BY t.place) AS messages
    FROM paths p
    JOIN turns t ON t.id = p.turn_id
    GROUP BY p.id
)
SELECT
    list_prepend({'role': 'user', 'content': e.seed}, s.messages) AS messages,
    e.id, e.place // 2 AS exchanges, e.origin, e.instruction_id, e.topic, e.attempt_id, e.run_id, e.created_at,
    e.snapshot_id
FROM ends e
JOIN said s ON s.id = e.id

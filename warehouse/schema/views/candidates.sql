-- What was read from replies and then judged piece by piece: written instructions, topics and instances, with verdicts.
--
-- `step` names the gate: 'self_instruct.gate', 'red_team.gate', 'red_team.topics_gate', 'self_instruct.instances_gate'.
-- `nearest` is the text that an instruction was too similar to.
SELECT
    origin || '.gate' AS step, id, text, state, reason, similarity, nearest, parents, attempt_id, run_id, created_at
FROM instructions
WHERE origin <> 'seed'
UNION ALL BY NAME
SELECT 'red_team.topics_gate' AS step, id, text, state, reason, parents, attempt_id, run_id, created_at
FROM topics
UNION ALL BY NAME
SELECT
    'self_instruct.instances_gate' AS step, id, concat_ws(chr(10), nullif(input, ''), output) AS text, state, reason,
    parents, attempt_id, run_id, created_at
FROM instances

-- Pairs of samples, the best and the worst: `prompt`, `chosen` and `rejected`, as messages, with their scores.
--
-- An instruction whose samples all score the same has no pair.
SELECT
    prompt,
    [{'role': 'assistant', 'content': responses[1]}] AS chosen,
    [{'role': 'assistant', 'content': responses[-1]}] AS rejected,
    scores[1] AS score_chosen, scores[-1] AS score_rejected,
    sample_ids[1] AS chosen_id, sample_ids[-1] AS rejected_id, scorer,
    id, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM ranked
WHERE scores[1] > scores[-1]

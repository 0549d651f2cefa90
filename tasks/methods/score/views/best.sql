-- The best of each instruction's samples: `messages` to learn by supervised fine-tuning, as RAFT does each round.
--
-- `score` is its own, `mean_score` that of all its samples. An instruction whose samples all score the same has a best
-- one too.
SELECT
    [prompt[1], {'role': 'assistant', 'content': responses[1]}] AS messages,
    scores[1] AS score, list_avg(scores) AS mean_score, sample_ids[1] AS sample_id, models[1] AS model, scorer,
    id, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM ranked

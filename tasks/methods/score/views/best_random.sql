-- Pairs of samples, the best and one of those that score lower: `prompt`, `chosen` and `rejected`, as messages.
--
-- UltraFeedback's and Tülu 3's rule: the rejected one is drawn, not the worst. A hash of the prompt draws it, so that it
-- stays the same; an instruction whose samples all score the same has no pair.
WITH drawn AS (
    SELECT
        *, len(list_filter(scores, lambda score: score < scores[1])) AS lower,
        (len(scores) - md5_number_lower(prompt[1].content) % lower)::BIGINT AS place
    FROM ranked
    WHERE scores[1] > scores[-1]
)
SELECT
    prompt,
    [{'role': 'assistant', 'content': responses[1]}] AS chosen,
    [{'role': 'assistant', 'content': responses[place]}] AS rejected,
    scores[1] AS score_chosen, scores[place] AS score_rejected,
    sample_ids[1] AS chosen_id, sample_ids[place] AS rejected_id, scorer,
    id, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM drawn

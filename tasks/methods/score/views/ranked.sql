-- Instructions with several scored samples: `prompt` as messages, `responses` the best first, and their `scores`.
--
-- One scorer ranks, the first of these that scored the samples: the reward model, propositions, a judge's marks, the
-- verifier. Of equal samples one is kept; samples that lack an aspect which others have are left out, and so
-- are instructions with fewer than two.
-- `sample_ids` and `models` are in the order of `responses`.
WITH whole AS (
    SELECT * FROM scored
    QUALIFY aspects = max(aspects) OVER (PARTITION BY instruction_id, scorer)
),
distinct_texts AS (
    SELECT * FROM whole
    QUALIFY row_number() OVER (PARTITION BY instruction_id, scorer, text ORDER BY score DESC, sample_id) = 1
),
lists AS (
    SELECT
        instruction_id, scorer, min(id) AS id,
        list(text ORDER BY score DESC, sample_id) AS responses,
        list(score ORDER BY score DESC, sample_id) AS scores,
        list(sample_id ORDER BY score DESC, sample_id) AS sample_ids,
        list(model ORDER BY score DESC, sample_id) AS models,
        arg_min(attempt_id, id) AS attempt_id, arg_min(run_id, id) AS run_id,
        max(created_at) AS created_at, max(snapshot_id) AS snapshot_id
    FROM distinct_texts
    GROUP BY instruction_id, scorer
    HAVING count(*) > 1
)
SELECT
    [{'role': 'user', 'content': i.text}] AS prompt, l.responses, l.scores, l.sample_ids, l.models, l.scorer,
    l.id, l.instruction_id, i.topic, l.attempt_id, l.run_id, l.created_at, l.snapshot_id
FROM lists l
JOIN instructions i ON i.id = l.instruction_id
QUALIFY row_number() OVER (
    PARTITION BY i.text
    ORDER BY
        list_position(['reward', 'propositions', 'rating', 'verifier'], l.scorer),
        l.snapshot_id DESC, l.created_at DESC, l.id
) = 1

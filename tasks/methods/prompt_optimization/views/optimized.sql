-- What BPO teaches a rewriter: `prompt` and `optimized_prompt`, with the pair of answers that it was made from.
--
-- Only rewrites that changed something, the newest of each prompt; none whose pair a judge of `compare` ordered the
-- other way round.
SELECT
    i.text AS prompt, o.text AS optimized_prompt, o.comparison, o.good AS good_res, o.bad AS bad_res,
    o.id, o.instruction_id, i.topic, o.attempt_id, o.run_id, o.created_at, o.snapshot_id
FROM optimized_prompts o
JOIN instructions i ON i.id = o.instruction_id
ANTI JOIN (
    SELECT a_id, b_id FROM compared WHERE p_a > 0.5 AND principle_id <> 'given'
) judged ON judged.a_id = o.bad_id AND judged.b_id = o.good_id
WHERE o.changed
QUALIFY row_number() OVER (PARTITION BY i.text ORDER BY o.snapshot_id DESC, o.created_at DESC, o.id) = 1

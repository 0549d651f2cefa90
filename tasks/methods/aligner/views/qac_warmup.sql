-- Question, answer, and the answer again as its correction: the identity set that an Aligner is warmed up on.
--
-- A fifth of the rows of `qac` (Aligner, arXiv 2402.02416), chosen by a hash of question and answer.
SELECT
    question, answer, answer AS correction, true AS is_copy,
    id, response_id, instruction_id, topic, template_id, upstream, attempt_id, run_id, created_at, snapshot_id
FROM qac
WHERE md5_number_lower(question || chr(10) || answer) % 100 < 20

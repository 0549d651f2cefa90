-- Supervised fine-tuning on corrections: `messages` of an instruction and the correction of the generator's own answer.
--
-- Copies stay: they teach the model to keep correct answers. The prompts are the half that `sft` has, and
-- `corrected` the other half.
SELECT
    [{'role': 'user', 'content': question}, {'role': 'assistant', 'content': correction}] AS messages,
    id, is_copy, response_id, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM qac
WHERE upstream IS NULL AND md5_number_lower(question) % 2 = 0

-- Preferences from corrections: `prompt`, `chosen` (the correction) and `rejected` (the answer), as messages.
--
-- Without copies. The prompts are the half that `sft` leaves; one has a row for each answer that was corrected.
SELECT
    [{'role': 'user', 'content': question}] AS prompt,
    [{'role': 'assistant', 'content': correction}] AS chosen,
    [{'role': 'assistant', 'content': answer}] AS rejected,
    id, response_id, instruction_id, topic, upstream, attempt_id, run_id, created_at, snapshot_id
FROM qac
WHERE NOT is_copy AND trim(correction) <> trim(answer) AND md5_number_lower(question) % 2 = 1

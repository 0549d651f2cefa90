-- What chains of thought teach: `messages` of an instruction and a chain that ends in the majority's answer.
--
-- Every chain of the majority is a row, as in 2210.11610; an instruction without a majority has none.
SELECT
    [{'role': 'user', 'content': prompt}, {'role': 'assistant', 'content': text}] AS messages,
    final, agreement, id, instruction_id, topic, attempt_id, run_id, created_at, snapshot_id
FROM agreed

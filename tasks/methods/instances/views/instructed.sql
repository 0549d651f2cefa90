-- What Self-Instruct trains on: instruction, input (often empty) and output of the accepted instances.
--
-- For each instruction and input only the newest output is kept, whatever wrote the older ones.
SELECT
    i.text AS instruction, n.input, n.output, n.form = 'output_first' AS classification, n.id, n.instruction_id, i.topic,
    n.attempt_id, n.run_id, n.created_at, n.snapshot_id
FROM instances n
JOIN instructions i ON i.id = n.instruction_id
WHERE n.state = 'accepted'
QUALIFY row_number() OVER (PARTITION BY i.text, n.input ORDER BY n.snapshot_id DESC, n.created_at DESC, n.id) = 1

-- the rows of sft as instruction, input (empty: an instruction says all of it) and output
SELECT
    messages[1].content AS instruction, '' AS input, messages[2].content AS output,
    messages[1].content AS prompt_text, * EXCLUDE messages
FROM sft

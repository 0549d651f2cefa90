-- prompt, chosen (the correction) and rejected (the answer), as messages
SELECT prompt, chosen, rejected, prompt[1].content AS prompt_text, * EXCLUDE (prompt, chosen, rejected)
FROM corrected

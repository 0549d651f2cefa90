-- prompt, chosen (the final revision) and rejected (the first answer), as messages
SELECT prompt, chosen, rejected, prompt[1].content AS prompt_text, * EXCLUDE (prompt, chosen, rejected)
FROM preferences

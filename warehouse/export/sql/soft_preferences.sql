-- prompt, chosen and rejected, as messages, and the probability that the choice is right
SELECT prompt, chosen, rejected, p, prompt[1].content AS prompt_text, * EXCLUDE (prompt, chosen, rejected, p)
FROM soft_preferences

-- question, answer and the same answer as its correction, to warm an Aligner up on
SELECT question, answer, correction, question AS prompt_text, * EXCLUDE (question, answer, correction)
FROM qac_warmup

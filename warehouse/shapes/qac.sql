-- question, answer and its correction, for an Aligner; unchanged answers are kept
SELECT question, answer, correction, question AS prompt_text, * EXCLUDE (question, answer, correction)
FROM qac

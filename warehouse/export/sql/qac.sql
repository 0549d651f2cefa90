-- question, answer, its correction and the hash of the words it was asked under; unchanged answers are kept
SELECT
    question, answer, correction, template_id,
    question AS prompt_text, * EXCLUDE (question, answer, correction, template_id)
FROM qac

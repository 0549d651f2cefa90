-- question, each answer of a chain of revisions, and the chain's end as its correction; template_id is null
SELECT
    question, answer, correction, template_id,
    question AS prompt_text, * EXCLUDE (question, answer, correction, template_id)
FROM qac_revised

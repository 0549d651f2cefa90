-- Of `translated` the answers that were written in the language.
SELECT *
FROM translated
WHERE route = 'post_answering'

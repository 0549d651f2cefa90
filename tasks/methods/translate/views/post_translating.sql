-- Of `translated` the answers that were translated into the language.
SELECT *
FROM translated
WHERE route = 'post_translating'

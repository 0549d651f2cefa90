-- One chain of thought of each instruction with a majority: the one that a hash of its id draws.
SELECT *
FROM agreed
QUALIFY row_number() OVER (PARTITION BY prompt ORDER BY md5(id), id) = 1

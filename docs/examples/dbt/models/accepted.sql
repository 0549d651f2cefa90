{{ config(materialized="table") }}
SELECT
    date_trunc('day', created_at) AS day, step, model,
    count(*) AS attempts,
    count(*) FILTER (state = 'accepted') AS accepted,
    sum(tokens_out) AS tokens_out
FROM {{ source("lake", "attempts") }}
GROUP BY ALL

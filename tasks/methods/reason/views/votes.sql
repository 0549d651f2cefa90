-- The vote on each instruction: how many chains of thought end in each answer, what wins, and whether that is a majority.
--
-- `state` is 'accepted' where at least three chains have an answer, one answer has half of them or more, and no other
-- has as many; else 'rejected', and `reason` says why. Of each instruction's text and number the newest chain votes, and
-- the same chain word for word votes once for each time that it was drawn.
WITH newest AS (
    SELECT i.text AS prompt, r.final, r.instruction_id, r.run_id, r.created_at, r.snapshot_id
    FROM rationales r
    JOIN instructions i ON i.id = r.instruction_id
    QUALIFY row_number() OVER (
        PARTITION BY i.text, r.number ORDER BY r.snapshot_id DESC, r.created_at DESC, r.id
    ) = 1
),
counted AS (
    SELECT prompt, final, count(*) AS votes, min(instruction_id) AS instruction_id, max(run_id) AS run_id,
        max(created_at) AS created_at, max(snapshot_id) AS snapshot_id
    FROM newest
    GROUP BY prompt, final
),
placed AS (
    SELECT
        prompt, final, votes, sum(votes) OVER by_prompt AS chains,
        coalesce(lead(votes) OVER (PARTITION BY prompt ORDER BY votes DESC, final), 0) AS next_votes,
        row_number() OVER (PARTITION BY prompt ORDER BY votes DESC, final) AS place,
        count(*) OVER by_prompt AS answers, instruction_id, run_id, created_at, snapshot_id
    FROM counted
    WINDOW by_prompt AS (PARTITION BY prompt)
)
SELECT
    prompt, final, votes::INTEGER AS votes, chains::INTEGER AS chains, answers::INTEGER AS answers,
    votes / chains AS agreement,
    CASE WHEN chains >= 3 AND votes > next_votes AND votes >= chains / 2 THEN 'accepted' ELSE 'rejected' END AS state,
    CASE
        WHEN chains < 3 THEN 'fewer than three answers'
        WHEN votes = next_votes THEN 'a tie'
        WHEN votes < chains / 2 THEN 'low agreement'
    END AS reason,
    instruction_id, run_id, created_at, snapshot_id
FROM placed
WHERE place = 1

-- Principle engraving: `messages` of one instruction and the principled answer to it, rules and thoughts pruned.
--
-- The rows of `sft` that are not revisions. The prompts are the half that `sft` has.
SELECT * EXCLUDE source FROM sft WHERE source = 'principled'

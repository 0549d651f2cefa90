-- What a refresh is estimated to take, kept to be compared with what it took; which model is bound to an alias; ratings
-- on a named dimension and verdicts. What further steps write: a comparison is a row for each order (nothing wrote to
-- that table before), with its thought; the scores of a squad's inspectors.
CREATE TABLE lake.plans (
    id VARCHAR NOT NULL, config_hash VARCHAR NOT NULL, preset VARCHAR, step VARCHAR NOT NULL, model VARCHAR,
    source VARCHAR NOT NULL, rows INTEGER NOT NULL, saved BIGINT NOT NULL, level DOUBLE NOT NULL, calls BIGINT,
    calls_low BIGINT, calls_high BIGINT, tokens_in BIGINT, tokens_in_low BIGINT, tokens_in_high BIGINT,
    tokens_out BIGINT, tokens_out_low BIGINT, tokens_out_high BIGINT, minutes DOUBLE, minutes_low DOUBLE,
    minutes_high DOUBLE, money DOUBLE, money_low DOUBLE, money_high DOUBLE, currency VARCHAR, priced_on VARCHAR,
    price_in DOUBLE, price_out DOUBLE, price_cached DOUBLE, run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL
);
-- Which model is bound to an alias, whether a tag trains one, and why.
CREATE TABLE lake.decisions (
    id VARCHAR NOT NULL, alias VARCHAR NOT NULL, state VARCHAR NOT NULL, model VARCHAR, model_path VARCHAR,
    against VARCHAR, "by" VARCHAR NOT NULL, reasons VARCHAR[] NOT NULL, figures VARCHAR, policy VARCHAR,
    run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL, tag VARCHAR
);
ALTER TABLE lake.ratings RENAME COLUMN score_1_5 TO score;
ALTER TABLE lake.ratings ADD COLUMN target_id VARCHAR;
ALTER TABLE lake.ratings ADD COLUMN dimension VARCHAR;
ALTER TABLE lake.ratings ADD COLUMN reason VARCHAR;
CREATE TABLE lake.verdicts (
    id VARCHAR NOT NULL, parents VARCHAR[] NOT NULL, attempt_id VARCHAR, work_key VARCHAR NOT NULL,
    prompt_id VARCHAR NOT NULL, a_id VARCHAR NOT NULL, b_id VARCHAR NOT NULL, dimension VARCHAR NOT NULL,
    first VARCHAR NOT NULL, winner VARCHAR NOT NULL, run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL
);
ALTER TABLE lake.responses ADD COLUMN complete BOOLEAN;
ALTER TABLE lake.responses ADD COLUMN upstream VARCHAR;
ALTER TABLE lake.corrections ADD COLUMN target_id VARCHAR;
ALTER TABLE lake.corrections ADD COLUMN aligner VARCHAR;
DROP TABLE lake.comparisons;
CREATE TABLE lake.comparisons (
    id VARCHAR NOT NULL, parents VARCHAR[] NOT NULL, attempt_id VARCHAR, work_key VARCHAR NOT NULL,
    instruction_id VARCHAR NOT NULL, a_id VARCHAR NOT NULL, b_id VARCHAR NOT NULL, first VARCHAR NOT NULL,
    principle_id VARCHAR NOT NULL, principle_hash VARCHAR NOT NULL, thought_id VARCHAR, p_a DOUBLE NOT NULL,
    run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.thoughts (
    id VARCHAR NOT NULL, parents VARCHAR[] NOT NULL, attempt_id VARCHAR, work_key VARCHAR NOT NULL,
    instruction_id VARCHAR NOT NULL, a_id VARCHAR NOT NULL, b_id VARCHAR NOT NULL, first VARCHAR NOT NULL,
    principle_id VARCHAR NOT NULL, principle_hash VARCHAR NOT NULL, text VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.inspections (
    id VARCHAR NOT NULL, parents VARCHAR[] NOT NULL, attempt_id VARCHAR, work_key VARCHAR NOT NULL,
    instruction_id VARCHAR NOT NULL, response_id VARCHAR NOT NULL, target_id VARCHAR NOT NULL,
    inspector VARCHAR NOT NULL, score DOUBLE NOT NULL, run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL
);
-- Topics and questions by type, and instances of instructions.
ALTER TABLE lake.instructions ADD COLUMN question_type VARCHAR;
CREATE TABLE lake.topics (
    id VARCHAR NOT NULL, parents VARCHAR[] NOT NULL, attempt_id VARCHAR, work_key VARCHAR NOT NULL, request_id VARCHAR,
    question_type VARCHAR NOT NULL, text VARCHAR NOT NULL, state VARCHAR NOT NULL, reason VARCHAR,
    run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.classifications (
    id VARCHAR NOT NULL, parents VARCHAR[] NOT NULL, attempt_id VARCHAR, work_key VARCHAR NOT NULL,
    instruction_id VARCHAR NOT NULL, classification BOOLEAN NOT NULL, run_id VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.instances (
    id VARCHAR NOT NULL, parents VARCHAR[] NOT NULL, attempt_id VARCHAR, work_key VARCHAR NOT NULL,
    instruction_id VARCHAR NOT NULL, place INTEGER NOT NULL, form VARCHAR NOT NULL, input VARCHAR NOT NULL,
    output VARCHAR NOT NULL, state VARCHAR NOT NULL, reason VARCHAR, run_id VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

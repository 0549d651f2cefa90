-- What a refresh is foreseen to take, kept to be compared with what it took.
CREATE TABLE lake.plans (
    id VARCHAR NOT NULL, config_hash VARCHAR NOT NULL, preset VARCHAR, step VARCHAR NOT NULL, model VARCHAR,
    source VARCHAR NOT NULL, rows INTEGER NOT NULL, saved BIGINT NOT NULL, level DOUBLE NOT NULL, calls BIGINT,
    calls_low BIGINT, calls_high BIGINT, tokens_in BIGINT, tokens_in_low BIGINT, tokens_in_high BIGINT,
    tokens_out BIGINT, tokens_out_low BIGINT, tokens_out_high BIGINT, minutes DOUBLE, minutes_low DOUBLE,
    minutes_high DOUBLE, money DOUBLE, money_low DOUBLE, money_high DOUBLE, currency VARCHAR, priced_on VARCHAR,
    price_in DOUBLE, price_out DOUBLE, price_cached DOUBLE, run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL
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

-- What is finished is remembered, and not looked up request by request.
CREATE TABLE lake.finished (
    instruction_id VARCHAR NOT NULL, walk_key VARCHAR NOT NULL, requests INTEGER NOT NULL, run_id VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.rounds (
    source_key VARCHAR NOT NULL, round INTEGER NOT NULL, requests INTEGER NOT NULL, candidates INTEGER NOT NULL,
    topics VARCHAR[] NOT NULL, accepted VARCHAR[] NOT NULL, run_id VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- What a refresh is foreseen to take, kept to be compared with what it took.
CREATE TABLE lake.plans (
    id VARCHAR NOT NULL, config_hash VARCHAR NOT NULL, preset VARCHAR, step VARCHAR NOT NULL, model VARCHAR,
    source VARCHAR NOT NULL, rows INTEGER NOT NULL, saved BIGINT NOT NULL, level DOUBLE NOT NULL, calls BIGINT,
    calls_low BIGINT, calls_high BIGINT, tokens_in BIGINT, tokens_in_low BIGINT, tokens_in_high BIGINT,
    tokens_out BIGINT, tokens_out_low BIGINT, tokens_out_high BIGINT, minutes DOUBLE, minutes_low DOUBLE,
    minutes_high DOUBLE, money DOUBLE, money_low DOUBLE, money_high DOUBLE, currency VARCHAR, priced_on VARCHAR,
    price_in DOUBLE, price_out DOUBLE, price_cached DOUBLE, run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL
);
-- Which model stands behind an alias, whether a tag trains one, and why.
CREATE TABLE lake.decisions (
    id VARCHAR NOT NULL, alias VARCHAR NOT NULL, state VARCHAR NOT NULL, model VARCHAR, model_path VARCHAR,
    against VARCHAR, "by" VARCHAR NOT NULL, reasons VARCHAR[] NOT NULL, figures VARCHAR, policy VARCHAR,
    run_id VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL, tag VARCHAR
);

-- What was sent gets a key of its own, so that a reply can be read again; a tag may stand without an export.
ALTER TABLE lake.attempts ADD COLUMN request_key VARCHAR;
ALTER TABLE lake.attempts ADD COLUMN tokens_cached INTEGER;
ALTER TABLE lake.attempts ADD COLUMN replayed_from VARCHAR;
ALTER TABLE lake.models ADD COLUMN view VARCHAR;
ALTER TABLE lake.tags ALTER COLUMN export_path DROP NOT NULL;

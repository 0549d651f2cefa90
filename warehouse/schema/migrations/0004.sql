-- "by" is a reserved word of SQL, so that `SELECT by FROM decisions` failed.
ALTER TABLE lake.decisions RENAME COLUMN "by" TO decided_by;

-- What rewrites, moves or derives rows without changing any gives no changes.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');

CREATE TABLE t (id int PRIMARY KEY, v text, n int);
INSERT INTO t SELECT i, repeat('x', 3000) || i, i FROM generate_series(1, 20) i;
SELECT count(*) FROM helper.changes();

ALTER TABLE t ALTER n TYPE bigint;
ALTER TABLE t ADD COLUMN r float8 DEFAULT random();
ALTER TABLE t SET UNLOGGED;
ALTER TABLE t SET LOGGED;
VACUUM FULL t;
CLUSTER t USING t_pkey;
VACUUM (ANALYZE) t;
REINDEX TABLE t;
ALTER TABLE t ALTER v SET STORAGE EXTERNAL, SET (fillfactor = 90);
SELECT * FROM helper.changes();

-- Right afterwards, the table is followed again, and rewritten and changed in one transaction.
BEGIN;
INSERT INTO t VALUES (100, 'a', 1, 0);
ALTER TABLE t ALTER n TYPE text;
INSERT INTO t VALUES (101, 'b', 'two', 0);
TRUNCATE t;
INSERT INTO t VALUES (102, 'c', 'three', 0);
COMMIT;
SELECT * FROM helper.changes();

-- Derived, unlogged and temporary relations, sequences and large objects.
CREATE MATERIALIZED VIEW mv AS SELECT id, n FROM t;
CREATE UNIQUE INDEX ON mv (id);
INSERT INTO t VALUES (103, 'd', 'four', 0);
SELECT count(*) FROM helper.changes();
REFRESH MATERIALIZED VIEW mv;
REFRESH MATERIALIZED VIEW CONCURRENTLY mv;
INSERT INTO t VALUES (104, 'e', 'five', 0);
DELETE FROM t WHERE id = 103;
SELECT operation, relation FROM helper.changes();
REFRESH MATERIALIZED VIEW CONCURRENTLY mv;
CREATE UNLOGGED TABLE not_logged (id int);
INSERT INTO not_logged VALUES (1);
TRUNCATE not_logged;
CREATE TEMP TABLE temporary (id int);
INSERT INTO temporary VALUES (1);
TRUNCATE temporary;
CREATE SEQUENCE s;
SELECT nextval('s') FROM generate_series(1, 40) WHERE false;
SELECT count(nextval('s')) FROM generate_series(1, 40);
SELECT lo_unlink(lo_from_bytea(0, '\x00ff'));
CREATE TABLE made_from AS SELECT id FROM t;
SELECT operation, relation, after FROM helper.changes();
DROP TABLE not_logged;

-- Truncates: of several tables at once, and with their options.
CREATE TABLE parent (id serial PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent);
TRUNCATE parent, child RESTART IDENTITY;
TRUNCATE parent CASCADE;
TRUNCATE child;
SELECT tx, ordinal, operation, relation, detail FROM helper.changes();

-- Inheritance is no partitioning.
CREATE TABLE heir (extra text) INHERITS (parent);
INSERT INTO heir VALUES (1, 'x');
UPDATE parent SET id = 2;
TRUNCATE ONLY parent CASCADE;
SELECT tx, ordinal, operation, relation, after FROM helper.changes('{"publish_via_root": true}');

DROP TABLE t, parent, child, heir, made_from, temporary CASCADE;
DROP SEQUENCE s;
SELECT pg_drop_replication_slot('regression');

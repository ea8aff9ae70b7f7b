-- A slot's contents do not depend on how it is read: within transactions, into tables, in parts, from a copy, by another role.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE FUNCTION brief(slot name DEFAULT 'regression') RETURNS TABLE (operation text, relation text, before json, after json)
    LANGUAGE sql AS $$
    SELECT d.operation, d.relation, d.before, d.after
    FROM pg_logical_slot_peek_binary_changes(slot, NULL, NULL) AS c, walferry.decode(c.data) AS d
$$;

-- In a transaction that has written, changed the catalog, and given up a part; what it wrote itself is not there yet.
INSERT INTO t VALUES (1, 'committed');
BEGIN;
SELECT * FROM brief();
INSERT INTO t VALUES (2, 'not committed');
ALTER TABLE t ADD COLUMN late int DEFAULT 2;
SELECT * FROM brief();
SAVEPOINT s;
SELECT * FROM pg_create_logical_replication_slot('too_late', 'walferry');
ROLLBACK TO s;
SELECT * FROM brief();
SAVEPOINT s;
SELECT 1 / count(*) FILTER (WHERE false) FROM brief();
ROLLBACK TO s;
UPDATE t SET v = 'changed', id = 3 WHERE id = 1;
SELECT * FROM brief();
COMMIT;
SELECT * FROM brief();
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT * FROM brief();
COMMIT;
PREPARE again AS SELECT * FROM brief();
EXECUTE again;
DECLARE scrolled SCROLL CURSOR WITH HOLD FOR SELECT operation, after FROM brief();
FETCH LAST FROM scrolled;
FETCH FIRST FROM scrolled;
CLOSE scrolled;
DEALLOCATE again;

-- Into a table, which is itself decoded: what is read is read once.
CREATE TABLE log AS SELECT * FROM helper.changes();
SELECT count(*) FROM log;
INSERT INTO log SELECT * FROM helper.changes();
SELECT tx, operation, relation, after->>'relation' AS logged FROM helper.changes();
DROP TABLE log;
SELECT count(*) FROM helper.changes();

-- What was consumed is gone, whatever becomes of the transaction.
INSERT INTO t VALUES (4, 'consumed');
BEGIN;
SELECT operation, after FROM helper.changes();
ROLLBACK;
SELECT operation, after FROM helper.changes();

-- In parts: a limit of changes or a position ends the reading after a whole transaction.
BEGIN;
INSERT INTO t VALUES (5, 'first');
INSERT INTO t VALUES (6, 'first');
COMMIT;
SELECT pg_current_wal_insert_lsn() AS between \gset
INSERT INTO t VALUES (7, 'second');
SELECT d.after FROM pg_logical_slot_peek_binary_changes('regression', NULL, 1) c, walferry.decode(c.data) d;
SELECT d.after FROM pg_logical_slot_peek_binary_changes('regression', :'between', NULL) c, walferry.decode(c.data) d;
SELECT end_lsn IS NOT NULL AS advanced FROM pg_replication_slot_advance('regression', :'between');
SELECT after FROM brief();

-- A copy has what the original has, and goes its own way.
SELECT 'copied' FROM pg_copy_logical_replication_slot('regression', 'regression_copy', false, 'walferry');
INSERT INTO t VALUES (8, 'third');
SELECT operation, after FROM helper.changes();
SELECT operation, after FROM brief('regression_copy');
SELECT pg_drop_replication_slot('regression_copy');
SELECT 'made' FROM pg_create_logical_replication_slot('temporary', 'walferry', true);
DELETE FROM t WHERE id = 8;
SELECT operation, before FROM brief('temporary');
SELECT pg_drop_replication_slot('temporary');

-- Reading takes REPLICATION, and then no privilege on the tables.
CREATE ROLE regress_reader;
CREATE ROLE regress_replicator REPLICATION;
GRANT USAGE ON SCHEMA helper TO regress_reader, regress_replicator;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
INSERT INTO t VALUES (9, 'secret');
SET ROLE regress_reader;
\set VERBOSITY sqlstate
SELECT operation, before FROM brief();
\set VERBOSITY default
SET ROLE regress_replicator;
TABLE t;
SELECT operation, before, after FROM brief();
RESET ROLE;
DROP OWNED BY regress_reader, regress_replicator;
DROP ROLE regress_reader, regress_replicator;

DROP FUNCTION brief;
DROP TABLE t;
SELECT pg_drop_replication_slot('regression');

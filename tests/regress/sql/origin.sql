-- Changes that a replication origin brought are told with its name, or left out.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE TABLE t (id int);
SELECT 'made' FROM pg_replication_origin_create('walferry_regression');

INSERT INTO t VALUES (1);
SELECT 'set up' FROM (SELECT pg_replication_origin_session_setup('walferry_regression')) s;
INSERT INTO t VALUES (2);
SELECT 'emitted' FROM pg_logical_emit_message(true, 'm', 'transactional');
SELECT 'emitted' FROM pg_logical_emit_message(false, 'm', 'not transactional');
BEGIN;
SELECT 'set up' FROM (SELECT pg_replication_origin_xact_setup('0/1', '2024-02-29 12:00+00')) s;
INSERT INTO t VALUES (3);
COMMIT;
SELECT 'reset' FROM (SELECT pg_replication_origin_session_reset()) s;
INSERT INTO t VALUES (4);

CREATE FUNCTION peek(options text) RETURNS TABLE (operation text, after json, detail json, origin text) LANGUAGE sql AS $$
    SELECT d.operation, d.after, d.detail, d.origin
    FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL, 'options', options) AS c,
        walferry.decode(c.data) AS d
$$;
SELECT * FROM peek('{"messages": true}');
SELECT * FROM peek('{"messages": true, "origin": "any"}');
SELECT * FROM peek('{"messages": true, "origin": "none"}');

SELECT pg_replication_slot_advance('regression', pg_current_wal_insert_lsn()) IS NOT NULL AS advanced;

-- Of several origins each has its name, in the first frame of a transaction, subtransactions included; COPY, ON CONFLICT and
-- TRUNCATE too. Whether a change is local does not depend on who reads.
SELECT 'made' FROM pg_replication_origin_create('The "other", é');
SELECT 'set up' FROM (SELECT pg_replication_origin_session_setup('The "other", é')) s;
BEGIN;
SAVEPOINT s;
INSERT INTO t VALUES (5);
RELEASE s;
SAVEPOINT s;
INSERT INTO t VALUES (6);
ROLLBACK TO s;
COMMIT;
TRUNCATE t;
SELECT 'reset' FROM (SELECT pg_replication_origin_session_reset()) s;
SELECT 'set up' FROM (SELECT pg_replication_origin_session_setup('walferry_regression')) s;
INSERT INTO t VALUES (7);
CREATE TABLE large (id int, v text);
INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 200) i;
SELECT 'reset' FROM (SELECT pg_replication_origin_session_reset()) s;
INSERT INTO t VALUES (8);
SELECT * FROM peek('{"tables": ["public.t"]}');
SELECT * FROM peek('{"tables": ["public.t"], "origin": "none"}');
SELECT count(*), count(origin) > 0 AS named, count(DISTINCT origin) FROM peek('{"tables": ["public.large"]}');

-- An origin that is gone still has its name where it brought rows before.
SELECT pg_replication_origin_drop('walferry_regression');
SELECT operation, after, origin FROM peek('{"tables": ["public.t"]}');

DROP FUNCTION peek;
DROP TABLE t, large;
SELECT pg_replication_origin_drop('The "other", é');
SELECT pg_drop_replication_slot('regression');

-- Changes that a replication origin brought can be left out.
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

CREATE FUNCTION peek(options text) RETURNS TABLE (operation text, after json, detail json) LANGUAGE sql AS $$
    SELECT d.operation, d.after, d.detail
    FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL, 'options', options) AS c,
        walferry.decode(c.data) AS d
$$;
SELECT * FROM peek('{"messages": true}');
SELECT * FROM peek('{"messages": true, "origin": "any"}');
SELECT * FROM peek('{"messages": true, "origin": "none"}');

DROP FUNCTION peek;
DROP TABLE t;
SELECT pg_replication_origin_drop('walferry_regression');
SELECT pg_drop_replication_slot('regression');

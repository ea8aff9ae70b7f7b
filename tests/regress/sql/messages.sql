-- Logical messages: only where asked for, transactional ones with their transaction.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE TABLE t (id int);

BEGIN;
INSERT INTO t VALUES (1);
SELECT 'emitted' FROM pg_logical_emit_message(true, 'a', 'in the transaction');
SELECT 'emitted' FROM pg_logical_emit_message(false, 'b', 'outside of it');
SAVEPOINT s;
SELECT 'emitted' FROM pg_logical_emit_message(true, 'a', 'rolled back');
SELECT 'emitted' FROM pg_logical_emit_message(false, 'b', 'not rolled back');
ROLLBACK TO s;
INSERT INTO t VALUES (2);
COMMIT;
BEGIN;
SELECT 'emitted' FROM pg_logical_emit_message(true, 'ab', '');
SELECT 'emitted' FROM pg_logical_emit_message(true, 'A', E'é "quoted"\n\\');
COMMIT;
SELECT 'emitted' FROM pg_logical_emit_message(true, '', '\x00ff00'::bytea);
SELECT 'emitted' FROM pg_logical_emit_message(false, 'a b/c', decode('fffe', 'hex'));
BEGIN;
SELECT 'emitted' FROM pg_logical_emit_message(true, 'a', 'lost');
ROLLBACK;

CREATE FUNCTION peek(options text) RETURNS TABLE (kind text, in_transaction boolean, ordinal bigint, operation text,
    relation text, detail json) LANGUAGE sql AS $$
    SELECT d.kind, d.xid IS NOT NULL, d.ordinal, d.operation, d.relation, d.detail
    FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL, 'options', options) AS c,
        walferry.decode(c.data) AS d
$$;
SELECT * FROM peek('{}');
SELECT * FROM peek('{"messages": false}');
SELECT * FROM peek('{"messages": []}');
SELECT * FROM peek('{"messages": true}');
SELECT * FROM peek('{"messages": ["a"]}');
SELECT * FROM peek('{"messages": ["b", "", "nobody"], "operations": []}');
SELECT * FROM peek('{"messages": ["nobody"], "operations": []}');

-- Large content, in a frame of its own.
SELECT pg_replication_slot_advance('regression', pg_current_wal_lsn()) IS NOT NULL;
BEGIN;
INSERT INTO t VALUES (3);
SELECT 'emitted' FROM pg_logical_emit_message(true, 'large', repeat('x', 1000000));
INSERT INTO t VALUES (4);
COMMIT;
SELECT 'emitted' FROM pg_logical_emit_message(false, 'large', repeat('y', 1000000));
INSERT INTO t VALUES (5);
SELECT tx, ordinal, operation, relation, detail->>'prefix' AS prefix, length(detail->>'content'),
    left(detail->>'content', 3) AS content FROM helper.changes('{"messages": true}');

DROP FUNCTION peek;
DROP TABLE t;
SELECT pg_drop_replication_slot('regression');

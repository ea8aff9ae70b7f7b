-- Prepared transactions: decoded at PREPARE TRANSACTION where that is asked for, otherwise when they are committed.
SELECT 'init' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE FUNCTION helper.steps(options text, consume boolean DEFAULT false) RETURNS TABLE (kind text, ordinal bigint, gid text,
    operation text, after text) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT d.kind, d.ordinal, d.gid, d.operation, d.after::text
        FROM pg_logical_slot_%s_binary_changes(''regression'', NULL, NULL, ''options'', %L) AS c, walferry.decode(c.data) AS d',
        CASE WHEN consume THEN 'get' ELSE 'peek' END, options);
END
$$;
CREATE TABLE t (id int PRIMARY KEY, v text);
SELECT * FROM helper.steps('{}', true);

-- Not asked for: nothing before the COMMIT PREPARED, then as any transaction.
BEGIN;
INSERT INTO t VALUES (1, 'plain');
PREPARE TRANSACTION 'first';
SELECT * FROM helper.steps('{}');
COMMIT PREPARED 'first';
SELECT * FROM helper.steps('{}', true);

-- Asked for: at PREPARE, and its end when that comes; subtransactions rolled back before are never seen.
BEGIN;
INSERT INTO t VALUES (2, 'prepared');
SAVEPOINT a;
INSERT INTO t VALUES (3, 'gone');
ROLLBACK TO a;
INSERT INTO t VALUES (4, 'kept');
PREPARE TRANSACTION 'sécond ''gid''';
INSERT INTO t VALUES (5, 'in between');
SELECT * FROM helper.steps('{"two_phase": true}');
COMMIT PREPARED 'sécond ''gid''';
SELECT * FROM helper.steps('{"two_phase": true}');
-- The transaction, its place and its time are the same, however it is sent.
CREATE TEMP TABLE prepared AS SELECT d.* FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL, 'options',
    '{"two_phase": true}') AS c, walferry.decode(c.data) AS d;
SELECT p.xid = w.xid AS xid, p.commit_lsn = w.commit_lsn AS commit_lsn, p.end_lsn = w.end_lsn AS end_lsn,
    p.commit_time = w.commit_time AS commit_time, w.ordinal = r.ordinal AS ordinal, w.after::text = r.after::text AS after
FROM prepared AS p JOIN prepared AS r ON p.kind = 'commit_prepared' AND r.kind = 'prepare' AND r.xid = p.xid
    AND r.operation IS NOT NULL
JOIN (SELECT d.* FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL, 'options', '{}') AS c,
    walferry.decode(c.data) AS d) AS w ON w.xid = p.xid AND w.ordinal = r.ordinal;
SELECT * FROM helper.steps('{"two_phase": true}', true);

-- Rolled back: the slot has two-phase decoding from here on.
SELECT two_phase FROM pg_replication_slots WHERE slot_name = 'regression';
BEGIN;
INSERT INTO t VALUES (6, 'to be rolled back');
PREPARE TRANSACTION 'third';
SELECT * FROM helper.steps('{"two_phase": true}');
ROLLBACK PREPARED 'third';
SELECT * FROM helper.steps('{"two_phase": true}');
-- Read without it, nothing of it is to be seen.
SELECT * FROM helper.steps('{}', true);

-- Chosen by the beginning of the name.
BEGIN;
INSERT INTO t VALUES (7, 'chosen');
PREPARE TRANSACTION 'app-1';
BEGIN;
INSERT INTO t VALUES (8, 'not chosen');
PREPARE TRANSACTION 'other-1';
SELECT * FROM helper.steps('{"two_phase": ["app-", "web-"]}');
COMMIT PREPARED 'other-1';
COMMIT PREPARED 'app-1';
SELECT * FROM helper.steps('{"two_phase": ["app-", "web-"]}', true);

-- Streamed in blocks first, with subtransactions that are rolled back, then prepared.
SET logical_decoding_work_mem = '64kB';
BEGIN;
INSERT INTO t SELECT i, repeat('x', 40) FROM generate_series(1001, 3000) i;
SAVEPOINT a;
INSERT INTO t SELECT i, 'gone' FROM generate_series(3001, 5000) i;
ROLLBACK TO a;
INSERT INTO t VALUES (9, 'last');
PREPARE TRANSACTION 'large';
COMMIT PREPARED 'large';
CREATE TEMP TABLE streamed AS SELECT d.* FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL, 'options',
    '{"two_phase": true, "streaming": true}') AS c, walferry.decode(c.data) AS d;
SELECT kind, gid, count(operation) > 0 AS has_records FROM streamed WHERE kind <> 'stream_abort' GROUP BY 1, 2 ORDER BY 1;
SELECT count(*), count(DISTINCT after->>'id') FROM streamed WHERE operation = 'insert'
    AND subxid NOT IN (SELECT s.subxid FROM streamed s WHERE s.kind = 'stream_abort');
RESET logical_decoding_work_mem;
SELECT count(*) FROM helper.steps('{}', true);

-- Empty, or with nothing selected: its end is told all the same.
BEGIN;
INSERT INTO t VALUES (10, 'not selected');
PREPARE TRANSACTION 'empty';
COMMIT PREPARED 'empty';
SELECT * FROM helper.steps('{"two_phase": true, "tables": ["public.nothing"]}', true);

-- Prepared while the slot was read without it, or for other names: the rows come with the end, since nobody has had them.
BEGIN;
INSERT INTO t VALUES (11, 'prepared while it was off');
PREPARE TRANSACTION 'passed';
BEGIN;
INSERT INTO t VALUES (12, 'to be rolled back');
PREPARE TRANSACTION 'dropped';
SELECT * FROM helper.steps('{}', true);
BEGIN;
INSERT INTO t VALUES (13, 'prepared for other names');
PREPARE TRANSACTION 'other-2';
INSERT INTO t VALUES (14, 'meanwhile');
SELECT * FROM helper.steps('{"two_phase": ["app-"]}', true);
COMMIT PREPARED 'passed';
ROLLBACK PREPARED 'dropped';
COMMIT PREPARED 'other-2';
SELECT * FROM helper.steps('{"two_phase": true}', true);

DROP TABLE t;
DROP FUNCTION helper.steps;
SELECT pg_drop_replication_slot('regression');

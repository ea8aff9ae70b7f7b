-- Transactions larger than the server's memory for decoding, which go through files: the same changes, and nothing else.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE big (id int PRIMARY KEY, v text);
ALTER TABLE big ALTER v SET STORAGE EXTERNAL;
-- Consecutive changes of one kind, in brief.
CREATE FUNCTION brief(options text DEFAULT NULL) RETURNS TABLE (tx bigint, kind text, operation text, relation text, changes bigint,
                                                 first text, last text, size bigint) LANGUAGE sql AS $$
    WITH d AS (SELECT row_number() OVER () AS n, d.* FROM helper.frames(options) AS f(frame), walferry.decode(f.frame) AS d),
         g AS (SELECT *, n - row_number() OVER (PARTITION BY kind, end_lsn, operation, relation ORDER BY n) AS same FROM d)
    SELECT dense_rank() OVER (ORDER BY end_lsn), kind, operation, relation, count(*), (array_agg(after->>'id' ORDER BY n))[1],
           (array_agg(after->>'id' ORDER BY n DESC))[1], sum(length(after->>'v'))
    FROM g GROUP BY kind, end_lsn, operation, relation, same ORDER BY min(n)
$$;
SET logical_decoding_work_mem = '64kB';

-- Top level and subtransactions beside each other, each of which alone is too large, some of them rolled back.
BEGIN;
INSERT INTO t SELECT i, 'top' FROM generate_series(1, 1500) i;
SAVEPOINT a;
INSERT INTO t SELECT i, 'a' FROM generate_series(2001, 3500) i;
SAVEPOINT b;
INSERT INTO t SELECT i, 'lost' FROM generate_series(4001, 5500) i;
ROLLBACK TO b;
UPDATE t SET v = 'b' WHERE id > 2000 AND id <= 3000;
RELEASE a;
SAVEPOINT c;
DELETE FROM t;
ROLLBACK TO c;
DELETE FROM t WHERE id <= 1500;
COMMIT;
SELECT * FROM brief();

-- Whole transactions that are rolled back leave nothing, not even with subtransactions.
BEGIN;
INSERT INTO t SELECT i, 'lost' FROM generate_series(10001, 12000) i;
ROLLBACK;
BEGIN;
INSERT INTO t SELECT i, 'lost' FROM generate_series(10001, 12000) i;
SAVEPOINT a;
INSERT INTO t SELECT i, 'lost' FROM generate_series(12001, 14000) i;
ROLLBACK TO a;
SAVEPOINT b;
INSERT INTO t SELECT i, 'lost' FROM generate_series(12001, 14000) i;
RELEASE b;
ROLLBACK;
-- From 18 on the server drops such a one before it writes it to a file, together with its small subtransactions.
BEGIN;
SAVEPOINT a;
INSERT INTO t VALUES (10001, 'lost');
RELEASE a;
SAVEPOINT b;
INSERT INTO t VALUES (10002, 'lost');
SAVEPOINT c;
INSERT INTO t VALUES (10003, 'lost');
RELEASE b;
INSERT INTO t SELECT i, 'lost' FROM generate_series(12001, 14000) i;
ROLLBACK;
INSERT INTO t VALUES (1, 'kept');
SELECT * FROM brief();

-- The schema changes in the middle; large values are put together again; TRUNCATE and messages keep their place.
BEGIN;
INSERT INTO big SELECT i, repeat(i::text, 2000) FROM generate_series(1, 300) i;
ALTER TABLE t ADD COLUMN late int DEFAULT 7;
INSERT INTO t SELECT i, 'new schema' FROM generate_series(20001, 21500) i;
SAVEPOINT a;
ALTER TABLE t DROP COLUMN late;
INSERT INTO t SELECT i, 'lost' FROM generate_series(30001, 31500) i;
ROLLBACK TO a;
SELECT 'emitted' FROM pg_logical_emit_message(true, 'm', repeat('x', 100000));
INSERT INTO t SELECT i, 'after' FROM generate_series(40001, 41500) i;
UPDATE big SET v = v || '.' WHERE id > 290;
TRUNCATE t;
INSERT INTO t VALUES (5);
UPDATE big SET id = -id WHERE id <= 10;
COMMIT;
SELECT * FROM brief('{"messages": true}');
SELECT spill_txns > 0 AS spilled FROM pg_stat_replication_slots WHERE slot_name = 'regression';

DROP TABLE t, big;
DROP FUNCTION brief;
SELECT pg_drop_replication_slot('regression');

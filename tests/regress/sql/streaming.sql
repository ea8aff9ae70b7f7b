-- Transactions larger than logical_decoding_work_mem are sent in blocks while they are in progress. Whoever puts the blocks
-- of the committed ones together, without those of rolled-back subtransactions, has what is sent of them after their commit.
SELECT 'init' FROM pg_create_logical_replication_slot('regression', 'walferry');
SET logical_decoding_work_mem = '64kB';

CREATE FUNCTION helper.peek(options text) RETURNS SETOF bytea LANGUAGE sql AS $$
    SELECT data FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL, 'options', options)
$$;
CREATE FUNCTION helper.blocks(options text) RETURNS TABLE (place bigint, kind text, xid text, subxid text, ordinal bigint,
    operation text, relation text, before text, after text, unchanged text[], detail text, commit_lsn pg_lsn, end_lsn pg_lsn,
    commit_time timestamptz) LANGUAGE sql AS $$
    SELECT row_number() OVER (), d.kind, d.xid::text, d.subxid::text, d.ordinal, d.operation, d.relation, d.before::text,
           d.after::text, d.unchanged, d.detail::text, d.commit_lsn, d.end_lsn, d.commit_time
    FROM helper.peek(options) AS f(frame), walferry.decode(f.frame) AS d
$$;
-- Every change that the stream leads to, in commit order, with the ordinals counted anew. All changes must be selected.
CREATE FUNCTION helper.reassembled() RETURNS TABLE (commit_lsn pg_lsn, end_lsn pg_lsn, commit_time timestamptz, ordinal bigint,
    operation text, relation text, before text, after text, unchanged text[], detail text) LANGUAGE sql AS $$
    WITH b AS MATERIALIZED (SELECT * FROM helper.blocks('{"streaming": true, "messages": true}'))
    SELECT c.commit_lsn, c.end_lsn, c.commit_time, row_number() OVER (PARTITION BY c.commit_lsn ORDER BY s.place) - 1,
           s.operation, s.relation, s.before, s.after, s.unchanged, s.detail
    FROM b AS s JOIN b AS c ON c.kind = 'stream_commit' AND c.xid = s.xid
    WHERE s.kind = 'stream' AND s.subxid NOT IN (SELECT a.subxid FROM b AS a WHERE a.kind = 'stream_abort')
    UNION ALL
    SELECT commit_lsn, end_lsn, commit_time, ordinal, operation, relation, before, after, unchanged, detail
    FROM b WHERE kind = 'transaction'
$$;
CREATE FUNCTION helper.whole() RETURNS TABLE (commit_lsn pg_lsn, end_lsn pg_lsn, commit_time timestamptz, ordinal bigint,
    operation text, relation text, before text, after text, unchanged text[], detail text) LANGUAGE sql AS $$
    SELECT commit_lsn, end_lsn, commit_time, ordinal, operation, relation, before, after, unchanged, detail
    FROM helper.blocks('{"messages": true}')
$$;
-- Empty where both are the same.
CREATE FUNCTION helper.stream_differences() RETURNS TABLE (side text, ordinal bigint, operation text, relation text)
    LANGUAGE sql AS $$
    WITH r AS MATERIALIZED (SELECT * FROM helper.reassembled()), w AS MATERIALIZED (SELECT * FROM helper.whole())
    SELECT 'reassembled', d.ordinal, d.operation, d.relation FROM (SELECT * FROM r EXCEPT ALL SELECT * FROM w) d
    UNION ALL
    SELECT 'whole', d.ordinal, d.operation, d.relation FROM (SELECT * FROM w EXCEPT ALL SELECT * FROM r) d
$$;
-- What came, in short: kinds with the number of records, for each top-level transaction. The server may send blocks of a
-- transaction that was consumed before, and then end it by a stream_abort: those are left out.
CREATE FUNCTION helper.stream_summary() RETURNS TABLE (tx bigint, kind text, records bigint, blocks boolean) LANGUAGE sql AS $$
    WITH b AS MATERIALIZED (SELECT * FROM helper.blocks('{"streaming": true, "messages": true}'))
    SELECT dense_rank() OVER (ORDER BY min(xid::bigint)), kind, count(operation), count(*) > 1
    FROM b WHERE xid NOT IN (SELECT a.subxid FROM b AS a WHERE a.kind = 'stream_abort')
    GROUP BY xid, kind ORDER BY 1, min(ordinal) NULLS LAST, 2
$$;
CREATE FUNCTION helper.skip() RETURNS void LANGUAGE sql AS $$
    SELECT pg_replication_slot_advance('regression', pg_current_wal_insert_lsn())
$$;

CREATE TABLE big (id int PRIMARY KEY, filler text);
CREATE TABLE small (id int PRIMARY KEY);
SELECT helper.skip();

-- Plain: one large transaction and a small one.
INSERT INTO small VALUES (1);
INSERT INTO big SELECT i, repeat('x', 50) FROM generate_series(1, 3000) i;
INSERT INTO small VALUES (2);
SELECT kind, records, blocks FROM helper.stream_summary();
SELECT * FROM helper.stream_differences();
SELECT count(*), min(ordinal), max(ordinal) FROM helper.reassembled() WHERE relation = 'public.big';
-- Not asked for: no blocks.
SELECT DISTINCT kind FROM helper.blocks('{}');
SELECT DISTINCT kind FROM helper.blocks('{"streaming": false}');
SELECT helper.skip();

-- Savepoints, kept and rolled back, with rows before, inside and behind; updates and deletes of what they wrote.
BEGIN;
INSERT INTO big SELECT i, 'outer' FROM generate_series(10001, 11000) i;
SAVEPOINT a;
INSERT INTO big SELECT i, 'gone' FROM generate_series(11001, 13000) i;
SAVEPOINT a_inner;
UPDATE big SET filler = 'gone too' WHERE id > 12000;
ROLLBACK TO a;
SAVEPOINT b;
INSERT INTO big SELECT i, 'kept' FROM generate_series(11001, 12000) i;
SAVEPOINT b_inner;
UPDATE big SET filler = filler || ' and changed' WHERE id BETWEEN 10900 AND 11100;
RELEASE b_inner;
SAVEPOINT c;
DELETE FROM big WHERE id > 10000;
ROLLBACK TO c;
DELETE FROM big WHERE id BETWEEN 10500 AND 10600;
COMMIT;
SELECT kind, records > 0 AS has_records FROM helper.stream_summary() WHERE kind <> 'stream_abort';
SELECT bool_or(subtransactions > 2) AS several_subtransactions FROM (SELECT count(DISTINCT subxid) AS subtransactions
    FROM helper.blocks('{"streaming": true}') WHERE kind = 'stream' GROUP BY xid) AS s;
SELECT * FROM helper.stream_differences();
SELECT operation, count(*) FROM helper.reassembled() GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM helper.reassembled() WHERE after LIKE '%gone%';
SELECT helper.skip();

-- Exception blocks: one subtransaction for each row, every third rolled back.
DO $$
BEGIN
    FOR i IN 20001..22000 LOOP
        BEGIN
            INSERT INTO big VALUES (i, 'row ' || i);
            IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END
$$;
SELECT * FROM helper.stream_differences();
SELECT count(*), bool_or((after::json->>'id')::int % 3 = 0) FROM helper.reassembled();
SELECT helper.skip();

-- The whole transaction rolled back, after blocks of it may have been sent: nothing arrives.
BEGIN;
INSERT INTO big SELECT i, 'rolled back' FROM generate_series(30001, 33000) i;
ROLLBACK;
INSERT INTO small VALUES (3);
SELECT count(*), count(*) FILTER (WHERE relation = 'public.small') AS small FROM helper.reassembled();
SELECT * FROM helper.stream_differences();
SELECT helper.skip();

-- DDL in the middle, in a subtransaction that is rolled back too: each row has the schema of its moment.
BEGIN;
INSERT INTO big SELECT i, 'before' FROM generate_series(40001, 41000) i;
ALTER TABLE big ADD COLUMN extra int DEFAULT 7;
INSERT INTO big SELECT i, 'with extra', i FROM generate_series(41001, 42000) i;
SAVEPOINT a;
ALTER TABLE big DROP COLUMN filler, ADD COLUMN other text DEFAULT 'o';
INSERT INTO big SELECT i, i, 'gone' FROM generate_series(42001, 43000) i;
ROLLBACK TO a;
INSERT INTO big SELECT i, 'after the rollback', i FROM generate_series(42001, 43000) i;
ALTER TABLE big RENAME COLUMN extra TO renamed;
UPDATE big SET renamed = -1 WHERE id BETWEEN 42001 AND 42200;
COMMIT;
SELECT * FROM helper.stream_differences();
SELECT (SELECT string_agg(key, ',' ORDER BY key) FROM json_object_keys(after::json) key) AS columns, operation, count(*)
FROM helper.reassembled() GROUP BY 1, 2 ORDER BY 1, 2;
ALTER TABLE big DROP COLUMN renamed;
SELECT helper.skip();

-- TOAST, truncates and logical messages inside of subtransactions.
ALTER TABLE big ALTER COLUMN filler SET STORAGE EXTERNAL;
SELECT helper.skip();
BEGIN;
INSERT INTO big SELECT i, repeat(chr(65 + i % 26), 10000) FROM generate_series(50001, 50100) i;
SAVEPOINT a;
SELECT 'message' FROM pg_logical_emit_message(true, 'lost', 'rolled back');
TRUNCATE small;
ROLLBACK TO a;
SAVEPOINT b;
SELECT 'message' FROM pg_logical_emit_message(true, 'kept', 'committed');
UPDATE big SET id = id + 100000 WHERE id BETWEEN 50001 AND 50020;
TRUNCATE small;
RELEASE b;
INSERT INTO big SELECT i, repeat('y', 3000) FROM generate_series(50201, 50300) i;
COMMIT;
SELECT * FROM helper.stream_differences();
SELECT operation, count(*), count(unchanged) AS with_unchanged, min(detail) FROM helper.reassembled() GROUP BY 1 ORDER BY 1;
SELECT helper.skip();

-- More changes that are not selected than a record's place in its frame can count.
BEGIN;
INSERT INTO small VALUES (4);
INSERT INTO big SELECT i, 'not selected' FROM generate_series(200001, 270001) i;
INSERT INTO small VALUES (5);
COMMIT;
WITH b AS MATERIALIZED (SELECT * FROM helper.blocks('{"streaming": true, "tables": ["public.small"]}'))
SELECT kind, ordinal, operation, after FROM b WHERE xid IN (SELECT c.xid FROM b AS c WHERE c.kind = 'stream_commit')
ORDER BY place;
SELECT helper.skip();

RESET logical_decoding_work_mem;
DROP TABLE big, small;
SELECT pg_drop_replication_slot('regression');
DROP FUNCTION helper.stream_differences, helper.stream_summary, helper.reassembled, helper.whole, helper.blocks, helper.peek,
    helper.skip;

-- Transactions: what of them is sent, and in which order.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE other (id int);

-- Empty ones, rolled back ones, those that only read or only change the catalog, and those left out: not one frame.
BEGIN; COMMIT;
BEGIN; INSERT INTO t VALUES (1); ROLLBACK;
BEGIN; SELECT txid_current() > 0; COMMIT;
BEGIN; CREATE TABLE ddl_only (id int); DROP TABLE ddl_only; COMMIT;
INSERT INTO other VALUES (1);
DELETE FROM t;
SELECT count(*) FROM helper.frames('{"tables": ["public.t"]}') f;

-- A small transaction is one frame.
BEGIN;
INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i;
UPDATE t SET v = 'y' WHERE id <= 50;
DELETE FROM t;
COMMIT;
SELECT count(*) FROM helper.frames(NULL) f;

-- A large one is several, and its ordinals count on.
INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 1000) i;
CREATE TEMP TABLE many AS SELECT row_number() OVER () AS n, f AS frame FROM helper.frames(NULL) f;
SELECT count(*) BETWEEN 10 AND 20 AS several, max(length(frame)) < 70000 AS small_ones FROM many;
SELECT count(*), count(DISTINCT d.xid::text), min(d.ordinal), max(d.ordinal), count(DISTINCT d.ordinal),
    sum((d.after->>'id')::int) FROM (SELECT frame FROM many ORDER BY n) m, walferry.decode(m.frame) d;
-- The schemas are in the first frame only.
SELECT d.* FROM (SELECT frame FROM many ORDER BY n OFFSET 1 LIMIT 1) m, walferry.decode(m.frame) d LIMIT 1;
DROP TABLE many;
TRUNCATE t;

-- Subtransactions: kept, released, rolled back, nested.
BEGIN;
INSERT INTO t VALUES (1, 'top');
SAVEPOINT a;
INSERT INTO t VALUES (2, 'kept');
SAVEPOINT b;
INSERT INTO t VALUES (3, 'lost');
ROLLBACK TO b;
INSERT INTO t VALUES (4, 'after b');
RELEASE a;
SAVEPOINT c;
UPDATE t SET v = 'lost';
ROLLBACK TO c;
INSERT INTO t VALUES (5, 'end');
COMMIT;
DO $$
BEGIN
    FOR i IN 10..14 LOOP
        BEGIN
            INSERT INTO t VALUES (i, 'loop');
            IF i % 2 = 0 THEN RAISE EXCEPTION 'even'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END $$;
SELECT tx, ordinal, operation, after FROM helper.changes('{"operations": ["insert", "update", "delete"]}');

-- COPY logs many rows in one record; a failed one leaves nothing.
COPY t FROM STDIN;
20	a
21	\N
22	
\.
COPY t FROM STDIN;
30	a
20	b
\.
SELECT tx, ordinal, operation, after FROM helper.changes();

-- ON CONFLICT: only what became of it.
INSERT INTO t VALUES (20, 'new') ON CONFLICT DO NOTHING;
INSERT INTO t VALUES (20, 'new'), (40, 'new') ON CONFLICT (id) DO UPDATE SET v = excluded.v || '!';
SELECT tx, ordinal, operation, after FROM helper.changes();

-- Commands that change many rows in one statement, and rows changed more than once in a transaction.
BEGIN;
INSERT INTO t VALUES (50, 'a');
UPDATE t SET v = 'b' WHERE id = 50;
UPDATE t SET id = 51 WHERE id = 50;
DELETE FROM t WHERE id = 51;
COMMIT;
WITH gone AS (DELETE FROM t WHERE id < 20 RETURNING *) INSERT INTO other SELECT id FROM gone ORDER BY id;
SELECT tx, ordinal, operation, relation, before, after FROM helper.changes();

-- Triggers, foreign keys and rules: what they write is sent as well.
CREATE TABLE child (id int REFERENCES t ON DELETE CASCADE);
CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO other VALUES (new.id * 100); RETURN new; END $$;
CREATE TRIGGER log_it AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION log_it();
INSERT INTO child VALUES (21);
DELETE FROM t WHERE id = 21;
SELECT tx, ordinal, operation, relation, before, after FROM helper.changes();

-- Peeking twice gives the same, and getting moves on.
INSERT INTO t VALUES (60, 'a');
SELECT count(*) FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL);
SELECT count(*) FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL);
SELECT count(*) FROM helper.changes();
SELECT count(*) FROM helper.changes();

DROP TABLE child, t, other;
DROP FUNCTION log_it;
SELECT pg_drop_replication_slot('regression');

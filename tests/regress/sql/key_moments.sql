-- The key and the identity that a row had when it was changed, however often they are redefined before anybody reads.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');

-- Everything that the slot holds, with key and identity of each change's own schema, without consuming it. A relation
-- is announced before its first change under a schema: the last announcement before a change is the change's own.
CREATE FUNCTION peek() RETURNS TABLE (n bigint, operation text, relation text, fingerprint text, key text, identity text,
                                      before json, after json, unchanged text[]) LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE frames ON COMMIT DROP AS
        SELECT row_number() OVER () AS frame, data
        FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL);
    CREATE TEMP TABLE announced ON COMMIT DROP AS
        SELECT f.frame, r.id, r.relation, r.fingerprint, r.replica_identity,
               string_agg(r.column_name, ',' ORDER BY r.key_position) FILTER (WHERE r.key_position > 0) AS key,
               string_agg(r.column_name, ',' ORDER BY r.column_name) FILTER (WHERE r.identity) AS identity
        FROM (SELECT * FROM frames ORDER BY frame) f, walferry.relations(f.data) r GROUP BY 1, 2, 3, 4, 5;
    CREATE TEMP TABLE changed ON COMMIT DROP AS
        SELECT row_number() OVER () AS n, f.frame, d.* FROM (SELECT * FROM frames ORDER BY frame) f, walferry.decode(f.data) d;
    RETURN QUERY
        SELECT c.n, c.operation, c.relation, a.fingerprint, a.key, a.replica_identity || ':' || coalesce(a.identity, ''),
               c.before, c.after, c.unchanged
        FROM changed c LEFT JOIN LATERAL (SELECT * FROM announced a WHERE a.relation = c.relation AND a.frame <= c.frame
                                          ORDER BY a.id DESC LIMIT 1) a ON true
        ORDER BY c.n;
    DROP TABLE frames, announced, changed;
END
$$;

-- One key after the other, each row changed under its own: composite ones out of column order, an index as identity, with
-- columns that are dropped, renamed and retyped meanwhile, and no key at all in between. One transaction each.
CREATE TABLE t (a int NOT NULL, b text NOT NULL, c date NOT NULL, v text);
INSERT INTO t VALUES (1, 'one', '2024-02-29', 'v');
UPDATE t SET a = 2;
ALTER TABLE t ADD PRIMARY KEY (c, a);
UPDATE t SET v = 'w';
UPDATE t SET a = 3;
ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b);
UPDATE t SET a = 4;
UPDATE t SET b = 'two';
ALTER TABLE t RENAME b TO name;
UPDATE t SET name = 'three';
ALTER TABLE t ALTER name TYPE varchar(20);
UPDATE t SET name = 'four';
CREATE UNIQUE INDEX t_by_c ON t (c DESC, a);
ALTER TABLE t REPLICA IDENTITY USING INDEX t_by_c;
UPDATE t SET name = 'five';
UPDATE t SET a = 5;
ALTER TABLE t DROP CONSTRAINT t_pkey;
UPDATE t SET c = '2024-03-01';
DROP INDEX t_by_c;
UPDATE t SET c = '2024-03-02';
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET v = NULL;
ALTER TABLE t DROP COLUMN a, ADD COLUMN id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
UPDATE t SET v = 'x';
ALTER TABLE t REPLICA IDENTITY NOTHING;
UPDATE t SET v = 'y';
ALTER TABLE t REPLICA IDENTITY DEFAULT;
UPDATE t SET id = DEFAULT;
DELETE FROM t;
CREATE TEMP TABLE first_reading AS SELECT * FROM peek();
SELECT n, operation, key, identity, before, after FROM first_reading ORDER BY n;

-- A reading that begins again finds the same, as does one after more has happened to the table.
CREATE TEMP TABLE second_reading AS SELECT * FROM peek();
SELECT count(*), count(*) = (SELECT count(*) FROM first_reading) AS as_many FROM second_reading;
SELECT n FROM first_reading f FULL JOIN second_reading s USING (n) WHERE f::text IS DISTINCT FROM s::text;
DROP TABLE t;
CREATE TABLE t (other text PRIMARY KEY);
INSERT INTO t VALUES ('another table');
CREATE TEMP TABLE third_reading AS SELECT * FROM peek();
SELECT n, t.operation, t.key, t.after FROM first_reading f FULL JOIN third_reading t USING (n) WHERE f::text IS DISTINCT FROM t::text;
-- A column of another type is another schema, though its key has the same name.
SELECT key, identity, count(DISTINCT fingerprint) FROM third_reading GROUP BY 1, 2 HAVING count(DISTINCT fingerprint) > 1;
DROP TABLE t, first_reading, second_reading, third_reading;
SELECT pg_replication_slot_advance('regression', pg_current_wal_insert_lsn()) IS NOT NULL AS advanced;

-- The same within one transaction, some of it given up: which leaves the key as it was before.
CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL, v text);
INSERT INTO t VALUES (1, 10, 'v');
BEGIN;
UPDATE t SET a = 2;
SAVEPOINT s;
ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b);
UPDATE t SET b = 20;
ROLLBACK TO s;
UPDATE t SET a = 3, b = 30;
ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b, a);
UPDATE t SET b = 40;
SAVEPOINT s;
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET v = 'w';
RELEASE s;
UPDATE t SET v = 'x';
DELETE FROM t;
INSERT INTO t VALUES (1, 10, 'again');
COMMIT;
UPDATE t SET v = 'y';
SELECT n, operation, before, after FROM peek();
SELECT pg_replication_slot_advance('regression', pg_current_wal_insert_lsn()) IS NOT NULL AS advanced;

-- Announced in one transaction, each schema with the key of its rows.
BEGIN;
ALTER TABLE t REPLICA IDENTITY DEFAULT, DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (a);
UPDATE t SET a = 2;
ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b);
UPDATE t SET b = 2;
ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (v);
UPDATE t SET v = 'z';
COMMIT;
SELECT n, operation, before, after FROM peek();
SELECT place, column_name, key_position, identity FROM helper.schemas() WHERE key_position > 0 ORDER BY place;
DROP TABLE t;

-- A key that is a generated column, and one with a column that is older than the key and in no stored tuple.
CREATE TABLE t (a int, g text GENERATED ALWAYS AS ('g' || a) STORED PRIMARY KEY);
INSERT INTO t VALUES (1), (2);
UPDATE t SET a = 3 WHERE a = 1;
ALTER TABLE t ADD COLUMN late text NOT NULL DEFAULT 'late', DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (late, g);
UPDATE t SET a = 4 WHERE a = 2;
DELETE FROM t;
SELECT n, operation, key, before, after FROM peek() WHERE operation <> 'insert';
DROP TABLE t;
SELECT pg_replication_slot_advance('regression', pg_current_wal_insert_lsn()) IS NOT NULL AS advanced;

-- Not what looks like a key: partial, with an expression, not unique, with a column that may be null, deferrable,
-- or an index that covers more columns than it has keys.
CREATE TABLE t (a int NOT NULL, b text NOT NULL, v text);
CREATE UNIQUE INDEX ON t (a) WHERE b <> '';
CREATE UNIQUE INDEX ON t (lower(b));
CREATE UNIQUE INDEX ON t (v);
ALTER TABLE t ADD UNIQUE (a, b) DEFERRABLE;
INSERT INTO t VALUES (1, 'b', 'v');
UPDATE t SET a = 2, b = 'c';
ALTER TABLE t ADD PRIMARY KEY (a) INCLUDE (b);
UPDATE t SET b = 'd';
UPDATE t SET a = 3;
DELETE FROM t;
SELECT n, operation, key, identity, before, after FROM peek();
DROP TABLE t;
SELECT pg_replication_slot_advance('regression', pg_current_wal_insert_lsn()) IS NOT NULL AS advanced;

-- A deferrable primary key may be violated in between: it is no key, and nothing is logged of it.
CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, v text);
INSERT INTO t VALUES (1, 'v');
UPDATE t SET id = 2;
DELETE FROM t;
ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id);
INSERT INTO t VALUES (3, 'v');
DELETE FROM t;
SELECT n, operation, key, identity, before, after FROM peek();
DROP TABLE t;
SELECT pg_replication_slot_advance('regression', pg_current_wal_insert_lsn()) IS NOT NULL AS advanced;

-- A key change that is none: the same value written again; and one in a letter only.
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t (k text COLLATE any_case PRIMARY KEY, n numeric);
INSERT INTO t VALUES ('Key', 1.0);
UPDATE t SET k = k;
UPDATE t SET k = 'KEY';
ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (n);
UPDATE t SET n = 1.0;
UPDATE t SET n = 1.00;
SELECT n, operation, key, before, after FROM peek();
DROP TABLE t;
DROP COLLATION any_case;

DROP FUNCTION peek;
SELECT pg_drop_replication_slot('regression');

-- Values out of line: unchanged ones are told from NULL, changed ones come whole.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');

CREATE FUNCTION noise(size int) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT left(string_agg(md5(i::text), ''), size) FROM generate_series(1, size / 32 + 1) i $$;
CREATE TABLE toasted (id int PRIMARY KEY, n int, a text, b text, c bytea, d jsonb, e numeric, f text[]);
ALTER TABLE toasted ALTER a SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL;

INSERT INTO toasted VALUES (1, 1, noise(5000), noise(9000), noise(8000)::bytea, jsonb_build_object('k', noise(9000)),
    translate(noise(60000), 'abcdef', '123456')::numeric, ARRAY[noise(6000), NULL, noise(100)]),
    (2, 1, repeat('a', 100000), repeat('b', 1000000), '', '{}', 0, '{}'),
    (3, 1, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT * FROM helper.differences('toasted');

UPDATE toasted SET n = 2 WHERE id = 1;
SELECT tx, ordinal, operation, before, after, unchanged FROM helper.changes();
UPDATE toasted SET b = NULL, n = 3 WHERE id = 1;
SELECT tx, ordinal, operation, before, after, unchanged FROM helper.changes();
UPDATE toasted SET a = 'short', d = NULL, f = '{}' WHERE id = 1;
SELECT tx, ordinal, operation, before, after, unchanged FROM helper.changes();
UPDATE toasted SET a = noise(5001) WHERE id = 1;
SELECT tx, ordinal, operation, length(after->>'a'), after->>'a' = noise(5001) AS a, unchanged FROM helper.changes();
DELETE FROM toasted WHERE id IN (1, 3);
SELECT tx, ordinal, operation, before, after, unchanged FROM helper.changes();

-- The whole before image is flattened by the server: nothing in it is out of line.
ALTER TABLE toasted REPLICA IDENTITY FULL;
INSERT INTO toasted VALUES (4, 1, noise(5000), noise(9000), noise(8000)::bytea, '{}', 0, '{}');
UPDATE toasted SET n = 2 WHERE id = 4;
UPDATE toasted SET a = NULL WHERE id = 4;
DELETE FROM toasted WHERE id = 4;
SELECT tx, operation, length(before->>'a') AS before_a, before->>'b' = noise(9000) AS before_b,
    before->>'c' = noise(8000)::bytea::text AS before_c, after->>'n' AS n, after->>'a' IS NULL AS after_a_null, unchanged
    FROM helper.changes() WHERE operation <> 'insert';

-- A key that is itself out of line comes with every update.
CREATE TABLE toasted_key (k text PRIMARY KEY, v int);
ALTER TABLE toasted_key ALTER k SET STORAGE EXTERNAL;
INSERT INTO toasted_key VALUES (noise(2500), 1);
UPDATE toasted_key SET v = 2;
DELETE FROM toasted_key;
SELECT tx, operation, before->>'k' = noise(2500) AS before_k, before->>'v' AS before_v, after->>'v' AS v,
    after->>'k' = noise(2500) AS k, unchanged FROM helper.changes();

-- Several large rows in one transaction, also in subtransactions, one of which is rolled back.
BEGIN;
INSERT INTO toasted VALUES (5, 1, noise(5000));
SAVEPOINT s;
INSERT INTO toasted VALUES (6, 1, noise(70000));
ROLLBACK TO s;
INSERT INTO toasted VALUES (7, 1, noise(150000));
COMMIT;
SELECT tx, ordinal, operation, after->>'id' AS id, length(after->>'a') FROM helper.changes();

DROP TABLE toasted, toasted_key;
DROP FUNCTION noise;
SELECT pg_drop_replication_slot('regression');

-- Before and after images that are put together from several places: values out of line, generated columns, identities
-- that change while rows are changed. A reader that replays them has what the table has.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
SELECT helper.open_mirror();
CREATE FUNCTION noise(seed int, size int) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT left(string_agg(md5((seed * 1000 + i)::text), ''), size) FROM generate_series(1, size / 32 + 1) i $$;

-- Unchanged is not NULL: every combination of the two in one row, under each identity. Lengths stand for large values.
CREATE TABLE mixed (id int PRIMARY KEY, n int, a text, b text, c text);
ALTER TABLE mixed ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL;
CREATE FUNCTION briefly(row_text json) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_object_agg(key, CASE WHEN length(value) > 100 THEN to_jsonb(length(value)) ELSE to_jsonb(value) END)
    FROM json_each_text(row_text)
$$;
CREATE FUNCTION mix() RETURNS void LANGUAGE sql AS $$
    DELETE FROM mixed;
    INSERT INTO mixed VALUES (1, 1, noise(1, 3000), NULL, noise(2, 4000)), (2, 1, NULL, NULL, NULL);
    UPDATE mixed SET n = 2;
    UPDATE mixed SET a = NULL, b = noise(3, 5000) WHERE id = 1;
    UPDATE mixed SET n = NULL, c = noise(4, 4000) WHERE id = 1;
    UPDATE mixed SET id = 3 WHERE id = 1;
    UPDATE mixed SET c = '' WHERE id = 3;
    UPDATE mixed SET b = b WHERE id = 3;
    UPDATE mixed SET b = b || '' WHERE id = 3;
    UPDATE mixed SET b = 'in line' WHERE id = 3;
$$;
SELECT mix();
SELECT operation, briefly(before) AS before, briefly(after) AS after, unchanged FROM helper.changes();
ALTER TABLE mixed REPLICA IDENTITY FULL;
SELECT mix();
SELECT operation, briefly(before) AS before, briefly(after) AS after, unchanged FROM helper.changes();
ALTER TABLE mixed REPLICA IDENTITY NOTHING;
SELECT mix();
SELECT operation, briefly(before) AS before, briefly(after) AS after, unchanged FROM helper.changes();
DROP TABLE mixed;
DROP FUNCTION mix;

-- Large values in every kind of transaction: together with what else moves, copies or rewrites them.
CREATE TABLE large (id int PRIMARY KEY, n int, a text, b text);
ALTER TABLE large ALTER a SET STORAGE EXTERNAL;
INSERT INTO large SELECT i, i, noise(i, 3000), noise(i, 9000) FROM generate_series(1, 10) i;
BEGIN;
UPDATE large SET n = n + 1;
SAVEPOINT s;
UPDATE large SET a = noise(id + 100, 3000) WHERE id < 4;
ROLLBACK TO s;
UPDATE large SET a = noise(id + 200, 3000) WHERE id BETWEEN 3 AND 5;
INSERT INTO large SELECT id + 100, n, a, b FROM large WHERE id < 6;
UPDATE large SET n = 0 WHERE id = 101;
UPDATE large SET id = id + 1000 WHERE id > 100;
COMMIT;
SELECT * FROM helper.replay();
SELECT * FROM helper.mirror_differences('large');
INSERT INTO large SELECT 1, 7, noise(7, 5000), noise(8, 5000)
    ON CONFLICT (id) DO UPDATE SET n = excluded.n, b = excluded.b;
INSERT INTO large VALUES (2, 8, noise(9, 5000), NULL) ON CONFLICT (id) DO UPDATE SET a = NULL;
INSERT INTO large VALUES (3, 8, noise(9, 5000), NULL) ON CONFLICT DO NOTHING;
MERGE INTO large l USING (VALUES (4), (5), (2000)) s (id) ON l.id = s.id
    WHEN MATCHED THEN UPDATE SET n = -1
    WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0, noise(s.id, 4000), noise(s.id, 4000));
SELECT * FROM helper.replay();
SELECT * FROM helper.mirror_differences('large');
VACUUM FULL large;
UPDATE large SET n = 3 WHERE id < 5;
ALTER TABLE large ALTER n TYPE bigint;
UPDATE large SET n = 4 WHERE id > 5;
CLUSTER large USING large_pkey;
UPDATE large SET b = a, n = 5 WHERE id IN (2, 7);
SELECT * FROM helper.replay();
SELECT * FROM helper.mirror_differences('large');
-- Rows that are older than a column tell its default once they are changed; the reader has to take it from the schema.
UPDATE mirror SET row_text = row_text || jsonb_build_object('late', repeat('late', 900));
ALTER TABLE large ALTER a SET STORAGE MAIN, ALTER b SET STORAGE EXTERNAL, ADD COLUMN late text DEFAULT repeat('late', 900);
UPDATE large SET n = 6 WHERE id % 2 = 1;
UPDATE large SET late = NULL WHERE id = 3;
ALTER TABLE large REPLICA IDENTITY FULL;
UPDATE large SET n = 7 WHERE id % 3 = 1;
UPDATE large SET id = -id WHERE id % 3 = 2;
ALTER TABLE large REPLICA IDENTITY DEFAULT;
UPDATE large SET n = 8, late = 'x' WHERE id % 4 = 1;
DELETE FROM large WHERE id % 5 = 0;
SELECT * FROM helper.replay();
SELECT side, left(row_text::text, 100) FROM helper.mirror_differences('large');
-- Each row that replica identity FULL says whole can be healed from its own before image.
ALTER TABLE large REPLICA IDENTITY FULL;
UPDATE large SET n = 9;
SELECT count(*) AS rows, count(*) FILTER (WHERE unchanged IS NOT NULL) AS with_unchanged,
    bool_and((SELECT bool_and(before::jsonb ? u) FROM unnest(unchanged) u)) AS all_in_before,
    bool_and((before::jsonb || after::jsonb)->>'a' = l.a AND (before::jsonb || after::jsonb)->>'b' = l.b) AS healed
    FROM helper.changes() c JOIN large l ON l.id = (c.after->>'id')::int;
DROP TABLE large;

-- Generated columns, identity columns and defaults are values like others, in every image. Sequences are not told.
CREATE SEQUENCE free_sequence;
CREATE TABLE made (id int GENERATED BY DEFAULT AS IDENTITY (START 10 INCREMENT 5) PRIMARY KEY, always int GENERATED ALWAYS AS IDENTITY,
    serial bigserial, free int DEFAULT nextval('free_sequence'), a int, b text DEFAULT 'b',
    twice int GENERATED ALWAYS AS (a * 2) STORED, both_of text GENERATED ALWAYS AS (coalesce(b, '-') || a::text) STORED,
    big text GENERATED ALWAYS AS (repeat(b, 3000)) STORED);
ALTER TABLE made ALTER big SET STORAGE EXTERNAL;
INSERT INTO made (a) VALUES (1), (NULL);
INSERT INTO made (id, a, b) VALUES (7, 3, NULL);
INSERT INTO made (always, a) OVERRIDING SYSTEM VALUE VALUES (-1, 4);
SELECT operation, briefly(after) AS after FROM helper.changes();
UPDATE made SET a = a + 1 WHERE id = 10;
UPDATE made SET b = 'bb' WHERE id = 7;
UPDATE made SET always = DEFAULT, id = 8 WHERE id = 7;
SELECT operation, briefly(before) AS before, briefly(after) AS after, unchanged FROM helper.changes();
ALTER TABLE made REPLICA IDENTITY FULL;
UPDATE made SET a = a + 1;
ALTER TABLE made ALTER twice DROP EXPRESSION;
UPDATE made SET twice = 0 WHERE id = 8;
DELETE FROM made WHERE id = 8;
SELECT setval('free_sequence', 100), setval(pg_get_serial_sequence('made', 'id'), 100);
TRUNCATE made RESTART IDENTITY;
INSERT INTO made (a) VALUES (NULL);
SELECT operation, briefly(before) AS before, briefly(after) AS after, unchanged, detail FROM helper.changes();
INSERT INTO made (a) VALUES (1);
ALTER TABLE made DROP COLUMN twice;
INSERT INTO made (a) VALUES (1);
SELECT place, column_name, generated FROM helper.schemas() WHERE column_name IN ('twice', 'both_of', 'always') ORDER BY 1, 2;
DROP TABLE made;
DROP SEQUENCE free_sequence;

-- A table without columns, and one whose row is all NULL, under FULL.
CREATE TABLE nothing ();
ALTER TABLE nothing REPLICA IDENTITY FULL;
INSERT INTO nothing DEFAULT VALUES;
DELETE FROM nothing;
CREATE TABLE only_null (a int, b text);
ALTER TABLE only_null REPLICA IDENTITY FULL;
INSERT INTO only_null DEFAULT VALUES;
UPDATE only_null SET a = NULL;
DELETE FROM only_null;
SELECT operation, relation, before, after FROM helper.changes();
DROP TABLE nothing, only_null;

DROP FUNCTION noise, briefly;
SELECT pg_drop_replication_slot('regression');

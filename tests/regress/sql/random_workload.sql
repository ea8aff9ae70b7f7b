-- A few thousand random statements in transactions with random ends, over tables that differ in identity, partitions and large
-- values: a reader that replays the changes has what the tables have. The seed is told, so that a failure can be repeated.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
SELECT helper.open_mirror();

CREATE TABLE by_key (id int PRIMARY KEY, n int, v text, big text);
CREATE TABLE whole (LIKE by_key INCLUDING ALL);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE by_index (id int NOT NULL, n int NOT NULL, v text, big text);
CREATE UNIQUE INDEX by_index_identity ON by_index (id);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_identity;
CREATE TABLE parts (id int PRIMARY KEY, n int, v text, big text) PARTITION BY HASH (id);
CREATE TABLE parts0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts1 (big text, gone int, v text, n int, id int NOT NULL);
ALTER TABLE parts1 DROP COLUMN gone, REPLICA IDENTITY FULL;
ALTER TABLE parts ATTACH PARTITION parts1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE by_key ALTER big SET STORAGE EXTERNAL;
ALTER TABLE whole ALTER big SET STORAGE EXTERNAL;

CREATE FUNCTION any_of(high int) RETURNS int LANGUAGE sql AS $$ SELECT 1 + floor(random() * high)::int $$;
CREATE FUNCTION text_of(seed int) RETURNS text LANGUAGE sql AS $$
    SELECT CASE seed % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN (SELECT string_agg(md5((seed + i)::text), '')
                                                                     FROM generate_series(1, 90) i)
                ELSE 'v' || seed END
$$;
CREATE PROCEDURE one_statement() LANGUAGE plpgsql AS $$
DECLARE
    t text := (ARRAY['by_key', 'whole', 'by_index', 'parts'])[any_of(4)];
    a int := any_of(60);
    b int := any_of(60);
    s int := any_of(1000);
BEGIN
    CASE any_of(12)
        WHEN 1, 2, 3, 4 THEN
            EXECUTE format('INSERT INTO %s SELECT i, %s, text_of(i + %s), text_of(i + %s) FROM generate_series(%s, %s) i
                            ON CONFLICT (id) DO NOTHING', t, s, s, s + 1, least(a, b), least(a, b) + any_of(10));
        WHEN 5 THEN
            EXECUTE format('INSERT INTO %1$s VALUES (%2$s, %3$s, text_of(%3$s), text_of(%3$s + 1)), (%2$s + 200, 0, NULL, text_of(2))
                            ON CONFLICT (id) DO UPDATE SET v = excluded.v, n = %1$s.n + 1', t, a, s);
        WHEN 6, 7 THEN EXECUTE format('UPDATE %s SET n = n + 1 WHERE id %% 7 = %s', t, s % 7);
        WHEN 8 THEN EXECUTE format('UPDATE %s SET v = text_of(%s), big = text_of(%s + id) WHERE id BETWEEN %s AND %s', t, s, s,
                                   least(a, b), least(a, b) + 5);
        WHEN 9 THEN EXECUTE format('UPDATE %1$s SET id = -id, big = NULLIF(big, '''') WHERE id BETWEEN %2$s AND %2$s + 3
                                    AND NOT EXISTS (SELECT FROM %1$s o WHERE o.id = -%1$s.id)', t, a);
        WHEN 10, 11 THEN EXECUTE format('DELETE FROM %s WHERE abs(id) BETWEEN %s AND %s', t, a, a + any_of(3));
        WHEN 12 THEN IF s % 15 = 0 THEN EXECUTE format('TRUNCATE %s', t); END IF;
    END CASE;
END
$$;
-- Statements within subtransactions within each other, of which a third is given up.
CREATE PROCEDURE some_statements(depth int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..any_of(6) LOOP
        CALL one_statement();
        IF depth < 3 AND random() < 0.3 THEN
            BEGIN
                CALL some_statements(depth + 1);
                IF random() < 0.33 THEN RAISE EXCEPTION USING errcode = 'WF000'; END IF;
            EXCEPTION WHEN SQLSTATE 'WF000' THEN NULL;
            END;
        END IF;
    END LOOP;
END
$$;
CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..100 LOOP
        CALL some_statements(0);
        IF random() < 0.2 THEN ROLLBACK; ELSE COMMIT; END IF;
    END LOOP;
END
$$;
CREATE FUNCTION differences() RETURNS TABLE (relation text, side text, row_text jsonb) LANGUAGE sql AS $$
    SELECT r::text, d.* FROM unnest('{by_key,whole,by_index,parts}'::regclass[]) r, helper.mirror_differences(r) d
$$;

\set seed `echo ${WALFERRY_SEED:-$(date +%s)}`
SELECT setseed((:seed % 1000000) / 1000000.0);
CALL work();
CREATE TEMP TABLE counted AS SELECT * FROM helper.replay('{id}', '{"publish_via_root": true}');
\if :ERROR
    \echo repeat with WALFERRY_SEED= :seed
\endif
SELECT count(*) AS operations, sum(changes) > 1000 AS many FROM counted WHERE operation <> 'truncate';
CREATE TEMP TABLE wrong AS SELECT * FROM differences();
SELECT CASE WHEN EXISTS (SELECT FROM wrong) THEN 'WALFERRY_SEED=' || :seed END AS repeat_with, relation, side, left(row_text::text, 200)
    FROM wrong;
-- Once more, spilled to disk.
SET logical_decoding_work_mem = '64kB';
CALL work();
TRUNCATE counted;
INSERT INTO counted SELECT * FROM helper.replay('{id}', '{"publish_via_root": true}');
\if :ERROR
    \echo repeat with WALFERRY_SEED= :seed
\endif
SELECT count(*) AS operations, sum(changes) > 1000 AS many FROM counted WHERE operation <> 'truncate';
TRUNCATE wrong;
INSERT INTO wrong SELECT * FROM differences();
SELECT CASE WHEN EXISTS (SELECT FROM wrong) THEN 'WALFERRY_SEED=' || :seed END AS repeat_with, relation, side, left(row_text::text, 200)
    FROM wrong;

DROP TABLE by_key, whole, by_index, parts;
DROP FUNCTION any_of, text_of, differences;
DROP PROCEDURE work, some_statements, one_statement;
SELECT pg_drop_replication_slot('regression');

-- Rows of partitions in partitions, whose columns lie in another order, with dropped ones between, other replica identities
-- and tables that come and go: replayed leaf by leaf, and under the root's name.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
SELECT helper.open_mirror();

CREATE TABLE root (id int, part int, sub int, v text, big text, PRIMARY KEY (part, sub, id)) PARTITION BY LIST (part);
CREATE TABLE plain PARTITION OF root FOR VALUES IN (1);
CREATE TABLE middle (big text, gone date, sub int NOT NULL, v text, part int NOT NULL, id int NOT NULL) PARTITION BY RANGE (sub);
ALTER TABLE middle DROP COLUMN gone;
CREATE TABLE low (v text, gone int, id int NOT NULL, big text, part int NOT NULL, sub int NOT NULL);
ALTER TABLE low DROP COLUMN gone, ALTER big SET STORAGE EXTERNAL;
CREATE TABLE high (part int NOT NULL, sub int NOT NULL, big text, id int NOT NULL, v text) PARTITION BY HASH (id);
CREATE TABLE even PARTITION OF high FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE odd (sub int NOT NULL, v text, id int NOT NULL, part int NOT NULL, big text);
ALTER TABLE high ATTACH PARTITION odd FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE middle ATTACH PARTITION low FOR VALUES FROM (MINVALUE) TO (100);
ALTER TABLE middle ATTACH PARTITION high FOR VALUES FROM (100) TO (MAXVALUE);
ALTER TABLE root ATTACH PARTITION middle FOR VALUES IN (2);
CREATE TABLE rest PARTITION OF root DEFAULT;
ALTER TABLE low REPLICA IDENTITY FULL;
CREATE UNIQUE INDEX odd_identity ON odd (id, sub, part);
ALTER TABLE odd REPLICA IDENTITY USING INDEX odd_identity;
-- Each partition has an identity of its own; the root's says nothing of them.
ALTER TABLE root REPLICA IDENTITY NOTHING;

CREATE FUNCTION noise(seed int) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT string_agg(md5((seed * 1000 + i)::text), '') FROM generate_series(1, 100) i $$;
CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO root (id, part, sub, v, big) SELECT i, i % 4, i * 3, 'v' || i, CASE i % 5 WHEN 0 THEN noise(i) END
        FROM generate_series(1, 80) i;
    COMMIT;
    UPDATE root SET v = v || '+' WHERE id % 3 = 0;
    COMMIT;
    -- To another partition, and to another level: out of line values move with the row.
    UPDATE root SET part = 2 WHERE id % 4 = 1 AND id < 40;
    UPDATE root SET sub = sub + 100 WHERE part = 2 AND sub < 60;
    UPDATE root SET part = 9, id = id + 1000 WHERE id BETWEEN 70 AND 75;
    COMMIT;
    BEGIN
        UPDATE root SET part = 1, v = 'lost';
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
        DELETE FROM root WHERE id % 7 = 0;
    END;
    UPDATE low SET big = v WHERE id % 2 = 0;
    INSERT INTO root (id, part, sub, v) VALUES (5, 2, 15, 'again'), (6, 2, 118, 'conflict'), (2000, 2, 5, NULL)
        ON CONFLICT (part, sub, id) DO UPDATE SET v = excluded.v || '!';
    COMMIT;
    MERGE INTO root r USING (SELECT id, part, sub FROM root WHERE id % 5 = 0) s ON r.id = s.id AND r.part = s.part AND r.sub = s.sub
        WHEN MATCHED AND s.part = 0 THEN DELETE
        WHEN MATCHED AND s.part = 3 THEN UPDATE SET part = 2
        WHEN MATCHED THEN UPDATE SET v = 'merged';
    COMMIT;
END
$$;

-- Leaf by leaf.
CALL work();
SELECT relation, operation, count(*) FROM (SELECT d.* FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL) c,
    walferry.decode(c.data) d) d GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM helper.replay('{id,part,sub}');
SELECT r, d.* FROM unnest('{plain,low,even,odd,rest}'::regclass[]) r, helper.mirror_differences(r) d;
-- Under the root's name, what is out of line in one partition is whole in the other.
TRUNCATE mirror;
TRUNCATE root;
CALL work();
SELECT relation, operation, count(*) FROM (SELECT d.* FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL,
    'options', '{"publish_via_root": true}') c, walferry.decode(c.data) d) d GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM helper.replay('{id,part,sub}', '{"publish_via_root": true}');
SELECT * FROM helper.mirror_differences('root');

-- Detached, changed, and attached elsewhere: each row under the root of its moment.
BEGIN;
UPDATE low SET v = 'still in';
ALTER TABLE middle DETACH PARTITION low;
INSERT INTO low (id, part, sub, v) VALUES (3000, 2, 50, 'on its own');
DELETE FROM low WHERE id % 2 = 0;
SAVEPOINT s;
DROP TABLE rest;
INSERT INTO low (id, part, sub, v) VALUES (3001, 2, 50, 'lost');
ROLLBACK TO s;
ALTER TABLE middle ATTACH PARTITION low FOR VALUES FROM (MINVALUE) TO (100);
UPDATE root SET v = 'back' WHERE part = 2 AND sub < 100;
COMMIT;
SELECT relation, operation, count(*), min(after->>'v') AS v FROM helper.changes('{"publish_via_root": true}') GROUP BY 1, 2 ORDER BY 1, 2;
CREATE TABLE other_root (id int, part int, sub int, v text, big text, note text) PARTITION BY LIST (part);
ALTER TABLE root DETACH PARTITION middle;
ALTER TABLE middle ADD COLUMN note text DEFAULT 'noted';
INSERT INTO middle (id, part, sub, v) VALUES (4000, 2, 1, 'low'), (4001, 2, 200, 'high');
ALTER TABLE other_root ATTACH PARTITION middle FOR VALUES IN (2);
UPDATE other_root SET note = 'other' WHERE id >= 4000;
TRUNCATE middle;
INSERT INTO other_root (id, part, sub) VALUES (4002, 2, 1), (4003, 2, 200);
TRUNCATE other_root, root;
SELECT tx, operation, relation, before, after FROM helper.changes('{"publish_via_root": true}') ORDER BY tx, ordinal;
DROP TABLE root, other_root;

-- A partition that is made, filled and dropped again; one that was a table with rows; and a table that becomes the root.
CREATE TABLE root (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE old (v text, id int PRIMARY KEY);
INSERT INTO old VALUES ('older than the root', 1);
BEGIN;
CREATE TABLE new PARTITION OF root FOR VALUES FROM (100) TO (200);
INSERT INTO root VALUES (100, 'new');
DROP TABLE new;
ALTER TABLE root ATTACH PARTITION old FOR VALUES FROM (0) TO (100);
UPDATE root SET v = 'attached';
COMMIT;
ALTER TABLE root RENAME TO trunk;
ALTER TABLE old RENAME TO root;
UPDATE root SET v = 'the leaf has the name now';
SELECT tx, operation, relation, before, after FROM helper.changes('{"publish_via_root": true}') ORDER BY tx, ordinal;
DROP TABLE trunk;

-- Inheritance: each table under its own name, with its own columns and identity, also where a statement names the parent.
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (extra text) INHERITS (parent);
CREATE TABLE grandchild (more int DEFAULT 1) INHERITS (child);
CREATE TABLE mother (note text, v text);
CREATE TABLE both_of () INHERITS (parent, mother);
ALTER TABLE child REPLICA IDENTITY FULL;
INSERT INTO parent VALUES (1, 'parent');
INSERT INTO child VALUES (2, 'child', 'x');
INSERT INTO grandchild VALUES (3, 'grandchild', NULL);
INSERT INTO both_of VALUES (4, 'both', 'note');
UPDATE parent SET v = v || '!', id = id + 10;
ALTER TABLE parent ADD COLUMN late text DEFAULT 'late', DROP COLUMN v;
UPDATE ONLY parent SET late = NULL;
ALTER TABLE child NO INHERIT parent;
UPDATE parent SET late = 'second';
DELETE FROM child WHERE id = 12;
TRUNCATE ONLY parent;
TRUNCATE parent, child;
SELECT tx, operation, relation, before, after FROM helper.changes('{"publish_via_root": true}') ORDER BY tx, ordinal;
DROP TABLE parent, mother, both_of, child, grandchild;

DROP PROCEDURE work;
DROP FUNCTION noise;
SELECT pg_drop_replication_slot('regression');

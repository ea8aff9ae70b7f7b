-- Partitions under their own names, or under that of their root.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
SELECT 'made' FROM pg_create_logical_replication_slot('by_root', 'walferry');

-- Both readings of the same changes.
CREATE FUNCTION both_ways() RETURNS TABLE (via text, tx bigint, ordinal bigint, operation text, relation text, before json,
    after json, detail json) LANGUAGE sql AS $$
    SELECT 'leaf', tx, ordinal, operation, relation, before, after, detail FROM helper.changes()
    UNION ALL
    SELECT 'root', dense_rank() OVER (ORDER BY d.end_lsn), d.ordinal, d.operation, d.relation, d.before, d.after, d.detail
    FROM pg_logical_slot_get_binary_changes('by_root', NULL, NULL, 'options', '{"publish_via_root": true}') AS c,
        walferry.decode(c.data) AS d
$$;

CREATE TABLE root (id int, part int, v text, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
CREATE TABLE leaf1 PARTITION OF root FOR VALUES IN (1);
CREATE TABLE middle (v text, part int NOT NULL, id int NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE leaf2 (gone int, id int NOT NULL, v text, part int NOT NULL);
ALTER TABLE leaf2 DROP COLUMN gone;
ALTER TABLE middle ATTACH PARTITION leaf2 FOR VALUES FROM (0) TO (1000);
ALTER TABLE root ATTACH PARTITION middle FOR VALUES IN (2);
INSERT INTO root VALUES (1, 1, 'a'), (2, 2, 'b');
UPDATE root SET v = 'c';
UPDATE root SET part = 2 WHERE id = 1;
DELETE FROM root WHERE id = 2;
SELECT * FROM both_ways();

INSERT INTO leaf2 (id, part, v) VALUES (5, 2, 'e');
TRUNCATE root;
TRUNCATE middle;
TRUNCATE leaf1, leaf2;
TRUNCATE root RESTART IDENTITY CASCADE;
SELECT * FROM both_ways();

INSERT INTO root VALUES (1, 1, 'a'), (2, 2, 'b');
ALTER TABLE root RENAME TO trunk;
INSERT INTO trunk VALUES (3, 1, 'a'), (4, 2, 'b');
CREATE SCHEMA garden;
ALTER TABLE trunk SET SCHEMA garden;
INSERT INTO garden.trunk VALUES (5, 1, 'a'), (6, 2, 'b');
ALTER SCHEMA garden RENAME TO park;
INSERT INTO park.trunk VALUES (7, 1, 'a'), (8, 2, 'b');
ALTER TABLE park.trunk DETACH PARTITION middle;
INSERT INTO park.trunk VALUES (9, 1, 'a');
INSERT INTO middle (id, part, v) VALUES (10, 2, 'b');
CREATE TABLE other_root (v text, id int, part int) PARTITION BY LIST (part);
ALTER TABLE other_root ATTACH PARTITION middle FOR VALUES IN (2);
INSERT INTO middle (id, part, v) VALUES (11, 2, 'b');
SELECT * FROM both_ways();

-- What is announced: with the root's name also where the row really lies.
INSERT INTO other_root (id, part, v) VALUES (12, 2, 'b');
SELECT relation, column_name, key_position, identity FROM helper.schemas('{"publish_via_root": true}');
DROP TABLE park.trunk, other_root;
DROP SCHEMA park;

-- Patterns match a partition by its own name and by those above it; the last match decides.
SELECT count(*) > 0 FROM both_ways();
CREATE TABLE root (id int) PARTITION BY LIST (id);
CREATE TABLE leaf1 PARTITION OF root FOR VALUES IN (1);
CREATE TABLE leaf2 PARTITION OF root FOR VALUES IN (2);
INSERT INTO root VALUES (1), (2);
TRUNCATE root;
CREATE FUNCTION peek(options text) RETURNS TABLE (operation text, relation text, after json) LANGUAGE sql AS $$
    SELECT d.operation, d.relation, d.after
    FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL, 'options', options) AS c,
        walferry.decode(c.data) AS d
$$;
SELECT * FROM peek('{"tables": ["public.root"]}');
SELECT * FROM peek('{"tables": ["public.root"], "publish_via_root": true}');
SELECT * FROM peek('{"tables": ["public.leaf1"]}');
SELECT * FROM peek('{"tables": ["public.leaf1"], "publish_via_root": true}');
SELECT * FROM peek('{"tables": ["public.root", "!public.leaf1"]}');
SELECT * FROM peek('{"tables": ["public.root", "!public.leaf1"], "publish_via_root": true}');
SELECT * FROM peek('{"tables": ["!public.root", "public.leaf1"]}');

DROP FUNCTION both_ways, peek;
DROP TABLE root;
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database();

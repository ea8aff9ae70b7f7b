-- Insert, update and delete with every replica identity.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');

CREATE TABLE by_default (id int PRIMARY KEY, v text);
CREATE TABLE no_key (id int, v text);
CREATE TABLE full_identity (id int PRIMARY KEY, v text, w int);
ALTER TABLE full_identity REPLICA IDENTITY FULL;
CREATE TABLE full_without_key (a int, b text);
ALTER TABLE full_without_key REPLICA IDENTITY FULL;
CREATE TABLE using_index (id int PRIMARY KEY, code text NOT NULL, v text);
CREATE UNIQUE INDEX using_index_code ON using_index (code) INCLUDE (v);
ALTER TABLE using_index REPLICA IDENTITY USING INDEX using_index_code;
CREATE TABLE nothing (id int PRIMARY KEY, v text);
ALTER TABLE nothing REPLICA IDENTITY NOTHING;

INSERT INTO by_default VALUES (1, 'a'), (2, NULL);
UPDATE by_default SET v = 'b' WHERE id = 1;
UPDATE by_default SET id = 3 WHERE id = 1;
UPDATE by_default SET id = 3, v = NULL WHERE id = 3;
DELETE FROM by_default WHERE id = 2;
SELECT * FROM helper.changes();

INSERT INTO no_key VALUES (1, 'a');
UPDATE no_key SET v = 'b';
DELETE FROM no_key;
SELECT * FROM helper.changes();

INSERT INTO full_identity VALUES (1, 'a', NULL);
UPDATE full_identity SET v = NULL, w = 1;
UPDATE full_identity SET id = 2;
DELETE FROM full_identity;
INSERT INTO full_without_key VALUES (1, NULL), (NULL, 'x');
UPDATE full_without_key SET b = 'y' WHERE a IS NULL;
DELETE FROM full_without_key;
SELECT * FROM helper.changes();

INSERT INTO using_index VALUES (1, 'a', 'v');
UPDATE using_index SET v = 'w';
UPDATE using_index SET id = 2;
UPDATE using_index SET code = 'b';
DELETE FROM using_index;
SELECT * FROM helper.changes();

INSERT INTO nothing VALUES (1, 'a');
UPDATE nothing SET v = 'b';
UPDATE nothing SET id = 2;
DELETE FROM nothing;
SELECT * FROM helper.changes();

-- A composite key in another order than the columns, with a dropped column before and between.
CREATE TABLE composite (gone0 int, a int, gone1 text, b text, c date, v text, PRIMARY KEY (c, a, b));
ALTER TABLE composite DROP COLUMN gone0, DROP COLUMN gone1;
INSERT INTO composite VALUES (1, 'x', '2024-02-29', 'v');
UPDATE composite SET v = 'w';
UPDATE composite SET a = 2;
DELETE FROM composite;
SELECT place, relation, replica_identity, column_name, type, value_class, key_position, identity, not_null
    FROM helper.schemas();
INSERT INTO composite VALUES (1, 'x', '2024-02-29', 'v');
UPDATE composite SET b = 'y';
DELETE FROM composite;
SELECT * FROM helper.changes();

-- Identity and key are announced apart from each other.
INSERT INTO using_index VALUES (1, 'a', 'v');
INSERT INTO full_identity VALUES (1, 'a', 1);
INSERT INTO nothing VALUES (1, 'a');
INSERT INTO no_key VALUES (1, 'a');
INSERT INTO by_default VALUES (1, 'a');
SELECT place, relation, replica_identity, column_name, key_position, identity, not_null FROM helper.schemas();

-- Each row has the identity of its own moment, in one transaction too. An identity whose index is gone is none.
BEGIN;
UPDATE by_default SET id = 10 WHERE id = 1;
ALTER TABLE by_default REPLICA IDENTITY FULL;
UPDATE by_default SET id = 11 WHERE id = 10;
ALTER TABLE by_default REPLICA IDENTITY NOTHING;
UPDATE by_default SET id = 12 WHERE id = 11;
COMMIT;
DROP INDEX using_index_code;
DELETE FROM using_index;
SELECT * FROM helper.changes();

-- A deferrable key identifies nothing.
CREATE TABLE deferrable_key (id int PRIMARY KEY DEFERRABLE, v text);
INSERT INTO deferrable_key VALUES (1, 'a');
DELETE FROM deferrable_key;
SELECT * FROM helper.changes();

DROP TABLE by_default, no_key, full_identity, full_without_key, using_index, nothing, composite, deferrable_key;
SELECT pg_drop_replication_slot('regression');

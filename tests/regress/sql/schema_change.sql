-- Each row has the schema of its own moment, however much later it is decoded.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');

SET intervalstyle = 'postgres';

CREATE TABLE changing (id int PRIMARY KEY, a text);
INSERT INTO changing VALUES (1, 'one');
ALTER TABLE changing ADD COLUMN b int;
INSERT INTO changing VALUES (2, 'two', 2);
ALTER TABLE changing RENAME COLUMN a TO renamed;
INSERT INTO changing VALUES (3, 'three', 3);
ALTER TABLE changing ALTER b TYPE text USING b || '!';
INSERT INTO changing VALUES (4, 'four', '4!');
ALTER TABLE changing DROP COLUMN renamed;
INSERT INTO changing VALUES (5, '5!');
ALTER TABLE changing RENAME TO changed;
INSERT INTO changed VALUES (6, '6!');
CREATE SCHEMA elsewhere;
ALTER TABLE changed SET SCHEMA elsewhere;
INSERT INTO elsewhere.changed VALUES (7, '7!');
ALTER SCHEMA elsewhere RENAME TO nowhere;
INSERT INTO nowhere.changed VALUES (8, '8!');
ALTER TABLE nowhere.changed DROP CONSTRAINT changing_pkey;
DELETE FROM nowhere.changed WHERE b IS NULL;
ALTER TABLE nowhere.changed ADD PRIMARY KEY (b);
UPDATE nowhere.changed SET b = 'x' WHERE id = 8;
DROP TABLE nowhere.changed;
CREATE TABLE changing (other date);
INSERT INTO changing VALUES ('infinity');
SELECT tx, ordinal, operation, relation, before, after FROM helper.changes();
DROP TABLE changing;
DROP SCHEMA nowhere;

-- The same inside of one transaction.
BEGIN;
CREATE TABLE changing (id int PRIMARY KEY, a text);
INSERT INTO changing VALUES (1, 'one');
ALTER TABLE changing ADD COLUMN b int DEFAULT 5;
INSERT INTO changing VALUES (2, 'two');
SAVEPOINT s;
ALTER TABLE changing DROP COLUMN a;
INSERT INTO changing VALUES (3);
ROLLBACK TO s;
INSERT INTO changing VALUES (4, 'four');
ALTER TABLE changing RENAME b TO c;
UPDATE changing SET c = 6 WHERE id = 1;
COMMIT;
SELECT tx, ordinal, operation, relation, before, after FROM helper.changes();
DROP TABLE changing;

-- Rows that are older than a column read as its default, also in before images, and after further changes.
CREATE TABLE older (id int PRIMARY KEY, v text);
ALTER TABLE older REPLICA IDENTITY FULL;
INSERT INTO older VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'd');
ALTER TABLE older ADD COLUMN i int DEFAULT 42, ADD COLUMN n numeric DEFAULT 1.50, ADD COLUMN t text DEFAULT 'é',
    ADD COLUMN no_default text, ADD COLUMN u uuid DEFAULT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    ADD COLUMN j jsonb DEFAULT '{"a": [1]}', ADD COLUMN long text DEFAULT repeat('long', 100),
    ADD COLUMN nm name DEFAULT 'nm', ADD COLUMN b bool DEFAULT true, ADD COLUMN iv interval DEFAULT '1 day',
    ADD COLUMN s int2 DEFAULT -1, ADD COLUMN big int8 DEFAULT -9223372036854775808, ADD COLUMN c "char" DEFAULT 'c',
    ADD COLUMN p point DEFAULT '(1,2)', ADD COLUMN tz timetz DEFAULT '12:00+02', ADD COLUMN bits bit(3) DEFAULT '101';
UPDATE older SET v = 'z' WHERE id = 1;
DELETE FROM older WHERE id = 2;
ALTER TABLE older ALTER i SET DEFAULT 43, DROP COLUMN n;
UPDATE older SET i = 1 WHERE id = 3;
UPDATE older SET id = 5 WHERE id = 4;
INSERT INTO older (id) VALUES (6);
SELECT tx, operation, before - 'long' AS before, before->>'long' = repeat('long', 100) AS long_before,
    after - 'long' AS after, after->>'long' = repeat('long', 100) AS long_after
    FROM (SELECT tx, ordinal, operation, before::jsonb, after::jsonb FROM helper.changes()) c ORDER BY tx, ordinal;
DROP TABLE older;

-- Key-only before images of rows that are older than a column, which is part of the key now.
CREATE TABLE older (id int NOT NULL, v text);
INSERT INTO older VALUES (1, 'a'), (2, 'b');
ALTER TABLE older ADD COLUMN part int NOT NULL DEFAULT 9, ADD PRIMARY KEY (part, id);
UPDATE older SET id = 3 WHERE id = 1;
DELETE FROM older WHERE id = 2;
SELECT tx, ordinal, operation, relation, before, after FROM helper.changes();
DROP TABLE older;

-- Enums: labels are read as of the row.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE moods (id int, m mood);
INSERT INTO moods VALUES (1, 'sad');
ALTER TYPE mood ADD VALUE 'ok' BEFORE 'happy';
INSERT INTO moods VALUES (2, 'ok');
ALTER TYPE mood RENAME VALUE 'ok' TO 'fine';
INSERT INTO moods VALUES (3, 'fine');
ALTER TYPE mood RENAME TO feeling;
INSERT INTO moods VALUES (4, 'happy');
ALTER TABLE moods ALTER m TYPE text;
DROP TYPE feeling;
INSERT INTO moods VALUES (5, 'none');
SELECT after FROM helper.changes();
DROP TABLE moods;

-- Composite types and domains too.
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN amount AS numeric(10, 2);
CREATE TABLE pairs (id int, p pair, ps pair[], n amount);
INSERT INTO pairs VALUES (1, '(1,x)', '{"(2,y)"}', 1);
ALTER TYPE pair ADD ATTRIBUTE c date;
INSERT INTO pairs VALUES (2, '(1,x,2024-02-29)', '{"(2,y,)"}', 2);
ALTER TYPE pair DROP ATTRIBUTE a;
INSERT INTO pairs VALUES (3, '(x,2024-02-29)', NULL, NULL);
ALTER DOMAIN amount RENAME TO sum_of_money;
INSERT INTO pairs VALUES (4, NULL, NULL, 4);
SELECT after FROM helper.changes();
DROP TABLE pairs;
DROP TYPE pair;
DROP DOMAIN sum_of_money;

-- An entry for every schema, and none where an invalidation left the schema as it was.
CREATE TABLE announced (id int PRIMARY KEY, a text);
INSERT INTO announced VALUES (1, 'a');
ANALYZE announced;
INSERT INTO announced VALUES (2, 'a');
CREATE INDEX ON announced (a);
ALTER TABLE announced SET (fillfactor = 50);
GRANT SELECT ON announced TO PUBLIC;
INSERT INTO announced VALUES (3, 'a');
TRUNCATE announced;
INSERT INTO announced VALUES (4, 'a');
VACUUM FULL announced;
ALTER TABLE announced ADD COLUMN b int;
ALTER TABLE announced DROP COLUMN b;
INSERT INTO announced VALUES (5, 'a');
COMMENT ON TABLE announced IS 'still the same';
ALTER TABLE announced ADD CHECK (id > 0);
ALTER TABLE announced ALTER a SET DEFAULT 'x';
INSERT INTO announced VALUES (6, 'a');
ALTER TABLE announced ALTER a SET NOT NULL;
INSERT INTO announced VALUES (7, 'a');
ALTER TABLE announced ALTER a DROP NOT NULL;
INSERT INTO announced VALUES (8, 'a');
SELECT place, relation, column_name, type, key_position, not_null, min(place) OVER (PARTITION BY fingerprint) AS same_as
    FROM helper.schemas() ORDER BY place, column_name;
DROP TABLE announced;

-- The fingerprint does not depend on OIDs, nor on what the table went through.
CREATE TABLE printed (id int PRIMARY KEY, a text);
INSERT INTO printed VALUES (1);
DROP TABLE printed;
CREATE TABLE printed (gone int, id int PRIMARY KEY, a text);
ALTER TABLE printed DROP COLUMN gone;
INSERT INTO printed VALUES (1);
SELECT count(DISTINCT place), count(DISTINCT fingerprint) FROM helper.schemas();
DROP TABLE printed;

-- The schema of a type is part of its name.
CREATE SCHEMA types;
CREATE TYPE types.mood AS ENUM ('x');
CREATE TABLE with_type (m types.mood);
INSERT INTO with_type VALUES ('x');
ALTER SCHEMA types RENAME TO more_types;
INSERT INTO with_type VALUES ('x');
SELECT place, relation, type FROM helper.schemas();
DROP TABLE with_type;
DROP SCHEMA more_types CASCADE;

SELECT pg_drop_replication_slot('regression');

-- Names with anything in them, tables without columns, and with as many as there can be.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');

CREATE SCHEMA "sch""e.ma";
CREATE TABLE "sch""e.ma"."ta.b""l e" ("co""l.umn" int PRIMARY KEY, "ünï🐘" text, "new
line" int, U&"\0001\0009\007F" int, "back\slash" int, " " int, "select" int, "{}" int,
    "n23456789012345678901234567890123456789012345678901234567890123" int);
CREATE TABLE "sch""e.ma"."ÄÖÜ_日本語" ("Id" int PRIMARY KEY);
CREATE TYPE "sch""e.ma"."my ""type""" AS ENUM ('a"b', 'c\d', 'é', ' ', '');
CREATE TABLE "sch""e.ma".typed (e "sch""e.ma"."my ""type""", es "sch""e.ma"."my ""type"""[]);
INSERT INTO "sch""e.ma"."ta.b""l e" VALUES (1, 'x', 2, 3, 4, 5, 6, 7, 8);
UPDATE "sch""e.ma"."ta.b""l e" SET "co""l.umn" = 2;
INSERT INTO "sch""e.ma"."ÄÖÜ_日本語" VALUES (1);
INSERT INTO "sch""e.ma".typed VALUES ('a"b', '{"a\"b","c\\d",é," ",""}');
TRUNCATE "sch""e.ma"."ÄÖÜ_日本語";
SELECT tx, operation, relation, before, after FROM helper.changes();
INSERT INTO "sch""e.ma".typed VALUES ('c\d');
SELECT relation, column_name, type FROM helper.schemas();
INSERT INTO "sch""e.ma".typed VALUES ('é');
INSERT INTO "sch""e.ma"."ÄÖÜ_日本語" VALUES (1);
SELECT relation FROM helper.changes('{"tables": ["\"sch\"\"e.ma\".Ä??_日*"]}');
-- Quoted or not, the same schema is announced.
SET quote_all_identifiers = on;
INSERT INTO "sch""e.ma".typed VALUES ('é');
CREATE TABLE plain (a regtype, b inet, c int);
INSERT INTO plain VALUES ('int', NULL, 1), ('regtype', NULL, 1);
SELECT type FROM helper.schemas();
INSERT INTO plain VALUES ('regtype', NULL, 1);
SELECT after FROM helper.changes();
SHOW quote_all_identifiers;
RESET quote_all_identifiers;

-- Names that differ in case only, and the longest there are; characters of two, three and four bytes at the cut.
CREATE TABLE "😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉é!" (a int, "A" int, "ä" int, "Ä" int,
    "😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉é!" int, "cut off within a character: 678901234567890123456789012345678日" int);
CREATE TYPE "t😀" AS ENUM ('a', 'A', '😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉é!');
ALTER TABLE "😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉é!" ADD e "t😀" DEFAULT 'A', DROP "A";
INSERT INTO "😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉é!" VALUES (1, 3, 4, 5, 6);
SELECT relation, after FROM helper.changes();
DROP TABLE "😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉😀🐘🎉é!";
DROP TYPE "t😀";

-- No columns at all.
CREATE TABLE empty ();
INSERT INTO empty DEFAULT VALUES;
INSERT INTO empty SELECT FROM generate_series(1, 2);
DELETE FROM empty;
ALTER TABLE empty REPLICA IDENTITY FULL;
INSERT INTO empty DEFAULT VALUES;
DELETE FROM empty;
ALTER TABLE empty ADD COLUMN a int;
INSERT INTO empty DEFAULT VALUES;
ALTER TABLE empty DROP COLUMN a;
DELETE FROM empty;
SELECT tx, ordinal, operation, relation, before, after FROM helper.changes();
INSERT INTO empty DEFAULT VALUES;
SELECT place, relation, replica_identity, column_name FROM helper.schemas();

-- As many as there can be, and nearly all of them dropped.
DO $$
BEGIN
    EXECUTE (SELECT format('CREATE TABLE wide (%s)', string_agg(format('c%s %s', i, CASE i % 3 WHEN 0 THEN 'bool'
        WHEN 1 THEN 'text' ELSE '"char"' END), ', ' ORDER BY i)) FROM generate_series(1, 1600) i);
END $$;
INSERT INTO wide (c1, c2, c1599, c1600) VALUES ('first', 'x', true, 'last');
INSERT INTO wide SELECT;
ALTER TABLE wide REPLICA IDENTITY FULL;
UPDATE wide SET c800 = 'm' WHERE c1 = 'first';
DELETE FROM wide WHERE c1 IS NULL;
CREATE TEMP TABLE seen AS SELECT * FROM helper.changes();
SELECT s.tx, operation, b.n, b.columns, a.n, a.columns FROM seen s,
    LATERAL (SELECT count(*) AS n, string_agg(key || '=' || value, ' ') AS columns FROM json_each_text(s.before)) b,
    LATERAL (SELECT count(*) AS n, string_agg(key || '=' || value, ' ') AS columns FROM json_each_text(s.after)) a;
DROP TABLE seen;
DO $$
BEGIN
    EXECUTE (SELECT format('ALTER TABLE wide %s', string_agg(format('DROP COLUMN c%s', i), ', '))
        FROM generate_series(1, 300) i);
END $$;
UPDATE wide SET c1600 = 'still';
DELETE FROM wide;
SELECT tx, operation, before, after FROM helper.changes();

DROP TABLE empty, wide, plain;
DROP SCHEMA "sch""e.ma" CASCADE;
SELECT pg_drop_replication_slot('regression');

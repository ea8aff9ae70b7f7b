-- Values of every class, compared with what the server itself prints of the stored rows.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET search_path = pg_catalog;

CREATE TABLE public.fixed (id int, b bool, c "char", i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, o oid, x xid,
    ci cid, d date, t time, tz timetz, ts timestamp, tstz timestamptz, iv interval, u uuid, l pg_lsn);
INSERT INTO public.fixed VALUES
    (1, true, 'a', 1, 1, 1, 1.5, 1.5, 1, '1', '1', '2024-02-29', '12:34:56.789', '12:34:56.789+02',
     '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+02', '1 year 2 mons 3 days 04:05:06.789',
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '16/B374D848'),
    (2, false, '', -32768, -2147483648, -9223372036854775808, '-Infinity', '-Infinity', 0, '0', '0', '-infinity',
     '00:00', '00:00+15:59:59', '-infinity', '-infinity', '-178000000 years', '00000000-0000-0000-0000-000000000000',
     '0/0'),
    (3, true, '\377', 32767, 2147483647, 9223372036854775807, 'Infinity', 'Infinity', 4294967295, '4294967295',
     '4294967295', 'infinity', '24:00', '24:00-15:59:59', 'infinity', 'infinity', '178000000 years',
     'ffffffff-ffff-ffff-ffff-ffffffffffff', 'FFFFFFFF/FFFFFFFF'),
    (4, NULL, '\001', 0, 0, 0, 'NaN', 'NaN', 1, '3', '2', '4713-11-24 BC', '23:59:59.999999', '23:59:59.999999-00:00:01',
     '4713-11-24 00:00:00 BC', '4714-11-24 00:00:00+00 BC', '-1 mons +1 days -00:00:00.000001', NULL, NULL),
    (5, NULL, '"', -1, -1, -1, '1e-45', '5e-324', 5, '4', '3', '5874897-12-31', '00:00:00.000001', '06:00-03:30',
     '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '1 mons -1 days', NULL, NULL),
    (6, NULL, '\\', -1, -1, -1, '-0', '-0', 5, '4', '3', '0044-03-15 BC', '00:00', '00:00', '0001-12-31 BC',
     '0001-12-31 23:00+00 BC', '-3 days 00:00:00.5', NULL, NULL),
    (7, NULL, NULL, -1, -1, -1, 3.4028235e38, 1.7976931348623157e308, 5, '4', '3', '0001-01-01', '00:00', '00:00',
     '2000-01-01', '1970-01-01', '-00:00:01', NULL, NULL),
    (8, NULL, NULL, -1, -1, -1, 0.1, 0.1, 5, '4', '3', '1999-12-31', '00:00', '00:00', '1999-12-31 23:59:59.999999',
     '1999-12-31 23:59:59.999999+00', '0', NULL, NULL),
    (9, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT * FROM helper.differences('public.fixed');

CREATE TABLE public.variable (id int, n numeric, n2 numeric(20, 5), t text, v varchar(20), c char(10), nm name, by bytea,
    j json, jb jsonb, x xml);
INSERT INTO public.variable VALUES
    (1, 0, 0, '', '', '', '', '', '{"a" :  1}', '{"a" :  1}', '<a>b</a>'),
    (2, 'NaN', 'NaN', 'a''b"c\d', 'x', 'x', 'x', '\x00', 'null', 'null', ''),
    (3, 'Infinity', 123456789012345.67891, E'\t\n\r\b\f\x01', 'é', 'é  é', 'Ünïcode', '\xff00ff', '"\u00e9"',
     '"\u00e9"', '<?xml version="1.0" encoding="UTF-8"?><é/>'),
    (4, '-Infinity', -0.00001, '日本語🐘', '  x  ', '  x  ', repeat('n', 63)::name, decode(repeat('00ff', 1000), 'hex'),
     '[1, 2,   3]', '[1.0, 2e5, -0]', NULL),
    (5, 1e-16383, 1, repeat('x', 125), repeat('é', 20), NULL, NULL, decode(repeat('aa', 126), 'hex'), '1', '1', NULL),
    (6, 1e131071, 1, repeat('x', 126), NULL, NULL, NULL, decode(repeat('aa', 127), 'hex'), '1', '1', NULL),
    (7, -1.23456789e-5, 1, repeat('x', 127), NULL, NULL, NULL, decode(repeat('aa', 128), 'hex'), '1', '1', NULL),
    (8, 10000, 1, repeat('x', 128), NULL, NULL, NULL, decode(repeat('aa', 16383), 'hex'), '1', '1', NULL),
    (9, 0.0000, 1, repeat('x', 20000), NULL, NULL, NULL, decode(repeat('aa', 16384), 'hex'), '1', '1', NULL),
    (10, 12345678901234567890123456789012345678901234567890.123456789012345678901234567890, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL);
SELECT * FROM helper.differences('public.variable');

-- Types that go through their output functions.
CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'a, "b"');
CREATE DOMAIN public.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN public.very_positive AS public.positive CHECK (VALUE > 100);
CREATE DOMAIN public.words AS text[];
CREATE TYPE public.pair AS (a int, b text, m public.mood);
CREATE TYPE public.span AS RANGE (subtype = float8);
CREATE DOMAIN public.good_pair AS public.pair;
CREATE TABLE public.others (id int, m public.mood, p public.positive, vp public.very_positive, w public.words,
    pr public.pair, gp public.good_pair, sp public.span, ia int[], ta text[], ma public.mood[], pa public.pair[],
    aa int[][], tsa timestamptz[], iva interval[], ba bytea[], fa float8[], na numeric[], da date[], ir int4range,
    nr numrange, tr tstzrange, im int4multirange, inet inet, cidr cidr, mac macaddr, mac8 macaddr8, bit bit(5),
    vbit varbit, money money, tv tsvector, tq tsquery, pt point, ls lseg, bx box, ph path, pg polygon, ci circle,
    ln line, jp jsonpath, rc regclass, rt regtype, rp regprocedure, rn regnamespace, tid tid, x8 xid8, iv2 int2vector,
    ov oidvector, ss txid_snapshot);
INSERT INTO public.others VALUES
    (1, 'ok', 1, 101, '{a,NULL,"b c"}', '(1,"x, ""y""",sad)', '(2,,ok)', '[1.5,2.5)', '{1,NULL,3}',
     '{"",NULL,"NULL","a\\b","c\"d","{}"}', '{sad,"a, \"b\""}', '{"(1,x,)","(,,)"}', '{{1,2},{3,4}}',
     '{2024-02-29 12:00:00+05,infinity}', '{1 day -1 sec,-1 mon}', '{"\\x00ff"}', '{0.1,NaN,-0,1e300}', '{1.10,NaN}',
     '{2024-02-29,4713-01-01 BC}', '[1,5)', '(,1.5]', '[2024-01-01 00:00+05,)', '{[1,2),[4,6)}', '192.168.1.5/24',
     '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '10101', '1', '12.34', 'a:1A fat:2B,4C cat:5D',
     'fat & (rat | !cat)', '(1.5,-2)', '[(0,0),(1,1)]', '((2,2),(1,1))', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))',
     '<(1,2),3>', '{1,-1,0}', '$.a[*] ? (@ > 1)', 'public.others', 'public.mood', 'pg_catalog.sum(int4)', 'public',
     '(1,2)', '123', '1 2 3', '4 5', '10:20:10,14,15'),
    (2, 'a, "b"', NULL, NULL, '{}', '(,,)', NULL, 'empty', '{}', '{}', '{}', '{}', '{}', '{-infinity}', '{}', '{}', '{}',
     '{}', '{}', 'empty', '(,)', 'empty', '{}', '::1', '::/0', NULL, NULL, '00000', '', '-99999.99', '', 'a', NULL, NULL,
     NULL, '((0,0))', NULL, NULL, NULL, '$', 'pg_catalog.pg_class', 'int', NULL, NULL, NULL, NULL, NULL, '', NULL);
INSERT INTO public.others (id, w, ia, inet, vbit) VALUES
    (3, '[5:6]={a,b}', '[-1:1]={1,2,3}', '2001:db8::1/64', repeat('10', 500)::varbit);
SELECT * FROM helper.differences('public.others');

INSERT INTO public.fixed (id) VALUES (10);
INSERT INTO public.variable (id) VALUES (11);
INSERT INTO public.others (id) VALUES (4);
SELECT relation, column_name, type, type_modifier, value_class FROM helper.schemas();

-- The text does not depend on the settings of the session that decodes.
TRUNCATE public.others;
SELECT count(*) FROM helper.changes();
INSERT INTO public.others (id, tsa, iva, ba, fa, da, money, rc, tr, pr) VALUES
    (1, '{2024-02-29 12:00:00+05}', '{1 day -1 sec}', '{"\\x00ff"}', '{0.1,1e300}', '{2024-02-01}', '1234.5',
     'public.others', '[2024-01-01 00:00+05,)', '(1,x,sad)');
SET timezone = 'Asia/Kolkata';
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'iso_8601';
SET extra_float_digits = -15;
SET bytea_output = 'escape';
SET search_path = public;
SELECT after->>'tsa' AS tsa, after->>'iva' AS iva, after->>'ba' AS ba, after->>'fa' AS fa, after->>'da' AS da,
    after->>'money' AS money, after->>'rc' AS rc, after->>'tr' AS tr, after->>'pr' AS pr FROM helper.changes();
SHOW timezone;
SHOW datestyle;
SHOW intervalstyle;
SHOW search_path;
RESET ALL;

-- Identity columns and stored generated columns.
CREATE TABLE made_up (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s serial, a int,
    g int GENERATED ALWAYS AS (a * 2) STORED, d int DEFAULT 7);
INSERT INTO made_up (a) VALUES (1), (NULL);
UPDATE made_up SET a = 5 WHERE id = 2;
SELECT * FROM helper.changes();
INSERT INTO made_up (a) VALUES (3);
SELECT column_name, type, not_null, generated FROM helper.schemas();

DROP TABLE made_up, others, variable, fixed;
DROP TYPE pair, good_pair, span, mood, positive, very_positive, words CASCADE;
SELECT pg_drop_replication_slot('regression');

-- decode() and relations() of bytes that are no frames, or damaged ones: an ERROR, whatever they are.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE t (id int PRIMARY KEY, a text, n numeric, m mood, ts timestamptz, b bytea);
INSERT INTO t VALUES (1, 'one', 1.5, 'ok', '2024-02-29', '\x00'), (2, NULL, NULL, NULL, 'infinity', NULL);
UPDATE t SET id = 3 WHERE id = 1;
TRUNCATE t;
SELECT 'emitted' FROM pg_logical_emit_message(true, 'p', 'content');
CREATE TABLE frames AS SELECT row_number() OVER () AS n, f AS frame FROM helper.frames('{"messages": true}') f;
SELECT n, kind, ordinal, operation, relation FROM (SELECT * FROM frames ORDER BY n) f, walferry.decode(f.frame) d;

SELECT * FROM walferry.decode(NULL);
SELECT * FROM walferry.decode('');
SELECT * FROM walferry.decode('W');
SELECT * FROM walferry.decode('no frame at all, but text');
SELECT * FROM walferry.decode('\x57013100000000000000000000000000');
SELECT * FROM walferry.relations('');
SELECT * FROM walferry.relations('no frame at all, but text');
SELECT * FROM walferry.decode((SELECT set_byte(frame, 1, 9) FROM frames WHERE n = 1));
SELECT * FROM walferry.decode((SELECT set_byte(frame, 2, 15) FROM frames WHERE n = 1));
SELECT * FROM walferry.decode((SELECT set_byte(frame, 3, get_byte(frame, 3) # 1) FROM frames WHERE n = 1));
-- A frame without the schema that an earlier one gave.
SELECT * FROM walferry.decode((SELECT frame FROM frames WHERE n = 2));

-- The checksum, so that damage can be put behind it.
CREATE FUNCTION frame_crc32c(bytes bytea) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    crc bigint := 4294967295;
BEGIN
    FOR i IN 0 .. length(bytes) - 1 LOOP
        crc := crc # get_byte(bytes, i);
        FOR bit IN 1 .. 8 LOOP
            crc := CASE WHEN crc & 1 = 1 THEN (crc >> 1) # 2197175160 ELSE crc >> 1 END;
        END LOOP;
    END LOOP;
    RETURN crc # 4294967295;
END $$;
CREATE FUNCTION sealed(frame bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    crc bigint := frame_crc32c(substr(frame, 1, 3) || substr(frame, 8));
BEGIN
    RETURN substr(frame, 1, 3) || set_byte(set_byte(set_byte(set_byte('\x00000000'::bytea, 0, (crc & 255)::int), 1,
        (crc >> 8 & 255)::int), 2, (crc >> 16 & 255)::int), 3, (crc >> 24)::int) || substr(frame, 8);
END $$;
SELECT frame_crc32c('123456789') = x'e3069283'::bigint AS crc32c_is_right;
SELECT bool_and(sealed(frame) = frame) AS sealed_is_right FROM frames;

-- What decoding these bytes gives: an ERROR's text, or nothing at all, but never a crash.
CREATE FUNCTION outcome(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(*) FROM walferry.decode(bytes);
    PERFORM count(*) FROM walferry.relations(bytes);
    RETURN 'read';
EXCEPTION WHEN data_corrupted OR character_not_in_repertoire OR invalid_parameter_value OR datetime_field_overflow
    OR untranslatable_character OR program_limit_exceeded THEN
    RETURN 'error';
END $$;
-- Cut short anywhere: each an ERROR, with the old checksum and with a fitting one.
SELECT outcome(substr(frame, 1, size)) AS as_cut, count(*) > 0 AS any FROM frames, generate_series(0, length(frame) - 1) size
    GROUP BY 1;
SELECT bool_and(outcome(sealed(substr(frame, 1, size))) IN ('error', 'read')) AS sound
    FROM (SELECT * FROM frames WHERE n = 1) f, generate_series(8, length(frame) - 1, 3) size;
-- Any one bit flipped: the checksum tells.
SELECT outcome(set_bit(frame, bit, 1 - get_bit(frame, bit))) AS as_flipped, count(*) > 0 AS any
    FROM (SELECT * FROM frames WHERE n = 1) f, generate_series(0, length(frame) * 8 - 1) bit GROUP BY 1;
-- With a fitting checksum too, the session survives.
SELECT bool_and(outcome(sealed(set_bit(frame, bit, 1 - get_bit(frame, bit)))) IN ('error', 'read')) AS sound
    FROM frames, generate_series(56, length(frame) * 8 - 1, 13) bit;
SELECT bool_and(outcome(sealed(set_byte(frame, byte, v))) IN ('error', 'read')) AS sound
    FROM (SELECT * FROM frames WHERE n = 1) f, generate_series(7, length(frame) - 1) byte,
    unnest('{0, 255}'::int[]) v;

DROP TABLE t, frames;
DROP TYPE mood;
DROP FUNCTION frame_crc32c, sealed, outcome;
SELECT pg_drop_replication_slot('regression');

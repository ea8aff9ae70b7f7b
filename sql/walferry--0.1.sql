-- The extension is for people who look into slots; the output plugin itself needs no CREATE EXTENSION.
\echo Use "CREATE EXTENSION walferry" to load this file. \quit

CREATE FUNCTION version() RETURNS text
    AS 'MODULE_PATHNAME', 'walferry_version' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION version() IS 'release of the installed plugin library';

CREATE FUNCTION decode(
    frame bytea,
    OUT kind text, OUT xid xid, OUT commit_lsn pg_lsn, OUT end_lsn pg_lsn, OUT commit_time timestamptz,
    OUT ordinal bigint, OUT operation text, OUT relation text, OUT before json, OUT after json,
    OUT unchanged text[], OUT detail json, OUT subxid xid, OUT gid text, OUT origin text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'walferry_decode' LANGUAGE C STABLE STRICT ROWS 100;
COMMENT ON FUNCTION decode(bytea) IS
    'changes of one frame, and what ends a transaction in progress; decode the frames of a slot in order and in one query: SELECT d.* FROM pg_logical_slot_peek_binary_changes(''slot'', NULL, NULL) c, walferry.decode(c.data) d';

CREATE FUNCTION relations(
    frame bytea,
    OUT id bigint, OUT relid oid, OUT relation text, OUT replica_identity text, OUT fingerprint text,
    OUT column_name text, OUT type text, OUT type_modifier integer, OUT value_class text, OUT key_position integer,
    OUT identity boolean, OUT not_null boolean, OUT generated boolean)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'walferry_relations' LANGUAGE C STABLE STRICT ROWS 10;
COMMENT ON FUNCTION relations(bytea) IS 'schemas that one frame announces, a row for each column';

-- Whoever may read a slot may read its frames; the functions see nothing but their argument.
GRANT USAGE ON SCHEMA walferry TO PUBLIC;

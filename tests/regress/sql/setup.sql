-- The extension, and the helpers of all other tests.
CREATE EXTENSION walferry;
SELECT walferry.version() ~ '^[0-9]+\.[0-9]+\.[0-9]+$' AS version_is_a_release;
SELECT extversion, nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'walferry';

CREATE SCHEMA helper;

-- What the slot holds, consumed. Options NULL: none are passed at all.
CREATE FUNCTION helper.frames(options text) RETURNS SETOF bytea LANGUAGE sql AS $$
    SELECT data FROM pg_logical_slot_get_binary_changes('regression', NULL, NULL,
        VARIADIC CASE WHEN options IS NULL THEN '{}' ELSE ARRAY['options', options] END)
$$;

-- Decoded, with the transactions numbered instead of their ids, positions and times.
CREATE FUNCTION helper.changes(options text DEFAULT NULL)
    RETURNS TABLE (tx bigint, ordinal bigint, operation text, relation text, before json, after json,
                   unchanged text[], detail json) LANGUAGE sql AS $$
    SELECT dense_rank() OVER (ORDER BY d.end_lsn), d.ordinal, d.operation, d.relation, d.before, d.after,
           d.unchanged, d.detail
    FROM helper.frames(options) AS f(frame), walferry.decode(f.frame) AS d
    ORDER BY d.end_lsn, d.ordinal
$$;

-- The schemas that the frames announce, in their order.
CREATE FUNCTION helper.schemas(options text DEFAULT NULL)
    RETURNS TABLE (place bigint, relation text, replica_identity text, fingerprint text, column_name text, type text,
                   type_modifier int, value_class text, key_position int, identity boolean, not_null boolean,
                   generated boolean) LANGUAGE sql AS $$
    SELECT dense_rank() OVER (ORDER BY r.id), r.relation, r.replica_identity, r.fingerprint, r.column_name, r.type,
           r.type_modifier, r.value_class, r.key_position, r.identity, r.not_null, r.generated
    FROM helper.frames(options) AS f(frame), walferry.relations(f.frame) AS r
$$;

-- Compares the after image of every insert into `target` with the rows of the table itself, column by column in the
-- types' own output form (format's %s), and lists the differences. The table needs an integer column "id".
CREATE FUNCTION helper.differences(target regclass, options text DEFAULT NULL)
    RETURNS TABLE (id text, column_name text, decoded text, stored text) LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    CREATE TEMP TABLE decoded ON COMMIT DROP AS
        SELECT c.after FROM helper.changes(options) c WHERE c.operation = 'insert' AND c.relation =
            (SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class WHERE oid = target);
    RETURN QUERY EXECUTE format('SELECT NULL::text, NULL::text, (SELECT count(*) FROM decoded)::text,
        (SELECT count(*) FROM %s)::text WHERE (SELECT count(*) FROM decoded) <> (SELECT count(*) FROM %s)',
        target, target);
    FOR name IN SELECT attname FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped LOOP
        RETURN QUERY EXECUTE format($query$
            SELECT t.id::text, %1$L::text, left(t.decoded, 60), left(t.stored, 60) FROM (
                SELECT t.id, d.after->>%1$L AS decoded,
                       CASE WHEN num_nulls(t.%1$I) = 0 THEN format('%%s', t.%1$I) END AS stored
                FROM %2$s t LEFT JOIN decoded d ON (d.after->>'id')::int = t.id) t
            WHERE t.decoded IS DISTINCT FROM t.stored $query$, name, target);
    END LOOP;
    DROP TABLE decoded;
END
$$;

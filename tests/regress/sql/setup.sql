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

-- A reader's copy of the tables, kept by replaying the changes: rows of text values by column.
CREATE FUNCTION helper.open_mirror() RETURNS void LANGUAGE sql AS $$
    CREATE TEMP TABLE mirror (n serial, relation text, row_text jsonb)
$$;

-- Replays the slot's changes into the mirror. A row is found by its before image, else by the columns `key`; what is
-- unchanged stays. An update or a delete that does not find its row is an ERROR.
CREATE FUNCTION helper.replay(key text[] DEFAULT '{id}', options text DEFAULT NULL)
    RETURNS TABLE (operation text, changes bigint) LANGUAGE plpgsql AS $$
DECLARE
    c record;
    found_n int;
    wanted jsonb;
BEGIN
    CREATE TEMP TABLE replayed ON COMMIT DROP AS
        SELECT row_number() OVER () AS n, h.* FROM helper.changes(options) h;
    FOR c IN SELECT r.*, r.before::jsonb AS old, r.after::jsonb AS new FROM replayed r ORDER BY r.n LOOP
        IF c.operation = 'insert' THEN
            IF c.unchanged IS NOT NULL THEN RAISE EXCEPTION 'an insert with unchanged columns: %', c; END IF;
            INSERT INTO mirror (relation, row_text) VALUES (c.relation, c.new);
        ELSIF c.operation = 'truncate' THEN
            DELETE FROM mirror m WHERE m.relation = c.relation;
        ELSE
            wanted := coalesce(c.old, (SELECT jsonb_object_agg(k, c.new->k) FROM unnest(key) k));
            SELECT m.n INTO found_n FROM mirror m WHERE m.relation = c.relation AND m.row_text @> wanted LIMIT 1;
            IF NOT FOUND THEN RAISE EXCEPTION 'no row % of % for %', wanted, c.relation, c.operation; END IF;
            IF c.operation = 'update' THEN
                UPDATE mirror m SET row_text = m.row_text || c.new WHERE m.n = found_n;
            ELSE
                DELETE FROM mirror m WHERE m.n = found_n;
            END IF;
        END IF;
    END LOOP;
    RETURN QUERY SELECT r.operation, count(*) FROM replayed r GROUP BY 1 ORDER BY 1;
    DROP TABLE replayed;
END
$$;

-- Rows that only the mirror (under the name `relation`) or only the table has. No rows: both are the same.
CREATE FUNCTION helper.mirror_differences(target regclass, relation text DEFAULT NULL)
    RETURNS TABLE (side text, row_text jsonb) LANGUAGE plpgsql AS $$
DECLARE
    columns text;
    name text := coalesce(relation, (SELECT format('%I.%I', c.relnamespace::regnamespace, c.relname)
                                     FROM pg_class c WHERE c.oid = target));
BEGIN
    SELECT string_agg(format('%L, CASE WHEN num_nulls(t.%I) = 0 THEN format(''%%s'', t.%I) END', attname, attname, attname),
                      ', ' ORDER BY attnum)
        INTO columns FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped;
    RETURN QUERY EXECUTE format($query$
        WITH kept AS (SELECT m.row_text FROM mirror m WHERE m.relation = %2$L),
             stored AS (SELECT jsonb_build_object(%3$s) AS row_text FROM %1$s t)
        SELECT 'mirror', d.row_text FROM (SELECT * FROM kept EXCEPT ALL SELECT * FROM stored) d
        UNION ALL
        SELECT 'table', d.row_text FROM (SELECT * FROM stored EXCEPT ALL SELECT * FROM kept) d $query$,
        target, name, columns);
END
$$;

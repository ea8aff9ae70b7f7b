-- The helpers of all specs, loaded once into the database. Their slot is called `isolation`.
CREATE EXTENSION walferry;
CREATE SCHEMA helper;

-- The slot's changes, consumed, without anything that differs from run to run: transactions are numbered in their order.
CREATE FUNCTION helper.changes(options text DEFAULT '{}')
    RETURNS TABLE (tx bigint, operation text, relation text, before json, after json) LANGUAGE sql AS $$
    SELECT dense_rank() OVER (ORDER BY d.end_lsn), d.operation, d.relation, d.before, d.after
    FROM pg_logical_slot_get_binary_changes('isolation', NULL, NULL, 'options', options) AS c, walferry.decode(c.data) AS d
    ORDER BY d.end_lsn, d.ordinal
$$;

-- A brace would end a step, so specs name what options they need.
CREATE FUNCTION helper.changes_of_root() RETURNS TABLE (tx bigint, operation text, relation text, before json, after json)
    LANGUAGE sql AS $$ SELECT * FROM helper.changes('{"publish_via_root": true}') $$;

CREATE FUNCTION helper.streamed_changes() RETURNS TABLE (tx bigint, operation text, relation text, before json, after json)
    LANGUAGE sql AS $$ SELECT * FROM helper.changes('{"streaming": true}') WHERE operation IS NOT NULL $$;

-- The columns of the schemas that are announced, consumed with them.
CREATE FUNCTION helper.schemas() RETURNS TABLE (place bigint, relation text, columns text, key text, replica_identity text)
    LANGUAGE sql AS $$
    SELECT dense_rank() OVER (ORDER BY r.id), r.relation, string_agg(r.column_name || ' ' || r.type, ', ' ORDER BY r.n),
           string_agg(r.column_name, ', ' ORDER BY r.key_position) FILTER (WHERE r.key_position > 0), r.replica_identity
    FROM pg_logical_slot_get_binary_changes('isolation', NULL, NULL) AS c,
         LATERAL (SELECT row_number() OVER () AS n, * FROM walferry.relations(c.data)) AS r
    GROUP BY r.id, r.relation, r.replica_identity ORDER BY r.id
$$;

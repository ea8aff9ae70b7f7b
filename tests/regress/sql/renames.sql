-- What a rename costs: for the transactions that it may have overtaken the names are read anew, and for no others.
SELECT 'init' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE SCHEMA place;
CREATE TYPE mood AS ENUM ('old');
CREATE TABLE place.moods (id int PRIMARY KEY, m mood);
INSERT INTO place.moods VALUES (0, 'old');
ALTER TYPE mood RENAME VALUE 'old' TO 'new';
ALTER SCHEMA place RENAME TO renamed;
DO $$ BEGIN FOR i IN 1..300 LOOP INSERT INTO renamed.moods VALUES (i, 'new'); COMMIT; END LOOP; END $$;

-- Of the session's own look-ups in the catalogs, counted within one transaction.
CREATE FUNCTION helper.catalog_scans() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(idx_scan)::bigint FROM pg_stat_xact_sys_tables WHERE relname IN ('pg_namespace', 'pg_type', 'pg_enum')
$$;
BEGIN;
SELECT helper.catalog_scans() AS before \gset
SELECT relation, after->>'m' AS m, count(*) FROM helper.changes() GROUP BY 1, 2 ORDER BY 1;
SELECT helper.catalog_scans() - :before < 300 AS few_scans;
COMMIT;

DROP SCHEMA renamed CASCADE;
DROP TYPE mood;
DROP FUNCTION helper.catalog_scans;
SELECT pg_drop_replication_slot('regression');

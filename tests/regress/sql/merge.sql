-- MERGE, from PostgreSQL 15 on.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c');
MERGE INTO t USING (VALUES (1, 'x'), (2, NULL), (4, 'y')) AS s (id, v) ON t.id = s.id
    WHEN MATCHED AND s.v IS NULL THEN DELETE
    WHEN MATCHED THEN UPDATE SET v = s.v
    WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
SELECT operation, before, after FROM helper.changes() WHERE tx = 2 ORDER BY operation;
DROP TABLE t;
SELECT pg_drop_replication_slot('regression');

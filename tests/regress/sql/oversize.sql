-- A value whose text does not fit into memory is left out and marked; the slot goes on.
\set VERBOSITY terse
CREATE TABLE oversize (id int PRIMARY KEY, doc jsonb, numbers numeric[]);
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
INSERT INTO oversize VALUES (1, ('[' || repeat('1e131071,', 8999) || '1]')::jsonb, NULL);
INSERT INTO oversize VALUES (2, NULL, array_fill(1e131071::numeric, array[9000]));
INSERT INTO oversize VALUES (3, '{"a": 1}', '{1,2}');
SELECT d.operation, d.relation, d.after, d.unchanged, d.detail
FROM pg_logical_slot_get_binary_changes('regression', NULL, NULL) c, walferry.decode(c.data) d;
CREATE TABLE many_items (id int PRIMARY KEY, flags bool[]);
INSERT INTO many_items VALUES (1, array_fill(true, array[6000000])), (2, '{t,f}');
SELECT d.operation, d.relation, d.after, d.unchanged, d.detail
FROM pg_logical_slot_get_binary_changes('regression', NULL, NULL) c, walferry.decode(c.data) d;
SELECT pg_drop_replication_slot('regression');
DROP TABLE oversize, many_items;

-- Everything unknown or malformed is refused before any data flows, and named.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
CREATE TABLE t (id int);
INSERT INTO t VALUES (1);
\set VERBOSITY default
\set peek 'SELECT count(*) FROM pg_logical_slot_peek_binary_changes(\'regression\', NULL, NULL, '

:peek 'options', '');
:peek 'options', 'x');
:peek 'options', '{"version": 1');
:peek 'options', '[]');
:peek 'options', '1');
:peek 'options', '"tables"');
:peek 'options', 'null');
:peek 'options', '{"a": "\u0000"}');
:peek 'options', '{"": 1}');
:peek 'options', '{"Tables": []}');
:peek 'options', '{"tables": [], "filter": "x"}');
:peek 'option', '{}');
:peek 'proto_version', '1');
:peek 'options', '{}', 'options', '{}');
:peek 'options', '{}', 'other', '1');

:peek 'options', '{"version": 0}');
:peek 'options', '{"version": 2}');
:peek 'options', '{"version": 1.5}');
:peek 'options', '{"version": 99999999999999999999999999999999999999999999999999999999999999999999999999999999}');
:peek 'options', '{"version": "1"}');
:peek 'options', '{"version": null}');
:peek 'options', '{"version": [1]}');

:peek 'options', '{"tables": "public.*"}');
:peek 'options', '{"tables": {"public.*": 1}}');
:peek 'options', '{"tables": [1]}');
:peek 'options', '{"tables": [["public.*"]]}');
:peek 'options', '{"tables": [null]}');
:peek 'options', '{"tables": null}');
:peek 'options', '{"tables": [""]}');
:peek 'options', '{"tables": ["!"]}');
:peek 'options', '{"tables": ["public"]}');
:peek 'options', '{"tables": ["a.b", "a.b.c"]}');
:peek 'options', '{"tables": [".b"]}');
:peek 'options', '{"tables": ["a."]}');
:peek 'options', '{"tables": ["a.\"b"]}');
:peek 'options', '{"tables": ["a.b\\"]}');
:peek 'options', '{"tables": ["a. b"]}');

:peek 'options', '{"operations": "insert"}');
:peek 'options', '{"operations": ["insert", "merge"]}');
:peek 'options', '{"operations": ["INSERT"]}');
:peek 'options', '{"operations": [true]}');

:peek 'options', '{"publish_via_root": "true"}');
:peek 'options', '{"publish_via_root": 1}');
:peek 'options', '{"publish_via_root": null}');

:peek 'options', '{"origin": "all"}');
:peek 'options', '{"origin": true}');
:peek 'options', '{"origin": ["none"]}');

:peek 'options', '{"messages": "all"}');
:peek 'options', '{"messages": 1}');
:peek 'options', '{"messages": {}}');
:peek 'options', '{"messages": [1]}');
:peek 'options', '{"messages": ["a", null]}');
:peek 'options', '{"streaming": "on"}');
:peek 'options', '{"two_phase": 1}');
:peek 'options', '{"two_phase": ["a", 2]}');

-- The binary output needs the binary function; the session is sound after this ERROR of a started plugin.
SELECT count(*) FROM pg_logical_slot_peek_changes('regression', NULL, NULL);
SELECT count(DISTINCT repeat(i::text, 100)) FROM generate_series(1, 20000) i;
ALTER TABLE t ADD COLUMN v int;
ALTER SCHEMA helper RENAME TO helper_renamed;
ALTER SCHEMA helper_renamed RENAME TO helper;
CREATE TYPE mood AS ENUM ('a');
ALTER TYPE mood ADD VALUE 'b';
CREATE TABLE u (m mood);
DROP TABLE u;
DROP TYPE mood;

-- All of them at once, as they should be, and none.
:peek 'options', '{"version": 1, "tables": ["public.*"], "operations": ["insert", "update", "delete", "truncate"],
    "publish_via_root": false, "origin": "any", "messages": ["a", "b"], "streaming": true, "two_phase": ["app-"]}');
:peek 'options', '{}');
SELECT count(*) FROM pg_logical_slot_peek_binary_changes('regression', NULL, NULL);

DROP TABLE t;
SELECT pg_drop_replication_slot('regression');

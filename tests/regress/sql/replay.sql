-- A reader that replays the changes has what the tables have, whatever kind of transaction wrote them.
SELECT 'made' FROM pg_create_logical_replication_slot('regression', 'walferry');
SELECT helper.open_mirror();

CREATE TABLE accounts (id int PRIMARY KEY, owner text, amount numeric(10, 2), note text);
CREATE TABLE orders (id serial PRIMARY KEY, account int REFERENCES accounts ON UPDATE CASCADE ON DELETE CASCADE, v text);
CREATE TABLE lines (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "order" int DEFAULT 1 REFERENCES orders ON DELETE SET DEFAULT, v text);
CREATE TABLE audit (id bigserial PRIMARY KEY, what text, old text, new text);
ALTER TABLE orders REPLICA IDENTITY FULL;
CREATE FUNCTION differences() RETURNS TABLE (relation regclass, side text, row_text jsonb) LANGUAGE sql AS $$
    SELECT r, d.* FROM unnest('{accounts,orders,lines,audit}'::regclass[]) r, helper.mirror_differences(r) d
$$;

-- Savepoints, kept, released and rolled back, with rows changed on both sides of each.
BEGIN;
INSERT INTO accounts SELECT i, 'owner ' || i, i * 1.5, NULL FROM generate_series(1, 20) i;
SAVEPOINT a;
UPDATE accounts SET amount = 0 WHERE id <= 5;
SAVEPOINT b;
DELETE FROM accounts WHERE id <= 3;
SAVEPOINT c;
UPDATE accounts SET id = id + 100;
ROLLBACK TO c;
UPDATE accounts SET note = 'after c' WHERE id BETWEEN 4 AND 6;
RELEASE b;
SAVEPOINT d;
INSERT INTO accounts VALUES (21, 'lost', 1, NULL);
ROLLBACK TO a;
INSERT INTO accounts VALUES (22, 'after a', 1, NULL);
SAVEPOINT e;
DELETE FROM accounts WHERE id = 20;
COMMIT;
SELECT * FROM helper.replay();
SELECT * FROM differences();

-- Exception blocks within exception blocks; the outer one is given up with all inside of it.
CREATE FUNCTION nested(depth int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO accounts VALUES (1000 + depth, 'depth ' || depth, depth, NULL);
    IF depth < 6 THEN PERFORM nested(depth + 1); END IF;
    UPDATE accounts SET note = 'on the way out' WHERE id = 1000 + depth;
    IF depth % 3 = 2 THEN RAISE division_by_zero; END IF;
    RETURN depth;
EXCEPTION WHEN division_by_zero THEN
    INSERT INTO accounts VALUES (2000 + depth, 'caught', -depth, NULL);
    IF depth = 2 THEN RAISE EXCEPTION 'to the next'; END IF;
    RETURN -depth;
END $$;
DO $$
BEGIN
    BEGIN PERFORM nested(1); EXCEPTION WHEN raise_exception THEN UPDATE accounts SET note = 'given up' WHERE id = 1; END;
    PERFORM nested(3);
END $$;
SELECT id, owner, note FROM accounts WHERE id > 1000 ORDER BY id;
SELECT * FROM helper.replay();
SELECT * FROM differences();
-- Each iteration a subtransaction: more of them than the server keeps in shared memory.
DO $$
BEGIN
    FOR i IN 1..200 LOOP
        BEGIN
            UPDATE accounts SET amount = amount + 1 WHERE id = 1 + i % 10;
            IF i % 7 = 0 THEN RAISE division_by_zero; END IF;
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
    END LOOP;
END $$;
SELECT * FROM helper.replay();
SELECT * FROM differences();

-- Foreign keys that cascade, set a default, and change a key below; triggers that change, refuse and add rows.
INSERT INTO orders (account, v) SELECT i, 'v' || i FROM generate_series(1, 10) i;
INSERT INTO lines ("order", v) SELECT i, NULL FROM generate_series(1, 10) i;
UPDATE accounts SET id = 500 WHERE id = 5;
DELETE FROM accounts WHERE id IN (6, 7);
CREATE FUNCTION change_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.v = 'refuse' THEN RETURN NULL; END IF;
    new.v := coalesce(new.v, 'none') || '!';
    RETURN new;
END $$;
CREATE TRIGGER change_it BEFORE INSERT OR UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION change_it();
CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (what, old, new) SELECT tg_op, old::text, new::text;
    RETURN NULL;
END $$;
CREATE TRIGGER log_it AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION log_it();
CREATE FUNCTION count_them() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (what, new) SELECT 'statement', count(*)::text FROM changed;
    RETURN NULL;
END $$;
CREATE TRIGGER count_them AFTER UPDATE ON orders REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION count_them();
INSERT INTO lines ("order", v) VALUES (1, 'refuse'), (1, 'kept'), (2, NULL);
UPDATE orders SET v = v || v WHERE id < 4;
DELETE FROM accounts WHERE id = 8;
SELECT * FROM helper.replay();
SELECT * FROM differences();
SELECT "order", v FROM lines ORDER BY id;

-- Through a view, a rule, a view with its own trigger, and WITH.
CREATE VIEW rich AS SELECT id, owner, amount FROM accounts WHERE amount > 0;
CREATE VIEW names AS SELECT id, upper(owner) AS owner FROM accounts;
CREATE FUNCTION through() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN UPDATE accounts SET owner = lower(new.owner) WHERE id = old.id; RETURN new; END $$;
CREATE TRIGGER through INSTEAD OF UPDATE ON names FOR EACH ROW EXECUTE FUNCTION through();
CREATE RULE twice AS ON INSERT TO audit WHERE new.what = 'ruled' DO ALSO INSERT INTO accounts VALUES (3000, new.new, 0, 'rule');
UPDATE rich SET amount = amount * 2 WHERE id < 15;
INSERT INTO rich VALUES (3001, 'by view', 5);
UPDATE names SET owner = 'ABC' WHERE id = 9;
INSERT INTO audit (what, new) VALUES ('ruled', 'x');
WITH moved AS (DELETE FROM accounts WHERE id = 3001 RETURNING *),
     written AS (INSERT INTO accounts SELECT id + 1, owner, amount, note FROM moved RETURNING id)
UPDATE accounts SET note = (SELECT 'was ' || id FROM written) WHERE id = 1;
SELECT * FROM helper.replay();
SELECT * FROM differences();

-- COPY and INSERT ... SELECT of more rows than one record of the log holds, and of rows that fill several records.
COPY accounts (id) FROM PROGRAM 'seq 10001 11000';
UPDATE accounts SET owner = 'copied ' || id, amount = id, note = CASE id % 3 WHEN 0 THEN repeat('long ', 100) END
    WHERE id > 10000;
INSERT INTO orders (account, v) SELECT id, repeat(owner, 100) FROM accounts WHERE id > 10000 AND id % 10 = 0;
UPDATE accounts SET amount = -amount WHERE id > 10000 AND id % 2 = 0;
DELETE FROM accounts WHERE id > 10000 AND id % 4 = 1;
SELECT * FROM helper.replay();
SELECT * FROM differences();

-- ON CONFLICT that updates, does nothing, and moves the key; the same row twice is an error that leaves nothing.
INSERT INTO accounts VALUES (1, 'again', 1, NULL), (4000, 'new', 1, NULL)
    ON CONFLICT (id) DO UPDATE SET note = 'conflict with ' || excluded.owner;
INSERT INTO accounts VALUES (1, 'nothing', 1, NULL), (4001, 'new', 1, NULL) ON CONFLICT DO NOTHING;
INSERT INTO accounts VALUES (4001, 'moved', 1, NULL) ON CONFLICT (id) DO UPDATE SET id = 4002;
INSERT INTO accounts VALUES (4002, 'filtered', 1, NULL) ON CONFLICT (id) DO UPDATE SET note = 'no' WHERE false;
INSERT INTO accounts VALUES (4003, 'twice', 1, NULL), (4003, 'twice', 1, NULL) ON CONFLICT (id) DO UPDATE SET note = 'no';
SELECT * FROM helper.replay();
SELECT * FROM differences();

-- MERGE, also into a table whose foreign keys cascade.
MERGE INTO accounts a USING (SELECT id, id % 4 AS what FROM accounts WHERE id BETWEEN 2 AND 30 UNION SELECT 5000, 0) s ON a.id = s.id
    WHEN MATCHED AND what = 1 THEN DELETE
    WHEN MATCHED AND what = 2 THEN UPDATE SET id = a.id + 6000, note = 'merged'
    WHEN MATCHED AND what = 3 THEN DO NOTHING
    WHEN MATCHED THEN UPDATE SET amount = NULL
    WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'merged', what, NULL);
SELECT * FROM helper.replay();
SELECT * FROM differences();

-- TRUNCATE with its options, given up and kept, between other changes of one transaction.
BEGIN;
INSERT INTO audit (what) VALUES ('before');
SAVEPOINT a;
TRUNCATE accounts CASCADE;
INSERT INTO accounts VALUES (1, 'lost', 1, NULL);
ROLLBACK TO a;
UPDATE accounts SET note = 'kept' WHERE id = 500;
COMMIT;
SELECT * FROM helper.replay();
SELECT * FROM differences();
BEGIN;
INSERT INTO accounts VALUES (7000, 'gone', 1, NULL);
INSERT INTO orders (account, v) VALUES (7000, 'gone');
TRUNCATE orders, accounts RESTART IDENTITY CASCADE;
INSERT INTO accounts VALUES (1, 'first again', 1, NULL);
INSERT INTO orders (account, v) VALUES (1, 'numbered 1 again');
COMMIT;
SELECT id, account, v FROM orders;
SELECT * FROM helper.replay();
SELECT * FROM differences();
DROP VIEW rich, names;
DROP RULE twice ON audit;

-- Schema changes between the changes of one transaction.
BEGIN;
INSERT INTO accounts VALUES (2, 'old schema', 2, NULL);
ALTER TABLE accounts ADD COLUMN born date DEFAULT '2024-02-29';
UPDATE accounts SET owner = owner || '+' WHERE id IN (1, 2);
SAVEPOINT a;
ALTER TABLE accounts RENAME owner TO person;
UPDATE accounts SET person = 'lost';
ALTER TABLE accounts DROP COLUMN note;
INSERT INTO accounts VALUES (3, 'lost', 3);
ROLLBACK TO a;
INSERT INTO accounts VALUES (4, 'new schema', 4, NULL, NULL);
ALTER TABLE accounts ALTER amount TYPE int;
UPDATE accounts SET amount = amount + 1;
ALTER TABLE orders REPLICA IDENTITY NOTHING;
INSERT INTO orders (account, v) VALUES (2, 'no identity');
ALTER TABLE orders REPLICA IDENTITY DEFAULT;
UPDATE orders SET v = v || '?';
COMMIT;
SELECT * FROM helper.replay();
SELECT * FROM differences();

DROP TABLE accounts, orders, lines, audit;
DROP FUNCTION differences, nested, change_it, log_it, count_them, through;
SELECT pg_drop_replication_slot('regression');

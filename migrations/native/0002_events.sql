-- The events of all stores of a native server, in one table: a table for each would cost every connection a
-- look at the whole schema. (Tables of the reference, and those that earlier versions made, stay where they are,
-- and `livestore_stores` says whose they are.)

-- The stores whose events are in `events`. One is made by its first event.
CREATE TABLE stores (
  number INTEGER PRIMARY KEY NOT NULL,
  store_id TEXT NOT NULL UNIQUE,
  backend_id TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;

-- `id`: the store's number * 2^32 + the event's position in its log, 1 for the first. So a log lies in one piece,
-- a row is found without an index, and how many events there are before any is known without counting. Numbers
-- of events may leave gaps, positions do not.
CREATE TABLE events (
  id INTEGER PRIMARY KEY NOT NULL,
  "seqNum" INTEGER NOT NULL,
  "parentSeqNum" INTEGER NOT NULL,
  "name" TEXT NOT NULL,
  "args" TEXT,
  "createdAt" TEXT NOT NULL,
  "clientId" TEXT NOT NULL,
  "sessionId" TEXT NOT NULL,
  CHECK ("seqNum" > "parentSeqNum" AND "seqNum" >= id & 4294967295)
) STRICT;

-- For people: `SELECT * FROM store_events WHERE store_id = 'my-store'`.
CREATE VIEW store_events AS
  SELECT store_id, "seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId"
  FROM stores JOIN events ON id > number << 32 AND id < (number + 1) << 32;

-- Stores without events whose backend id does not follow from the file's secret: those that were emptied.
CREATE TABLE empty_stores (
  store_id TEXT PRIMARY KEY NOT NULL,
  backend_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- To start a store anew is to delete its row. Its clients have to notice, so its next id is another one.
CREATE TRIGGER store_deleted AFTER DELETE ON stores BEGIN
  DELETE FROM events WHERE id > OLD.number << 32 AND id < (OLD.number + 1) << 32;
  INSERT OR REPLACE INTO empty_stores VALUES (OLD.store_id, lower(hex(randomblob(11))));
END;

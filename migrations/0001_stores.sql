-- Which table holds which store's events. Store ids are any text, table names are not, and two ids
-- may ask for one name (`a-b` and `a_b`; SQLite also takes `A` and `a` for the same).
-- `gaps`: how many sequence numbers up to the head have no event.
CREATE TABLE IF NOT EXISTS livestore_stores (
  store_id TEXT PRIMARY KEY NOT NULL,
  table_name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  backend_id TEXT NOT NULL,
  created_at TEXT NOT NULL,
  gaps INTEGER NOT NULL DEFAULT 0
) STRICT;

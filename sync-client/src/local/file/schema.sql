-- One row: whose file this is and what its tables were made from.
CREATE TABLE livestore_client (
  client_id TEXT NOT NULL,
  backend_id TEXT,
  tables_version INTEGER,
  tables_sql TEXT
) STRICT;
-- What the backend has, as far as this file knows. `known`: a materialiser knew the name.
CREATE TABLE livestore_confirmed (
  seq_num INTEGER PRIMARY KEY,
  parent_seq_num INTEGER NOT NULL,
  name TEXT NOT NULL,
  args TEXT,
  created_at TEXT,
  client_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  known INTEGER NOT NULL
) STRICT;
CREATE INDEX livestore_confirmed_unknown ON livestore_confirmed (name) WHERE known = 0;
-- What it does not have. Numbers and parents are not stored: they follow from the head and the order.
CREATE TABLE livestore_pending (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  args TEXT,
  client_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  known INTEGER NOT NULL
) STRICT;

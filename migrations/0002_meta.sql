-- What a database knows of itself, a name and a value each. `secret`: what the backend ids of its new stores are made
-- from, so that a store without events, of which nothing is kept, has the same one whenever it is asked for.
CREATE TABLE IF NOT EXISTS livestore_meta (
  name TEXT PRIMARY KEY NOT NULL,
  value TEXT NOT NULL
) STRICT;

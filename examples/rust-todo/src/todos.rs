//! The list: its table, what each event does to it, and what people see of it. The events are those of LiveStore's
//! TodoMVC examples, so that such an app may share the store.

use std::fmt;

use livestore_sync_client::NewEvent;
use livestore_sync_client::local::Options;
use livestore_sync_client::local::rusqlite::{self, Connection, Row};
use serde_json::{Value, json};

const TABLES: &str = "CREATE TABLE todos (
    id TEXT PRIMARY KEY, text TEXT NOT NULL, completed INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0
)";

/// How events change the table: the event's name, and a statement that is given its `args`.
const MATERIALISERS: [(&str, &str); 5] = [
    ("v1.TodoCreated", "INSERT OR IGNORE INTO todos (id, text) VALUES (?1 ->> 'id', ?1 ->> 'text')"),
    ("v1.TodoCompleted", "UPDATE todos SET completed = 1 WHERE id = ?1 ->> 'id'"),
    ("v1.TodoUncompleted", "UPDATE todos SET completed = 0 WHERE id = ?1 ->> 'id'"),
    ("v1.TodoDeleted", "UPDATE todos SET deleted = 1 WHERE id = ?1 ->> 'id'"),
    ("v1.TodoClearedCompleted", "UPDATE todos SET deleted = 1 WHERE completed AND ?1 IS NOT NULL"),
];

pub(crate) fn options() -> Options {
    MATERIALISERS.into_iter().fold(Options::new().tables(1, TABLES), |options, (name, sql)| {
        options.materialiser(name, move |tx, event| {
            tx.execute(sql, [event.args.as_json()])?;
            Ok(())
        })
    })
}

pub(crate) struct Todo {
    id: String,
    text: String,
    completed: bool,
}

impl fmt::Display for Todo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", if self.completed { 'x' } else { ' ' }, self.text)
    }
}

pub(crate) fn list(tables: &Connection) -> rusqlite::Result<Vec<Todo>> {
    let todo = |row: &Row<'_>| Ok(Todo { id: row.get(0)?, text: row.get(1)?, completed: row.get(2)? });
    let mut select = tables.prepare("SELECT id, text, completed FROM todos WHERE NOT deleted ORDER BY rowid")?;
    select.query_map([], todo)?.collect()
}

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Add(String),
    Toggle(usize),
    Remove(usize),
    Clear,
    List,
    Quit,
}

impl Command {
    pub(crate) fn parse(line: &str) -> Result<Self, &'static str> {
        const USAGE: &str = "add TEXT | done N | rm N | clear | list | quit";
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let number = || rest.trim().parse().map_err(|_| "which one? Give its number");
        match word {
            "add" if !rest.trim().is_empty() => Ok(Self::Add(rest.trim().to_owned())),
            "done" => number().map(Self::Toggle),
            "rm" => number().map(Self::Remove),
            "clear" => Ok(Self::Clear),
            "list" | "" => Ok(Self::List),
            "quit" => Ok(Self::Quit),
            _ => Err(USAGE),
        }
    }

    /// The event that does it, if it changes anything. `now` is an ISO timestamp.
    pub(crate) fn event(&self, todos: &[Todo], id: String, now: &str) -> Result<Option<NewEvent>, &'static str> {
        let todo = |n: usize| n.checked_sub(1).and_then(|n| todos.get(n)).ok_or("there is no such number");
        let (name, args): (_, Value) = match self {
            Self::Add(text) => ("v1.TodoCreated", json!({ "id": id, "text": text })),
            Self::Toggle(n) if todo(*n)?.completed => ("v1.TodoUncompleted", json!({ "id": todo(*n)?.id })),
            Self::Toggle(n) => ("v1.TodoCompleted", json!({ "id": todo(*n)?.id })),
            Self::Remove(n) => ("v1.TodoDeleted", json!({ "id": todo(*n)?.id, "deletedAt": now })),
            Self::Clear => ("v1.TodoClearedCompleted", json!({ "deletedAt": now })),
            Self::List | Self::Quit => return Ok(None),
        };
        NewEvent::new(name, args).map(Some).map_err(|_| "that cannot be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        assert_eq!(Command::parse("add  buy milk "), Ok(Command::Add("buy milk".into())));
        assert_eq!(Command::parse("done 2"), Ok(Command::Toggle(2)));
        assert_eq!(Command::parse(""), Ok(Command::List));
        for line in ["add", "done x", "rm", "fly"] {
            assert!(Command::parse(line).is_err(), "{line}");
        }
        assert!(Command::Toggle(0).event(&[], String::new(), "").is_err());
    }
}

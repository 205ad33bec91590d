//! What an error of a Worker's database means. Pure: texts in, variants out; `d1` and `object` ask.
//!
//! JavaScript gives an error as a text and nothing else: neither D1's client in workerd (`d1-api.ts`) nor the SQLite of
//! an object gives a code or a class of its own, but both hand on the result code of SQLite inside the text. This is
//! the only place that reads such texts, and [`KNOWN`] the only list of them. The tests hold those that workerd gives,
//! and those that Cloudflare lists for D1.

use crate::event_log::sql::HEAD_MOVED;
use crate::event_log::{AppendError, LogError};

/// Why a database did not do what it was asked. Each holds the database's own text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DatabaseError {
    /// Refused, nothing is stored: a table does not exist.
    #[error("{0}")]
    NoSuchTable(String),
    /// There is no database, nothing is stored: the object's class has no SQLite.
    #[error("the object has no SQLite: list its class in new_sqlite_classes, or bind a D1 database ({0})")]
    NoSqlite(String),
    /// Refused, nothing is stored: [`guard`](crate::event_log::sql::guard) says that the head is another.
    #[error("{0}")]
    HeadMoved(String),
    /// Refused for another reason, nothing is stored.
    #[error("{0}")]
    Refused(String),
    /// No answer of the database: what was to be stored may be stored.
    #[error("{0}")]
    Lost(String),
}

impl From<DatabaseError> for LogError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Lost(_) => Self::unknown_outcome(error),
            DatabaseError::NoSuchTable(_)
            | DatabaseError::NoSqlite(_)
            | DatabaseError::HeadMoved(_)
            | DatabaseError::Refused(_) => Self::nothing_stored(error),
        }
    }
}

impl From<DatabaseError> for AppendError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::HeadMoved(_) => Self::HeadMoved,
            other => Self::Log(other.into()),
        }
    }
}

type Variant = fn(String) -> DatabaseError;

/// What an error says, and what it means. The first that is found counts.
const KNOWN: [(&str, Variant); 5] = [
    ("no such table", DatabaseError::NoSuchTable),
    (HEAD_MOVED, DatabaseError::HeadMoved),
    // A class without SQLite has `storage.sql` all the same; only its methods fail.
    ("SQL is not enabled", DatabaseError::NoSqlite),
    // When the disk fails, SQLite's answer says nothing about what the disk has.
    ("SQLITE_IOERR", DatabaseError::Lost),
    // With any other of its result codes SQLite has refused a statement: nothing of it or of its batch is stored.
    ("SQLITE_", DatabaseError::Refused),
];

fn known(text: &str) -> Option<Variant> {
    KNOWN.iter().find(|(says, _)| text.contains(says)).map(|(_, means)| *means)
}

/// An error of D1. What SQLite did not say went wrong on the way to the database or back: the network, a restart, an
/// overload.
pub(super) fn of_d1(text: String) -> DatabaseError {
    known(&text).unwrap_or(DatabaseError::Lost)(text)
}

/// An error of the SQLite in an object. It runs in the object's process, so there is no way on which an answer
/// could be lost: what throws has stored nothing. (If the disk fails, the platform resets the object as well.)
pub(super) fn of_object(text: String) -> DatabaseError {
    known(&text).unwrap_or(DatabaseError::Refused)(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite says in workerd 1.20260426.1, in either database.
    const REFUSALS: [(&str, Variant); 8] = [
        ("no such table: livestore_stores: SQLITE_ERROR", DatabaseError::NoSuchTable),
        ("bad JSON path: 'the head moved': SQLITE_ERROR", DatabaseError::HeadMoved),
        (
            "UNIQUE constraint failed: eventlog_7_x.seqNum: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)",
            DatabaseError::Refused,
        ),
        (
            "cannot store TEXT value in INTEGER column x.a: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_DATATYPE)",
            DatabaseError::Refused,
        ),
        ("near \"SELEC\": syntax error at offset 0: SQLITE_ERROR", DatabaseError::Refused),
        ("no such column: nope at offset 7: SQLITE_ERROR", DatabaseError::Refused),
        ("malformed JSON: SQLITE_ERROR", DatabaseError::Refused),
        ("string or blob too big: SQLITE_TOOBIG", DatabaseError::Refused),
    ];

    #[test]
    fn what_sqlite_refuses_is_known_in_both_databases() {
        for (text, expected) in REFUSALS {
            assert_eq!(of_object(text.into()), expected(text.into()), "{text}");
            // D1 puts its name in front, and the `worker` crate the class of JavaScript's error.
            for text in [format!("D1_ERROR: {text}"), format!("Error: D1_ERROR: {text}")] {
                assert_eq!(of_d1(text.clone()), expected(text.clone()), "{text}");
            }
        }
        let unnamed = "D1_ERROR: no such table: livestore_stores";
        assert_eq!(of_d1(unnamed.into()), DatabaseError::NoSuchTable(unnamed.into()));
    }

    #[test]
    fn what_d1_does_not_answer_may_be_stored() {
        // Those that Cloudflare's page "Debug D1" lists, and some of workerd's.
        for text in [
            "D1_ERROR: D1 DB reset because its code was updated.",
            "D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset.",
            "D1_ERROR: Network connection lost.",
            "D1_ERROR: Internal error in D1 DB storage caused object to be reset.",
            "D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.",
            "D1_ERROR: Can't read from request stream because client disconnected.",
            "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.",
            "D1_ERROR: D1 DB is overloaded. Requests queued for too long.",
            "D1_ERROR: D1 DB is overloaded. Too many requests queued.",
            "D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset.",
            "D1_ERROR: D1 DB exceeded its CPU time limit and was reset.",
            "D1_ERROR: disk I/O error: SQLITE_IOERR",
            "D1_ERROR: Wrong number of parameter bindings for SQL query.",
            "",
        ] {
            assert_eq!(of_d1(text.into()), DatabaseError::Lost(text.into()), "{text}");
        }
    }

    #[test]
    fn an_object_has_answered_whatever_it_says() {
        let text = "Wrong number of parameter bindings for SQL query.";
        assert_eq!(of_object(text.into()), DatabaseError::Refused(text.into()));
        let disabled = "SQL is not enabled for this Durable Object class. To enable it, change `new_classes` to `new_sqlite_classes` within the 'migrations' field in your wrangler.jsonc or wrangler.toml file.";
        assert_eq!(of_object(disabled.into()), DatabaseError::NoSqlite(disabled.into()));
    }

    #[test]
    fn errors_keep_their_source_and_what_is_certain() {
        let source = |error: LogError| match error {
            LogError::NothingStored(source) => (true, source),
            LogError::UnknownOutcome(source) => (false, source),
        };
        let refused = DatabaseError::Refused("UNIQUE constraint failed".into());
        let lost = DatabaseError::Lost("Network connection lost.".into());
        for (error, nothing_stored) in [(refused, true), (lost, false)] {
            let (certain, source) = source(error.clone().into());
            assert_eq!((certain, source.downcast_ref()), (nothing_stored, Some(&error)));
        }
        assert!(matches!(DatabaseError::HeadMoved(String::new()).into(), AppendError::HeadMoved));
        assert!(matches!(DatabaseError::Lost(String::new()).into(), AppendError::Log(LogError::UnknownOutcome(_))));
    }
}

//! Names of tables from ids that are any text. For the logs over SQL, and for tools that read their databases.
//! Pure; knows no database.

use std::fmt;

use crate::hash::fnv1a;

/// The version in table names, `PERSISTENCE_FORMAT_VERSION` of sync-cf 0.3.1 and 0.4.0.
const FORMAT_VERSION: u32 = 7;

/// A table name that is safe inside double quotes, which [`Display`](fmt::Display) puts round it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier(String);

/// The name has characters that we never give to a table.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no name of an event log's table")]
pub struct InvalidIdentifier(String);

impl Identifier {
    /// Checks a name, which may come from a database.
    ///
    /// # Errors
    ///
    /// [`InvalidIdentifier`] for anything but ASCII letters, digits and `_`.
    pub fn new(name: String) -> Result<Self, InvalidIdentifier> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !name.is_empty() && name.bytes().all(safe) { Ok(Self(name)) } else { Err(InvalidIdentifier(name)) }
    }

    /// The name without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The reference's name for a store's table, then names for when another store owns that: every
/// character outside `[A-Za-z0-9]` becomes `_`, so that many ids ask for one name.
pub fn candidates(store_id: &str) -> impl Iterator<Item = Identifier> {
    // Counted as JavaScript does: a character beyond the BMP is two.
    let sanitised: String = store_id
        .chars()
        .flat_map(|c| {
            let (c, times) = if c.is_ascii_alphanumeric() { (c, 1) } else { ('_', c.len_utf16()) };
            std::iter::repeat_n(c, times)
        })
        .collect();
    let hash = fnv1a(store_id);
    let suffixes =
        std::iter::once(String::new()).chain((0u64..).map(move |n| format!("_{:016x}", hash.wrapping_add(n))));
    suffixes.map(move |suffix| {
        Identifier::new(format!("eventlog_{FORMAT_VERSION}_{sanitised}{suffix}"))
            .expect("only safe characters were used")
    })
}

/// Whether a store takes over a table that nobody has registered, but that has events and the name that its id asks
/// for first. Such a table is the reference's, and belongs to one of the ids that ask for this name: to this one
/// if the reference left something else that tells so (`has_remains`), or if no other id asks for it. Else it is
/// left alone, until the one comes whose it is.
pub(crate) fn takes_over(store_id: &str, has_remains: bool) -> bool {
    has_remains || is_certain(store_id)
}

/// Whether no other id asks for this one's name first: letters in lower case and digits, nothing that was
/// replaced and nothing that SQLite takes for something else.
fn is_certain(store_id: &str) -> bool {
    !store_id.is_empty() && store_id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(store_id: &str) -> String {
        candidates(store_id).next().expect("a name").as_str().to_owned()
    }

    #[test]
    fn names_are_the_references() {
        assert_eq!(first("acc-args-7hnqceeb"), "eventlog_7_acc_args_7hnqceeb");
        assert_eq!(first(""), "eventlog_7_");
        assert_eq!(first("x'; DROP TABLE y; --"), "eventlog_7_x___DROP_TABLE_y____");
        assert_eq!(first("🚀ü"), "eventlog_7____");
    }

    #[test]
    fn ids_that_ask_for_one_name_differ_in_the_next() {
        assert_eq!(first("a-b"), first("a_b"));
        let second = |id| candidates(id).nth(1).expect("a name");
        assert_ne!(second("a-b"), second("a_b"));
        assert_ne!(candidates("a").nth(1), candidates("a").nth(2));
    }

    #[test]
    fn names_that_only_one_id_has_are_known() {
        for (id, certain) in [("notes1", true), ("a-b", false), ("a_b", false), ("A", false), ("", false), ("é", false)]
        {
            assert_eq!(takes_over(id, false), certain, "{id}");
            assert!(takes_over(id, true), "{id}");
        }
    }

    #[test]
    fn identifiers_cannot_break_out() {
        for name in ["", "a\"b", "a b", "a;b", "ü"] {
            assert!(Identifier::new(name.into()).is_err(), "{name}");
        }
        assert_eq!(Identifier::new("a_1".into()).expect("safe").to_string(), "\"a_1\"");
    }
}

//! Which stores there are, and which one an id means. Pure: works on what was read.

use livestore_sync_server::table_name::{self, Identifier};

use super::rows::Events;

/// The native server's table of all events.
const EVENTS_TABLE: &str = "events";

/// What a database holds, as far as it concerns us.
#[derive(Default)]
pub(super) struct Contents {
    /// The registry of stores with tables of their own, which this project's servers keep.
    pub(super) registry: Option<Vec<Registered>>,
    /// Ids and numbers of the stores in the native server's table of all events.
    pub(super) parts: Vec<(String, i64)>,
    /// Store ids in `context_7`, which sync-cf 0.4 keeps in the SQLite of each object.
    pub(super) context_ids: Vec<String>,
    /// Tables that can hold events.
    pub(super) event_tables: Vec<Identifier>,
}

/// A row of the registry.
pub(super) struct Registered {
    pub(super) id: String,
    pub(super) table: String,
    pub(super) gaps: i64,
}

/// A store in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Store {
    pub(super) id: String,
    pub(super) id_from: IdFrom,
    /// Its table's name.
    pub(super) table: String,
    /// Its events, if they are there and can be read.
    events: Option<Events>,
    /// Numbers without an event, as the registry has it.
    pub(super) gaps: Option<i64>,
}

/// What tells a store's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdFrom {
    /// This project's registry.
    Registry,
    /// An object of sync-cf 0.4.
    Object,
    /// The table's name alone: the id is that, or differs in characters that became `_`.
    Table,
}

impl IdFrom {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Object => "object",
            Self::Table => "table",
        }
    }
}

impl Store {
    /// Its events, or why they cannot be read.
    pub(super) fn events(&self) -> Result<&Events, String> {
        self.events.as_ref().ok_or_else(|| format!("there is no table {:?} with the columns of events", self.table))
    }
}

impl Contents {
    pub(super) fn is_of_sync_server(&self) -> bool {
        self.registry.is_some() || !self.event_tables.is_empty()
    }
}

/// The name that a server would first give to a store's table.
fn table_of(id: &str) -> Identifier {
    table_name::candidates(id).next().expect("there is always a first candidate")
}

/// SQLite takes `A` and `a` for the same.
fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// A table's name, if it is one of an events table.
pub(super) fn event_table(name: &str) -> Option<Identifier> {
    suffix(name)?;
    Identifier::new(name.into()).ok()
}

/// What follows the prefix that all events tables share.
fn suffix(table: &str) -> Option<&str> {
    let prefix = table_of("");
    let (start, suffix) = table.split_at_checked(prefix.as_str().len())?;
    is_same(start, prefix.as_str()).then_some(suffix)
}

/// A database's stores. `ids` are those that objects near it know.
pub(super) fn stores(contents: Contents, ids: &[String]) -> Vec<Store> {
    let mut unclaimed = contents.event_tables;
    let mut stores: Vec<_> = contents
        .registry
        .into_iter()
        .flatten()
        .map(|Registered { id, table, gaps }| {
            let position = unclaimed.iter().position(|found| is_same(found.as_str(), &table));
            let events = position.map(|position| Events::Table(unclaimed.remove(position)));
            Store { id, id_from: IdFrom::Registry, table, events, gaps: Some(gaps) }
        })
        .collect();
    stores.extend(contents.parts.into_iter().map(|(id, number)| {
        let (table, events) = (EVENTS_TABLE.into(), Some(Events::Part(number)));
        Store { id, id_from: IdFrom::Registry, table, events, gaps: None }
    }));
    stores.sort_by(|one, other| one.id.cmp(&other.id));
    stores.extend(unclaimed.into_iter().map(|table| {
        // Its own object's first; those of others only if they leave no doubt.
        let of = |ids: &[String]| {
            let mut ids: Vec<_> = ids.iter().filter(|id| is_same(table_of(id).as_str(), table.as_str())).collect();
            ids.sort();
            ids.dedup();
            if let [id] = ids[..] { Some(id.clone()) } else { None }
        };
        let (id, id_from) = match of(&contents.context_ids).or_else(|| of(ids)) {
            Some(id) => (id, IdFrom::Object),
            None => (suffix(table.as_str()).unwrap_or_default().to_owned(), IdFrom::Table),
        };
        Store { id, id_from, table: table.as_str().to_owned(), events: Some(Events::Table(table)), gaps: None }
    }));
    stores
}

/// The store that an id means: the one that has it, else the one whose table it would have.
pub(super) fn find<'a>(stores: &'a [Store], id: &str) -> Option<&'a Store> {
    stores.iter().find(|store| store.id == id).or_else(|| {
        let table = table_of(id);
        stores.iter().find(|store| store.id_from == IdFrom::Table && is_same(&store.table, table.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(names: &[&str]) -> Vec<Identifier> {
        names.iter().map(|name| event_table(name).expect("a name")).collect()
    }

    fn registered(id: &str, table: &str) -> Registered {
        Registered { id: id.into(), table: table.into(), gaps: 0 }
    }

    fn shown(stores: &[Store]) -> Vec<(&str, &str, &str, bool)> {
        stores.iter().map(|store| (&*store.id, store.id_from.as_str(), &*store.table, store.events.is_some())).collect()
    }

    #[test]
    fn tables_of_events_have_a_prefix() {
        for (name, suffix_wanted) in [
            ("eventlog_7_a_b", Some("a_b")),
            ("eventlog_7_", Some("")),
            ("EVENTLOG_7_a", Some("a")),
            ("eventlog_6_a", None),
            ("eventlog_7", None),
            ("context_7", None),
            ("_cf_KV", None),
            ("ünïcödé_7_a", None),
        ] {
            assert_eq!(suffix(name), suffix_wanted, "{name}");
        }
        assert!(event_table("eventlog_7_a\"b").is_none());
    }

    #[test]
    fn the_registry_tells_ids() {
        let contents = Contents {
            registry: Some(vec![
                registered("a-b", "eventlog_7_a_b"),
                registered("a_b", "eventlog_7_a_b_0123456789abcdef"),
                registered("gone", "eventlog_7_gone"),
            ]),
            event_tables: tables(&["EVENTLOG_7_a_b", "eventlog_7_a_b_0123456789abcdef", "eventlog_7_old"]),
            ..Contents::default()
        };
        let stores = stores(contents, &[]);
        assert_eq!(
            shown(&stores),
            [
                ("a-b", "registry", "eventlog_7_a_b", true),
                ("a_b", "registry", "eventlog_7_a_b_0123456789abcdef", true),
                ("gone", "registry", "eventlog_7_gone", false),
                ("old", "table", "eventlog_7_old", true),
            ]
        );
        assert_eq!(find(&stores, "a_b").map(|store| &*store.table), Some("eventlog_7_a_b_0123456789abcdef"));
        assert_eq!(find(&stores, "a b"), None, "its table is another's, and that other is known");
        assert_eq!(find(&stores, "old").map(|store| store.id_from), Some(IdFrom::Table));
    }

    #[test]
    fn objects_of_the_reference_tell_ids() {
        let contents = |context_ids: &[&str]| Contents {
            event_tables: tables(&["eventlog_7_a_b"]),
            context_ids: context_ids.iter().map(|id| (*id).into()).collect(),
            ..Contents::default()
        };
        let id = |own: &[&str], near: &[&str]| {
            let near: Vec<_> = near.iter().map(|id| (*id).into()).collect();
            let stores = stores(contents(own), &near);
            (stores[0].id.clone(), stores[0].id_from)
        };
        assert_eq!(id(&["a-b"], &[]), ("a-b".into(), IdFrom::Object));
        assert_eq!(id(&["a-b"], &["a-b", "a.b"]), ("a-b".into(), IdFrom::Object));
        assert_eq!(id(&[], &["c", "a.b"]), ("a.b".into(), IdFrom::Object));
        assert_eq!(id(&[], &["A-b"]), ("A-b".into(), IdFrom::Object));
        assert_eq!(id(&[], &["a-b", "a.b"]), ("a_b".into(), IdFrom::Table), "either shares the table");
        assert_eq!(id(&[], &["a-b", "a-b"]), ("a-b".into(), IdFrom::Object), "one id in two objects");
        assert_eq!(id(&["c"], &[]), ("a_b".into(), IdFrom::Table));
    }

    #[test]
    fn ids_that_nothing_tells_are_found_by_their_table() {
        let contents = Contents { event_tables: tables(&["eventlog_7_a_b"]), ..Contents::default() };
        let stores = stores(contents, &[]);
        for (id, is_found) in [("a_b", true), ("a-b", true), ("A-b", true), ("a🚀", false), ("ab", false), ("", false)]
        {
            assert_eq!(find(&stores, id).is_some(), is_found, "{id}");
        }
    }

    #[test]
    fn stores_without_a_table_of_their_own_are_beside_the_others() {
        let contents = Contents {
            registry: Some(vec![registered("b", "eventlog_7_b")]),
            parts: vec![("a".into(), 7), ("c".into(), 2)],
            event_tables: tables(&["eventlog_7_b"]),
            ..Contents::default()
        };
        let stores = stores(contents, &[]);
        assert_eq!(
            shown(&stores),
            [
                ("a", "registry", "events", true),
                ("b", "registry", "eventlog_7_b", true),
                ("c", "registry", "events", true)
            ]
        );
        assert_eq!(stores[0].events(), Ok(&Events::Part(7)));
    }

    #[test]
    fn databases_without_events_are_not_ours() {
        assert!(!Contents { context_ids: vec!["a".into()], ..Contents::default() }.is_of_sync_server());
        assert!(Contents { registry: Some(Vec::new()), ..Contents::default() }.is_of_sync_server());
        assert!(Contents { event_tables: tables(&["eventlog_7_"]), ..Contents::default() }.is_of_sync_server());
    }
}

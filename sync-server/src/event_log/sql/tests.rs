use livestore_sync_protocol::limits::EVENT_BYTES_MAX;
use livestore_sync_protocol::{Chunk, ChunkBuilder, EventRow, ItemFormat, SeqNum};
use rusqlite::Connection;

use super::documents::{DOCUMENT_BYTES_MAX, Part, parts};
use super::page::{chunks, next_limit};
use super::*;

fn table() -> Identifier {
    Identifier::new("eventlog_7_x".into()).expect("safe")
}

fn row(number: i64, args: Option<&str>) -> EventRow<'_> {
    EventRow {
        name: "n\"\\\n\u{1}\u{0}é🚀\u{2028}",
        args,
        seq_num: SeqNum::new(number).expect("safe"),
        parent_seq_num: SeqNum::new(number - 1).expect("safe"),
        client_id: "c'",
        session_id: "s\u{7f}",
        created_at: "2026-11-21T00:14:31.259Z",
    }
}

fn database(rows: &[EventRow<'_>]) -> Connection {
    let connection = Connection::open_in_memory().expect("a database");
    connection.execute_batch(&create_table(&table())).expect("created");
    for part in parts(rows.iter().copied()) {
        insert(&connection, part);
    }
    connection
}

fn insert(connection: &Connection, part: Part<'_>) {
    let inserted = match part {
        Part::Document(document) => connection.execute(&insert_document(&table()), [document]),
        Part::Row(row) => {
            let (number, parent) = (row.seq_num.get(), row.parent_seq_num.get());
            let columns = (number, parent, row.name, row.args, row.created_at, row.client_id, row.session_id);
            connection.execute(&insert_row(&table()), columns)
        }
    };
    inserted.expect("inserted");
}

fn document(rows: &[EventRow<'_>]) -> String {
    match parts(rows.iter().copied()).remove(0) {
        Part::Document(document) => document,
        Part::Row(row) => panic!("too large: {}", row.seq_num),
    }
}

fn page_of(connection: &Connection, limit: u32, format: ItemFormat) -> Vec<Chunk> {
    let page = page::rendered(&table(), format);
    let row = connection.query_row(&page, (0, limit), |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    let (items, index) = row.expect("a row");
    let rendered = chunks(SeqNum::ROOT, &items, &index).expect("a page");
    assert_eq!(rendered.broken, None);
    rendered.chunks
}

#[test]
fn pages_are_what_the_wire_wants_byte_for_byte() {
    let rows: Vec<_> =
        (1..=250).map(|number| row(number, (number % 3 > 0).then_some("{\"a\": [1.0,\"\\u0000\"]}"))).collect();
    let connection = database(&rows);
    for format in [ItemFormat::V03, ItemFormat::Rpc] {
        let mut expected = ChunkBuilder::new(format);
        rows.iter().for_each(|row| expected.push(row));
        let expected = expected.finish();
        assert_eq!(page_of(&connection, 1_000, format), expected);
        let events: Vec<_> = page_of(&connection, 120, format).iter().map(|chunk| chunk.events).collect();
        assert_eq!(events, [100, 20]);
    }
    assert_eq!(page_of(&database(&[]), 100, ItemFormat::Rpc), []);
}

#[test]
fn an_index_that_does_not_fit_its_page_is_none() {
    let rendered = |items, index| chunks(SeqNum::ROOT, items, index);
    let page = rendered("aa,b", "2 1 0 1 3 1").expect("a page");
    assert_eq!((page.chunks[0].last.get(), page.broken), (3, None));
    for (items, index) in [
        ("aa,b", "2 1 0"),
        ("aa", "2 1 0 1 2 1"),
        ("aa", "2 1"),
        ("aa", "x 1 0"),
        ("aa", "-2 1 0"),
        ("aa", "2 9007199254740992 0"),
    ] {
        assert_eq!(rendered(items, index), None, "{items} {index}");
    }
}

#[test]
fn events_that_do_not_follow_each_other_are_found() {
    let broken = |index: &str| {
        let page = chunks(SeqNum::ROOT, "a,b,c", index).expect("a page");
        page.broken.map(|broken| (broken.to_string().contains("event 3"), broken.may_be_a_hole()))
    };
    assert_eq!(broken("1 1 0 1 2 1 1 3 2"), None);
    assert_eq!(broken("1 1 0 1 3 2 1 4 3"), Some((true, true)));
    assert_eq!(broken("1 1 0 1 2 1 1 3 1"), Some((true, false)));
    assert_eq!(broken("1 2 1 1 3 1 1 7 5"), Some((true, false)), "the worst");
}

#[test]
fn pages_end_by_bytes_and_one_event_is_always_in_them() {
    let large = format!("\"{}\"", "x".repeat(300_000));
    let huge = format!("\"{}\"", "x".repeat(899_000));
    let rows = [row(1, Some(&large)), row(2, Some(&large)), row(3, Some(&large)), row(4, None)];
    let connection = database(&rows);
    let numbers = |connection: &Connection| {
        page_of(connection, 100, ItemFormat::Rpc).iter().map(|c| (c.first.get(), c.last.get())).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&connection), [(1, 1), (2, 2)], "a page of two chunks");
    assert_eq!(numbers(&database(&[row(1, Some(&huge)), row(2, None)])), [(1, 1)]);
}

#[test]
fn an_append_looks_at_the_head() {
    let connection = database(&[row(1, None)]);
    let changed = |expected: i64, number: i64| {
        connection.execute(&append_document(&table()), (document(&[row(number, Some("1"))]), expected)).expect("SQL")
    };
    assert_eq!(changed(0, 2), 0);
    assert_eq!(changed(1, 2), 1);
    assert_eq!(changed(2, (1 << 53) - 1), 1);
    let guarded = |expected: i64| {
        connection.query_row(&guard(&table()), [expected], |_| Ok(())).map_err(|error| error.to_string())
    };
    assert_eq!(guarded((1 << 53) - 1), Ok(()));
    assert!(guarded(2).is_err_and(|error| error.contains(HEAD_MOVED)));
}

#[test]
fn documents_keep_their_limit_and_every_event_fits() {
    // What grows most: every byte of a JSON text needs an escape when that is put into another.
    let worst = format!("\"{}\"", "\\\"".repeat(EVENT_BYTES_MAX / 2 - 200));
    let half = format!("\"{}\"", "\\\"".repeat(449_000));
    let rows = [row(1, Some("1")), row(2, Some(&worst)), row(3, Some(&half)), row(4, Some(&half)), row(5, None)];
    let parts = parts(rows);
    let kinds: Vec<_> = parts.iter().map(|part| matches!(part, Part::Row(_))).collect();
    assert_eq!(kinds, [false, true, false, false]);
    for part in parts {
        if let Part::Document(document) = &part {
            assert!(document.len() <= DOCUMENT_BYTES_MAX);
        }
    }
    let connection = database(&rows);
    let stored: Vec<_> = page_of(&connection, 10, ItemFormat::Rpc).into_iter().map(|chunk| chunk.items).collect();
    let mut expected = ChunkBuilder::new(ItemFormat::Rpc);
    expected.push(&rows[0]);
    assert_eq!(stored, [expected.finish().remove(0).items], "the next is a page of its own");
    let page = page::rendered(&table(), ItemFormat::Rpc);
    let items: String = connection.query_row(&page, (1, 10), |row| row.get(0)).expect("a row");
    let mut expected = String::new();
    rows[1].render(ItemFormat::Rpc, &mut expected);
    assert_eq!(items, expected);
    let small = "\"".to_owned() + &"x".repeat(90_000) + "\"";
    let small: Vec<_> = (1..=21).map(|number| row(number, Some(&small))).collect();
    assert!(document(&small).len() > 1_000_000);
    assert_eq!(super::documents::parts(small).len(), 1);
}

/// The limits of D1: 2,000,000 bytes for a value and for a row.
#[test]
fn the_largest_event_is_below_the_limits_of_d1() {
    const D1_BYTES_MAX: usize = 2_000_000;
    const { assert!(DOCUMENT_BYTES_MAX <= D1_BYTES_MAX) };
    let args = format!("\"{}\"", "x".repeat(EVENT_BYTES_MAX));
    let mut item = String::new();
    row(1, Some(&args)).render(ItemFormat::Rpc, &mut item);
    assert!(item.len() < D1_BYTES_MAX, "{} bytes, as a page has it", item.len());
}

#[test]
fn pages_look_at_fewer_events_where_they_are_large() {
    for (limit, looked, bytes, taken, expected) in [
        (500, 500, 150_000, 500, 1_000),
        (1_000, 1_000, 300_000, 1_000, 2_000),
        (2_000, 2_000, 300_000, 2_000, 2_000),
        (500, 500, 500_000, 500, 500),
        (500, 200, 60_000, 200, 500),
        (500, 500, 9_000_000, 1, 8),
        (500, 500, 5_000_000, 77, 77),
        (500, 500, 2_000_000, 250, 200),
        (8, 8, 1_000, 8, 16),
        (64, 64, 20_000, 64, 100),
    ] {
        assert_eq!(next_limit(limit, looked, bytes, taken, 2_000), expected, "{limit} {looked} {bytes} {taken}");
    }
}

#[test]
fn a_store_is_registered_with_what_its_table_holds() {
    let connection = database(&[row(1, None), row(5, Some("[]"))]);
    connection.execute_batch(CREATE_REGISTRY).expect("a registry");
    let register = |store: &str| {
        let values = (store, table().as_str().to_owned(), "backend", "2026-11-21T00:14:31.259Z");
        connection.execute(&register(&table()), values).expect("SQL")
    };
    assert_eq!((register("x"), register("x"), register("y")), (1, 0, 0), "one store, one table");
    assert!(connection.prepare(&has_events(&table())).expect("SQL").exists([]).expect("SQL"), "it has events");
    let found = connection.query_row(FIND_STORE, ["x"], |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(found, Ok((table().as_str().to_owned(), "backend".to_owned())));
    for (store, table, is_its) in
        [("x", "eventlog_7_x", true), ("x", "eventlog_7_y", false), ("y", "eventlog_7_x", false)]
    {
        let guarded = connection.query_row(&guard_registration(), [store, table], |_| Ok(()));
        assert_eq!(guarded.is_ok(), is_its, "{store} {table}: {guarded:?}");
    }
    assert!(connection.prepare(FIND_TABLE).expect("SQL").exists(["EVENTLOG_7_X"]).expect("SQL"), "SQLite folds case");
    let head = || connection.query_row(&head(&table()), ["x"], |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(head(), Ok((5, 3)));
    assert_eq!(connection.execute(UPDATE_GAPS, (7, "x")), Ok(1));
    assert_eq!(head(), Ok((5, 7)));
    assert_eq!(connection.query_row(&count(&table()), [1], |row| row.get::<_, i64>(0)), Ok(1));
    let mut events = connection.prepare(&page::columns(&table())).expect("SQL");
    let mut rows = events.query((0, 5, 10)).expect("SQL");
    let first = rows.next().expect("SQL").expect("a row");
    assert_eq!((first.get::<_, i64>(0), first.get::<_, Option<String>>(3)), (Ok(1), Ok(None)));
}

#[test]
fn a_database_keeps_its_first_secret() {
    let connection = Connection::open_in_memory().expect("a database");
    connection.execute_batch(CREATE_META).expect("a table");
    connection.execute_batch(CREATE_REGISTRY).expect("a registry");
    let find = || {
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        connection.query_row(FIND_STORE_AND_SECRET, ["x"], columns).expect("a row")
    };
    type Found = (Option<String>, Option<String>, Option<String>);
    assert_eq!(find(), Found::default());
    assert_eq!(["one", "two"].map(|secret| connection.execute(KEEP_SECRET, [secret]).expect("SQL")), [1, 0]);
    assert_eq!(find(), (Some("one".to_owned()), None, None));
    let values = ("x", table().as_str().to_owned(), "backend", "2026-11-21T00:14:31.259Z");
    connection.execute_batch(&create_table(&table())).expect("a table");
    connection.execute(&register(&table()), values).expect("SQL");
    assert_eq!(find(), (Some("one".to_owned()), Some(table().as_str().to_owned()), Some("backend".to_owned())));
}

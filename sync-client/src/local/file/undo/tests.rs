//! Each statement of the test's app, taken back.

use crate::local::file::LogFile;
use crate::local::file::test_app::{STATEMENTS, event, options};

/// Each statement alone on tables that are full, taken back and applied again.
#[test]
fn every_statement_can_be_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = LogFile::open_fast(&folder.path().join("a.db"), options()).unwrap();
    for round in 0..4 {
        for n in [0, 4, 5, 10, 14, 18, 20, 21, 23] {
            let setup = (0..4).map(|a| event(n, a, (a + round) % 4, "setup")).collect();
            file.commit(&[setup]).remove(0).unwrap();
        }
        let last = file.position().local_head();
        file.acknowledge(last, file.epoch()).unwrap();
        for (n, sql) in STATEMENTS.into_iter().enumerate() {
            for (a, b) in [(0, 0), (1, 2), (2, 1), (3, 3)] {
                let before = file.dump();
                let committed = file.commit(&[vec![event(n, a, b, "")]]).remove(0);
                committed.unwrap_or_else(|error| panic!("{}: {error}", sql));
                let id = crate::local::event::PendingId(file.last_id());
                let after = file.dump();
                file.drop_pending(id).unwrap();
                assert_eq!(file.dump(), before, "{} {a} {b}", sql);
                // And with another one after it.
                file.commit(&[vec![event(n, a, b, "")], vec![event((n + 7) % STATEMENTS.len(), b, a, "")]]);
                let second = crate::local::event::PendingId(file.last_id());
                file.drop_pending(second).unwrap();
                assert_eq!(file.dump(), after, "{} {a} {b}", sql);
                let first = crate::local::event::PendingId(file.last_id() - 1);
                file.drop_pending(first).unwrap();
                assert_eq!(file.dump(), before, "{} {a} {b}", sql);
            }
        }
    }
}

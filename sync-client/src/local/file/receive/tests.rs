//! Pages and acknowledgements, one by one.

use livestore_sync_protocol::{Args, Event, PulledEvent, SeqNum};

use crate::local::error::StoreError;
use crate::local::event::{PendingId, ResetKeep};
use crate::local::file::test_app::{event, options};
use crate::local::file::{LogFile, Received};
use crate::page::Page;

fn file(folder: &tempfile::TempDir) -> LogFile {
    LogFile::open_fast(&folder.path().join("a.db"), options()).unwrap()
}

fn theirs(seq_num: i64, label: &str, created_at: Option<&str>) -> PulledEvent {
    let event = Event {
        name: "0".into(),
        args: Args::from_json(format!(r#"[1, 2, "{label}"]"#)).unwrap(),
        seq_num: SeqNum::new(seq_num).unwrap(),
        parent_seq_num: SeqNum::new(seq_num - 1).unwrap(),
        client_id: "c".into(),
        session_id: "s".into(),
    };
    PulledEvent { event, created_at: created_at.map(str::to_owned) }
}

fn page(events: &[PulledEvent], backend_id: Option<&str>) -> Page {
    Page { events: events.to_vec(), remaining: 0, backend_id: backend_id.map(str::to_owned) }
}

#[test]
fn another_log_shows_by_its_identity_or_by_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = file(&folder);
    let log = [theirs(1, "a", None), theirs(2, "b", None)];
    assert!(matches!(file.receive(page(&log, None)), Ok(Received::Taken { .. })));
    let before = (file.dump(), file.position());
    // The same event spelled otherwise is the same; another one is not.
    for (events, backend_id, is_taken) in [
        (vec![theirs(2, "b", Some("now"))], None, true),
        (vec![theirs(2, "x", None), theirs(3, "c", None)], None, false),
        (vec![theirs(0, "a", None)], None, false),
        (log.to_vec(), Some("one"), true),
        (vec![], Some("two"), false),
        (log.to_vec(), Some("two"), false),
        (vec![], None, true),
    ] {
        let result = file.receive(page(&events, backend_id)).unwrap();
        assert_eq!(matches!(result, Received::Taken { .. }), is_taken, "{events:?} {result:?}");
        assert_eq!((file.dump(), file.position()), before);
        assert_eq!(matches!(result, Received::OtherLog { .. }), !is_taken);
    }
    assert_eq!(file.backend_id(), Some("one"));
    // What was missing is filled in.
    let stored = super::log::confirmed(&file.connection, SeqNum::ROOT, 9).unwrap();
    assert_eq!(stored.iter().map(|pulled| pulled.created_at.as_deref()).collect::<Vec<_>>(), [None, Some("now")]);
}

#[test]
fn an_answer_counts_only_for_the_events_that_were_pushed() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = file(&folder);
    file.commit(&[vec![event(0, 1, 1, "a"), event(0, 1, 1, "b"), event(0, 1, 1, "c")]]).remove(0).unwrap();
    let (epoch, second) = (file.epoch(), SeqNum::new(2).unwrap());
    assert_eq!(file.acknowledge(second, epoch).unwrap().len(), 2);
    // Again, and too late.
    assert_eq!(file.acknowledge(second, epoch).unwrap().len(), 0);
    file.receive(page(&[theirs(3, "theirs", None)], None)).unwrap();
    assert_eq!(file.acknowledge(SeqNum::new(4).unwrap(), epoch).unwrap().len(), 0);
    assert_eq!((file.position().head.get(), file.position().pending), (3, 1));
    let third = SeqNum::new(4).unwrap();
    assert_eq!(file.acknowledge(third, file.epoch()).unwrap().len(), 1);
    assert_eq!((file.position().head.get(), file.position().pending), (4, 0));
}

#[test]
fn ids_of_pending_events_are_not_used_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = file(&folder);
    for round in 1..4 {
        file.commit(&[vec![event(0, 1, 1, "a")]]).remove(0).unwrap();
        assert_eq!(file.last_id(), round);
        assert_eq!(file.position().first_pending, Some(round));
        file.drop_pending(PendingId(round)).unwrap();
        assert!(matches!(file.drop_pending(PendingId(round)), Err(StoreError::NotPending)));
    }
}

#[test]
fn all_that_is_kept_is_pending_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = file(&folder);
    file.receive(page(&[theirs(1, "1", None), theirs(2, "2", None)], Some("one"))).unwrap();
    let pending = ["3", "4"].map(|label| event(0, 1, 1, label)).to_vec();
    file.commit(&[pending]).remove(0).unwrap();
    let (dump, flush_up_to) = (file.dump(), file.last_id());
    file.reset(ResetKeep::Everything).unwrap();
    assert_eq!(file.dump(), dump);
    assert_eq!((file.backend_id(), file.position().head, file.position().pending), (None, SeqNum::ROOT, 4));
    let events = file.batch(100).unwrap().events;
    let labels: Vec<_> = events.iter().map(|event| event.args.as_json().to_owned()).collect();
    assert_eq!(labels, [r#"[1, 2, "1"]"#, r#"[1, 2, "2"]"#, r#"[1,1,"3"]"#, r#"[1,1,"4"]"#]);
    assert_eq!(events[3].parent_seq_num.get(), 3);
    assert!(file.position().first_pending.unwrap() < flush_up_to && file.last_id() == flush_up_to);
    // Another store did the same, and was first.
    let log: Vec<_> = events.into_iter().map(|event| PulledEvent { event, created_at: None }).collect();
    let Ok(Received::Taken { confirmed, received, rebased }) = file.receive(page(&log, Some("two"))) else { panic!() };
    assert_eq!((confirmed.len(), received.len(), rebased), (4, 0, false));
    file.reset(ResetKeep::Nothing).unwrap();
    assert!(file.dump().is_empty());
    assert_eq!(file.position().pending, 0);
}

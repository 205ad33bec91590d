//! Cases, one by one, of the machine that speaks 0.4 over a socket.

mod case;

use livestore_sync_protocol::rpc::{ClientMessage, ServerMessage};
use livestore_sync_protocol::{Cursor, PulledEvent, v03};

use self::case::{Case, ahead, at, events, id, page, pulled_from, push, secs, sent};
use super::pull::PAGES_WAITING_MAX;
use super::types::{Action, AppCommand, Moved};
use super::{Connection, Protocol};
use crate::error::{PullError, PushError};
use crate::state::{ConnectionState, OfflineReason};

#[test]
fn a_server_that_says_nothing_is_pinged_and_given_up() {
    let mut case = Case::open();
    // Nothing was pulled: servers would take a ping for that of a client that waits for an earlier connection.
    assert_eq!(case.wait(), [Action::SocketPing]);
    assert_eq!(case.now, secs(20));
    case.connection.handle_socket_pong(secs(25));
    case.command(AppCommand::Pull { key: 1, cursor: None, live: true });
    let ping = case.wait();
    assert!(matches!(sent(&ping)[..], [ClientMessage::Ping]), "{ping:?}");
    assert_eq!(case.now, secs(45));
    let lost = case.wait();
    assert_eq!(case.now, secs(55));
    let offline = ConnectionState::Offline { reason: OfflineReason::Silent };
    assert_eq!(lost, [Action::Close, Action::State(offline)]);
}

#[test]
fn a_connection_that_does_not_open_is_given_up() {
    let mut case = Case::new();
    assert_eq!(case.wait(), [Action::Open]);
    let lost = case.wait();
    assert_eq!((case.now, &lost[0]), (secs(10), &Action::Close));
    assert_eq!(case.wait(), [Action::Open]);
    assert!(case.now < secs(11));
}

#[test]
fn pulls_go_on_where_they_were() {
    let mut case = Case::open();
    assert_eq!(pulled_from(&case.command(AppCommand::Pull { key: 1, cursor: None, live: true })), None);
    case.server(&page(1, 1..=3, 7));
    case.lose();
    let cursor = Some(Cursor { backend_id: Some("b".into()), seq_num: at(3) });
    assert_eq!(pulled_from(&case.reopen()), cursor);
    // What was meant for the connection before is not taken; what is sent again is given once.
    assert_eq!(case.server(&page(1, 4..=5, 5)), []);
    let actions = case.server(&page(2, 2..=4, 6));
    let Action::Page { page, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(page.events.iter().map(|pulled| pulled.event.seq_num).collect::<Vec<_>>(), [at(4)]);
}

#[test]
fn pages_are_acknowledged_as_they_are_taken_on_their_connection() {
    let mut case = Case::open();
    case.command(AppCommand::Pull { key: 1, cursor: None, live: true });
    case.server(&page(1, 1..=3, 7));
    case.lose();
    case.reopen();
    case.server(&page(2, 4..=5, 5));
    assert_eq!(case.command(AppCommand::Taken { key: 1 }), [], "the page of the lost connection");
    let ack = case.command(AppCommand::Taken { key: 1 });
    assert!(matches!(&sent(&ack)[..], [ClientMessage::Ack { request_id }] if *request_id == id(2)), "{ack:?}");
}

#[test]
fn a_push_in_flight_is_sent_once_more() {
    let mut case = Case::open();
    assert_eq!(sent(&case.command(push(1))).len(), 1);
    case.lose();
    assert_eq!(sent(&case.reopen()).len(), 1);
    let lost = case.lose();
    let error = PushError::Offline { sent: true, reason: OfflineReason::Silent };
    assert!(lost.contains(&Action::Pushed { key: 1, result: Err(error) }), "{lost:?}");
    assert_eq!(sent(&case.reopen()).len(), 0);
}

#[test]
fn a_server_that_is_ahead_by_the_push_itself_has_stored_it() {
    for (theirs, expected) in [
        (page(3, 1..=2, 0), Ok(())),
        (page(3, 1..=1, 0), Err(PushError::ServerAhead { minimum_expected: at(9), provided: at(0) })),
    ] {
        let mut case = Case::open();
        case.command(push(1));
        case.lose();
        case.reopen();
        // The log is read from the batch's parent.
        assert_eq!(pulled_from(&case.server(&ahead(2, 9))), None);
        let mut actions = case.server(&theirs);
        actions.extend(case.server(&ServerMessage::pull_end(id(3))));
        let results: Vec<_> = actions.into_iter().filter(|action| matches!(action, Action::Pushed { .. })).collect();
        assert_eq!(results, [Action::Pushed { key: 1, result: expected }]);
    }
    // One that was never in doubt is not looked for.
    let mut case = Case::open();
    case.command(push(1));
    let error = PushError::ServerAhead { minimum_expected: at(9), provided: at(0) };
    assert_eq!(case.server(&ahead(1, 9)), [Action::Pushed { key: 1, result: Err(error) }]);
}

#[test]
fn requests_wait_for_a_connection_for_a_while_and_live_pulls_for_ever() {
    let mut case = Case::open();
    case.lose();
    case.command(push(1));
    case.command(AppCommand::Pull { key: 2, cursor: None, live: false });
    case.command(AppCommand::Pull { key: 3, cursor: None, live: true });
    case.command(AppCommand::Ping { key: 4 });
    let mut ended = Vec::new();
    while case.now < secs(60) {
        for action in case.wait() {
            match action {
                Action::Open => case.connection.handle_lost(case.now, OfflineReason::Silent),
                Action::Pushed { key, result: Err(PushError::Offline { sent: false, .. }) }
                | Action::Pulled { key, result: Err(PullError::Offline { .. }) } => ended.push((key, case.now)),
                Action::Ponged { key, .. } => ended.push((key, case.now)),
                _ => {}
            }
        }
    }
    ended.sort();
    assert_eq!(ended, [(1, secs(10)), (2, secs(10)), (4, secs(10))]);
    assert_eq!(sent(&case.reopen()).len(), 1, "the live pull");
}

#[test]
fn a_push_that_is_not_answered_costs_the_connection() {
    let mut case = Case::open();
    case.command(push(1));
    while !case.wait().contains(&Action::Close) {
        // It answers pings.
        case.connection.handle_socket_pong(case.now);
    }
    assert_eq!(case.now, secs(30));
}

#[test]
fn events_that_were_left_out_are_asked_for_again_until_it_is_clear_that_they_do_not_come() {
    let mut case = Case::open();
    case.command(AppCommand::Pull { key: 1, cursor: None, live: true });
    case.server(&page(1, 1..=3, 0));
    for request in 1..=3 {
        let actions = case.server(&page(request, 6..=7, 0));
        let messages = sent(&actions);
        let [.., ClientMessage::Interrupt { request_id }, ClientMessage::Request(again)] = &messages[..] else {
            panic!("{messages:?}")
        };
        assert_eq!((request_id, &again.id), (&id(request), &id(request + 1)));
    }
    let actions = case.server(&page(4, 6..=7, 0));
    let error = PullError::Gap { after: at(3), parent: at(5) };
    assert!(actions.contains(&Action::Pulled { key: 1, result: Err(error) }), "{actions:?}");
}

#[test]
fn what_is_dropped_leaves_nothing_behind() {
    for (command, connected) in [
        (AppCommand::Pull { key: 1, cursor: None, live: true }, true),
        (AppCommand::Pull { key: 1, cursor: None, live: false }, false),
        (push(1), true),
        (push(1), false),
        (AppCommand::Ping { key: 1 }, true),
    ] {
        let mut case = if connected { Case::open() } else { Case::new() };
        let pulled = matches!(command, AppCommand::Pull { .. });
        case.command(command);
        let dropped = case.command(AppCommand::Drop { key: 1 });
        let interrupted = matches!(&sent(&dropped)[..], [ClientMessage::Interrupt { .. }]);
        assert_eq!(interrupted, pulled && connected);
        let Connection { pulls, pushes, pings, requests, .. } = &case.connection;
        assert!(pulls.is_empty() && pushes.is_empty() && pings.is_empty() && requests.is_empty());
        // An answer that was on its way is for no request any more.
        if connected {
            assert_eq!(case.server(&ServerMessage::push_success(id(1))), []);
        }
    }
}

#[test]
fn what_cannot_be_understood_costs_the_connection_and_not_the_app() {
    for frame in ["{", r#"{"_tag":"Nope"}"#, r#"{"_tag":"Defect","defect":"no"}"#] {
        let mut case = Case::open();
        case.connection.handle_frame(case.now, frame);
        let actions = case.actions();
        assert!(actions.contains(&Action::Close), "{frame}: {actions:?}");
    }
}

#[test]
fn an_app_that_takes_too_slowly_is_waited_for_where_the_server_does_not() {
    let mut case = Case::of(Protocol::V03).opened();
    let command = AppCommand::Pull { key: 1, cursor: None, live: true };
    let pulls = |actions: &[Action]| -> Vec<v03::PullReq> {
        let decoded = |action: &Action| match action {
            Action::Send { frame, .. } => match v03::ClientMessage::decode(frame) {
                Ok(v03::ClientMessage::Pull(pull)) => Some(pull),
                other => panic!("{other:?}"),
            },
            _ => None,
        };
        actions.iter().filter_map(decoded).collect()
    };
    let pull = pulls(&case.command(command)).remove(0);
    let answer = |case: &mut Case, n: i64, context| {
        let batch = events(n..=n).into_iter().map(|event| PulledEvent { event, created_at: None }).collect();
        let request_id = v03::PullResId { context, request_id: pull.request_id.clone() };
        let frame = v03::ServerMessage::Pull(v03::PullRes { batch, request_id, remaining: 0 }).encode();
        case.connection.handle_frame(case.now, &frame);
        case.actions().iter().filter(|action| matches!(action, Action::Page { .. })).count()
    };
    let mut given = answer(&mut case, 1, v03::Context::Pull);
    for n in 2..200 {
        given += answer(&mut case, n, v03::Context::Push);
    }
    assert_eq!(given, PAGES_WAITING_MAX);
    let mut again = Vec::new();
    for _ in 0..given {
        assert_eq!(again, []);
        again = pulls(&case.command(AppCommand::Taken { key: 1 }));
    }
    assert_eq!(again[0].cursor, Some(at(given as i64)));
}

#[test]
fn a_slow_link_is_not_a_dead_one() {
    let mut case = Case::open();
    case.command(push(1));
    let step = secs(5);
    // The push is on its way, a byte at a time, and the ping behind it.
    while case.now < secs(300) {
        case.now += step;
        case.connection.handle_moved(Moved { any: case.now, progress: case.now });
        case.connection.handle_timeout(case.now);
        assert!(!case.actions().contains(&Action::Close), "at {:?}", case.now);
    }
    // Then nothing moves any more, and there is a ping that was not answered.
    let lost = case.wait();
    assert_eq!((case.now, &lost[0]), (secs(310), &Action::Close));
}

#[test]
fn pings_that_are_answered_do_not_hide_that_a_push_is_not() {
    let mut case = Case::open();
    case.command(push(1));
    loop {
        let actions = case.wait();
        if actions.contains(&Action::Close) {
            break assert_eq!(case.now, secs(30));
        }
        case.connection.handle_moved(Moved { any: case.now, progress: secs(0) });
        case.connection.handle_socket_pong(case.now);
    }
}

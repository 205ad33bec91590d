use livestore_sync_protocol::v03::{Context, PONG, ServerMessage};
use livestore_sync_protocol::{Chunk, ItemFormat, RequestId};
use uuid::Uuid;

use super::super::sample::{ME, OTHER, chunk, committed, seq};
use super::super::window::WINDOW_BYTES_START;
use super::super::{Action, Delivery, Outgoing, PULLS_MAX, Session};
use super::arrivals::{PINGS_MAX, UNPROVEN_ACKS_MAX};
use super::{Lost, Position, Proof};
use crate::error::{HistoryLost, HookError, LogError, PullError};

fn session() -> Session {
    Session::v03(ME, Proof::Pongs, 0)
}

const PING: &str = r#"{"requestId":"ping","_tag":"WSMessage.Ping"}"#;

fn pull(id: &str, cursor: Option<i64>) -> String {
    let cursor = cursor.map_or(String::new(), |cursor| format!(r#","cursor":{cursor}"#));
    format!(r#"{{"_tag":"WSMessage.PullReq","requestId":"{id}"{cursor}}}"#)
}

fn push(id: &str, events: &str) -> String {
    format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"{id}","batch":[{events}]}}"#)
}

const EVENT: &str = r#"{"name":"n","args":1,"seqNum":1,"parentSeqNum":0,"clientId":"c","sessionId":"s"}"#;

/// A frame in a few words.
fn frame(text: &str) -> String {
    match ServerMessage::decode(text).expect("a server message") {
        ServerMessage::Pull(res) => {
            let context = if res.request_id.context == Context::Pull { "pull" } else { "push" };
            let numbers = res.batch.iter().map(|pulled| pulled.event.seq_num.get());
            let range = numbers
                .clone()
                .min()
                .map_or("empty".into(), |first| format!("{first}..={}", numbers.max().expect("not empty")));
            format!("{context} {}: {range}, {} more", res.request_id.request_id, res.remaining)
        }
        ServerMessage::PushAck(id) => format!("ack {}", id.request_id),
        ServerMessage::Error(refusal) => format!("error {:?}: {}", refusal.request_id, refusal.message),
        ServerMessage::Pong(id) => format!("pong {}", id.request_id),
        other => panic!("never sent: {other:?}"),
    }
}

fn frames(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| frame(text)).collect()
}

fn handle(session: &mut Session, text: &str) -> Vec<String> {
    let describe = |input| match input {
        Action::Reply(text) | Action::Pong(text) => frame(&text),
        Action::Push { request_id, batch, backend_id: None, .. } => format!("do push {request_id} of {}", batch.len()),
        Action::Pull { delivery: Delivery::V03(Context::Pull, id), cursor, live: true, .. } => {
            format!("do pull {id} after {:?}", cursor.map(|cursor| cursor.seq_num.get()))
        }
        Action::NewClient => "new client".into(),
        other => panic!("not for 0.3: {other:?}"),
    };
    let has_spoken = session.has_spoken();
    let mut inputs = session.handle_frame(text, 0);
    let progress = matches!(inputs[0], Action::Progress);
    assert!(progress || has_spoken, "whoever waits for the client to speak hears of it");
    inputs.drain(..usize::from(progress));
    inputs.into_iter().map(describe).collect()
}

fn send(session: &mut Session, id: &str, first: i64, last: i64) -> String {
    let chunk = chunk(first - 1, last, ItemFormat::V03);
    let delivery = Delivery::V03(Context::Pull, id.into());
    let text = session.handle_chunk(&delivery, Some(&chunk), 0, "backend", 0).expect("0.3 pulls do not end");
    session.handle_sent(&delivery, chunk.last);
    frame(&text.into_text())
}

fn caught_up(session: &mut Session, id: &str) {
    assert_eq!(session.handle_caught_up(&Delivery::V03(Context::Pull, id.into()), true), None);
}

/// A session whose pull `p` has everything up to `last`.
fn live(last: i64) -> Session {
    let mut session = session();
    handle(&mut session, &pull("p", None));
    if last > 0 {
        send(&mut session, "p", 1, last);
    }
    caught_up(&mut session, "p");
    session
}

fn origin(connection: Uuid, id: &str) -> Option<(Uuid, RequestId)> {
    Some((connection, RequestId::Text(id.into())))
}

fn lost(session: &mut Session) -> Lost {
    session.handle_lost(0).expect("0.3")
}

fn left(pulls: &[(&str, i64)], acknowledged: &[&str]) -> Lost {
    let position = |(pull, after): &(&str, i64)| Position { pull: (*pull).into(), after: seq(*after) };
    Lost {
        pulls: pulls.iter().map(position).collect(),
        acknowledged: acknowledged.iter().map(|id| (*id).into()).collect(),
    }
}

/// A connection that may be an earlier one's client again.
fn held() -> Session {
    let mut session = session();
    session.hold();
    session
}

/// It turns out to be the one that left this.
fn adopt(session: &mut Session, lost: &Lost) -> Vec<String> {
    frames(&session.adopt(lost))
}

/// Commits, and tells the pings that go out with it.
fn pings(session: &mut Session, parent: i64, last: i64, origin: Option<(Uuid, RequestId)>) -> Vec<u64> {
    let ping = |outgoing| match outgoing {
        Outgoing::Ping(number) => Some(number),
        Outgoing::Text(_) | Outgoing::Remember => None,
    };
    session.handle_committed(&committed(parent, last, origin)).into_iter().filter_map(ping).collect()
}

/// What has been sent arrives: its pings are answered, those of pushes and one for the rest.
fn confirm(session: &mut Session) {
    let _ = session.poll_ping();
    (1..=PINGS_MAX).for_each(|ping| session.handle_pong(ping, 0));
}

#[test]
fn requests_become_inputs() {
    for (text, expected) in [
        (push("a", EVENT), vec!["do push a of 1"]),
        (push("a", ""), vec!["ack a"]),
        (pull("a", None), vec!["new client", "do pull a after None"]),
        (pull("a", Some(7)), vec!["new client", "do pull a after Some(7)"]),
        (PING.into(), vec!["pong ping"]),
        (
            r#"{"_tag":"WSMessage.AdminInfoReq","requestId":"a","adminSecret":""}"#.into(),
            vec![r#"error "a": Invalid admin secret"#],
        ),
        (
            r#"{"_tag":"WSMessage.AdminResetRoomReq","requestId":"a","adminSecret":"x"}"#.into(),
            vec![r#"error "a": Invalid admin secret"#],
        ),
        (r#"{"_tag":"Nope","requestId":"a"}"#.into(), vec![r#"error "a": unknown message tag: Nope"#]),
        (r#"{"_tag":"Nope"}"#.into(), vec![r#"error "": unknown message tag: Nope"#]),
    ] {
        assert_eq!(handle(&mut session(), &text), expected, "{text}");
    }
    for text in ["", "nope", "[]", "null", r#"{"requestId":"a"}"#, &pull("a", None).replace('}', r#","cursor":null}"#)]
    {
        let answers = handle(&mut session(), text);
        assert!(answers.len() == 1 && answers[0].starts_with("error "), "{text}: {answers:?}");
    }
    assert_eq!(frame(PONG), "pong ping");
}

#[test]
fn a_client_is_new_once() {
    let mut session = session();
    assert_eq!(handle(&mut session, &pull("a", None)), ["new client", "do pull a after None"]);
    assert_eq!(handle(&mut session, &pull("b", None)), ["do pull b after None"]);
}

#[test]
fn every_connection_gets_what_is_pushed() {
    let mut session = session();
    assert_eq!(frames(&session.commit(0, 2, origin(OTHER, "x"))), ["push x: 1..=2, 0 more"]);
    assert_eq!(frames(&session.commit(2, 3, None)), ["push : 3..=3, 0 more"]);
    let chunks = ["push x: 4..=103, 0 more", "push x: 104..=203, 0 more", "push x: 204..=210, 0 more"];
    assert_eq!(frames(&session.commit(3, 210, origin(OTHER, "x"))), chunks);
}

#[test]
fn the_pusher_gets_its_acknowledgement_and_then_its_events() {
    let mut session = live(0);
    assert_eq!(frames(&session.commit(0, 1, origin(ME, "x"))), ["ack x", "push x: 1..=1, 0 more"]);
    assert_eq!(frame(&session.acknowledge(&RequestId::Text("y".into()))), "ack y");
}

#[test]
fn nothing_overtakes_a_backlog() {
    let mut session = session();
    handle(&mut session, &pull("p", None));
    assert!(session.is_catching_up());
    assert!(session.commit(4, 5, origin(OTHER, "x")).is_empty());
    assert_eq!(frames(&session.commit(5, 6, origin(ME, "y"))), ["ack y"]);
    assert_eq!(send(&mut session, "p", 1, 6), "pull p: 1..=6, 0 more");
    caught_up(&mut session, "p");
    assert!(!session.is_catching_up());
    assert_eq!(frames(&session.commit(6, 7, None)), ["push : 7..=7, 0 more"]);
}

#[test]
fn a_pull_that_fails_holds_nothing_back() {
    let mut session = session();
    handle(&mut session, &pull("p", None));
    let error = LogError::nothing_stored("secret").into();
    let delivery = Delivery::V03(Context::Pull, "p".into());
    let answer = session.handle_pull_failed(&delivery, &error).expect("a frame");
    assert!(frame(&answer).starts_with(r#"error "p": "#) && !answer.contains("secret"), "{answer}");
    assert!(!session.is_catching_up());
    assert_eq!(lost(&mut session), left(&[], &[]), "it has a hole: nobody may go on behind it");
}

/// A published client takes a refused push for a lost race and says nothing; a pull that fails it shows.
#[test]
fn lost_history_is_told_to_a_continued_pull() {
    let lost_history = HistoryLost { backend_id: "b".into(), head: seq(5), position: seq(10) };
    let refused = r#"error "x": Invalid parent event number. Received e10 but expected e5"#.to_owned();
    let told = |id: &str| {
        let words = "the store's backend id is b, the client has b up to event 10, where the log ends at 5";
        format!("error {id:?}: {words}")
    };
    let push = |session: &mut Session| {
        frames(&session.push_failed(&RequestId::Text("x".into()), &lost_history.clone().into()))
    };
    // Where the last server had left it, as far as this one can know.
    let mut returning = session();
    adopt(&mut returning, &left(&[("p", 5)], &[]));
    assert_eq!(push(&mut returning), [refused.clone(), told("p")]);
    assert_eq!(push(&mut returning), std::slice::from_ref(&refused), "once");
    assert_eq!(lost(&mut returning), left(&[], &[]), "nobody may go on behind what was lost");
    // A pull that was served on this connection is where the log is.
    let mut new = live(5);
    assert_eq!(push(&mut new), std::slice::from_ref(&refused));
    assert_eq!(push(&mut session()), [refused], "it has no pull");
    // Unless the log was put back since.
    assert_eq!(frames(&new.handle_history_lost(&lost_history)), [told("p")]);
}

#[test]
fn a_client_that_may_not_pull_gets_no_events() {
    let rejected = PullError::Rejected(HookError::new("not you"));
    let mut refused = session();
    handle(&mut refused, &pull("p", None));
    let delivery = Delivery::V03(Context::Pull, "p".into());
    let answer = refused.handle_pull_failed(&delivery, &rejected).expect("a frame");
    assert_eq!(frame(&answer), r#"error "p": not you"#);
    let mut returning = held();
    let lost = left(&[("p", 1), ("q", 2)], &[]);
    adopt(&mut returning, &lost);
    let answers = returning.handle_continuation_refused(&lost.pulls, &rejected);
    assert_eq!(frames(&answers), [r#"error "p": not you"#, r#"error "q": not you"#]);
    for mut session in [refused, returning] {
        assert!(!session.is_catching_up() && session.continuable_pulls().is_empty());
        assert!(session.commit(2, 3, None).is_empty());
        assert!(!session.begin_catch_up(), "not by the way of a push either");
        assert_eq!(frames(&session.commit(3, 4, origin(ME, "x"))), ["ack x"]);
        // The app may say otherwise later.
        handle(&mut session, &pull("r", Some(4)));
        send(&mut session, "r", 0, 0);
        caught_up(&mut session, "r");
        assert_eq!(frames(&session.commit(4, 5, None)), ["push : 5..=5, 0 more"]);
    }
    // One that has pulled meanwhile is a new client, and that pull is another matter.
    let mut new = held();
    adopt(&mut new, &left(&[("p", 1)], &[]));
    handle(&mut new, &pull("n", None));
    new.handle_continuation_refused(&left(&[("p", 1)], &[]).pulls, &rejected);
    assert!(new.is_catching_up());
    assert_eq!(new.continuable_pulls(), ["n"]);
}

#[test]
fn an_unknown_client_may_catch_up_from_its_push() {
    let begin = |session: &mut Session| session.begin_catch_up();
    let mut unknown = session();
    assert!(begin(&mut unknown));
    assert!(unknown.is_catching_up());
    assert!(!begin(&mut unknown), "once at a time");
    assert!(unknown.commit(0, 1, None).is_empty());
    assert!(!begin(&mut live(0)), "what it has is known");
    let mut pulling = session();
    handle(&mut pulling, &pull("p", None));
    assert!(!begin(&mut pulling));
    assert!(!begin(&mut held()), "that is to come");
    let mut reached = session();
    reached.commit(0, 1, None);
    assert!(!begin(&mut reached), "it would get events twice");
}

#[test]
fn what_arrived_is_known_by_pongs() {
    let mut session = live(3);
    assert_eq!(lost(&mut session), left(&[("p", 0)], &[]), "sent is not arrived");

    let mut session = live(3);
    confirm(&mut session);
    assert_eq!(session.poll_ping(), None, "all is confirmed");
    let first = pings(&mut session, 3, 4, origin(ME, "x"));
    assert_eq!(session.poll_ping(), None, "there is no more");
    let second = pings(&mut session, 4, 5, origin(ME, "y"));
    session.commit(5, 6, origin(ME, "z"));
    session.handle_pong(first[0], 0);
    session.handle_pong(second[0] + 2, 0);
    assert_eq!(lost(&mut session), left(&[("p", 4)], &["y", "z"]), "what answers no ping says nothing");

    let mut session = live(3);
    session.commit(3, 4, None);
    let last = pings(&mut session, 4, 5, None);
    session.commit(5, 6, None);
    session.handle_pong(last[0], 0);
    assert_eq!(lost(&mut session), left(&[("p", 5)], &[]), "a pong covers the pings before it");

    let mut session = live(3);
    confirm(&mut session);
    let parts = pings(&mut session, 3, 253, None);
    assert_eq!(parts.len(), 3, "one behind each chunk");
    session.handle_pong(parts[1], 0);
    assert_eq!(lost(&mut session), left(&[("p", 203)], &[]), "a commit may arrive in part");

    let mut session = live(3);
    for number in 0..PINGS_MAX as i64 {
        assert_eq!(pings(&mut session, 3 + number, 4 + number, None).len(), 1);
    }
    assert_eq!(pings(&mut session, 100, 101, None).len(), 0, "so many are on their way");
    session.handle_pong(1, 0);
    assert!(session.poll_ping().is_some());
    session.handle_pong(PINGS_MAX + 1, 0);
    assert_eq!(lost(&mut session), left(&[("p", 101)], &[]));

    let mut session = live(3);
    session.handle_pong(1, 0);
    assert_eq!(lost(&mut session), left(&[("p", 0)], &[]), "nobody asked");
}

#[test]
fn a_pong_says_nothing_about_a_pull_that_is_newer_than_its_ping() {
    let mut session = held();
    adopt(&mut session, &left(&[("old", 10)], &[]));
    send(&mut session, "old", 11, 20);
    let ping = session.poll_ping().expect("there is news");
    handle(&mut session, &pull("new", Some(3)));
    send(&mut session, "new", 4, 20);
    session.handle_pong(ping, 0);
    assert_eq!(lost(&mut session), left(&[("new", 3)], &[]));
}

#[test]
fn a_pong_says_nothing_about_a_chunk_that_was_not_queued_before_its_ping() {
    let mut session = live(3);
    let delivery = Delivery::V03(Context::Pull, "p".into());
    let chunk = chunk(3, 9, ItemFormat::V03);
    session.handle_chunk(&delivery, Some(&chunk), 0, "backend", 0).expect("0.3 pulls do not end");
    confirm(&mut session);
    assert_eq!(lost(&mut session), left(&[("p", 3)], &[]), "it still waits for room");
    session.handle_sent(&delivery, chunk.last);
    confirm(&mut session);
    assert_eq!(lost(&mut session), left(&[("p", 9)], &[]));
}

#[test]
fn only_clients_that_can_come_back_have_acknowledgements_kept() {
    let mut session = session();
    for number in 0..100 {
        session.commit(number, number + 1, origin(ME, "x"));
        handle(&mut session, &push("y", ""));
    }
    assert_eq!(session.poll_ping(), None);
    assert_eq!(lost(&mut session), left(&[], &[]));
}

#[test]
fn a_client_that_comes_back_continues() {
    let mut session = held();
    assert!(session.is_catching_up());
    assert!(session.commit(7, 8, None).is_empty(), "nothing is sent before it is known which client it is");
    assert!(!session.has_spoken());
    assert_eq!(handle(&mut session, PING), ["pong ping"]);
    assert!(session.has_spoken());
    assert!(session.commit(8, 9, None).is_empty());
    assert_eq!(adopt(&mut session, &left(&[("p", 3), ("q", 5)], &["x"])), ["ack x"]);
    assert!(!session.is_held());
    assert!(session.commit(9, 10, None).is_empty(), "its backlog comes first");
    send(&mut session, "p", 4, 10);
    send(&mut session, "q", 6, 10);
    caught_up(&mut session, "p");
    assert_eq!(frames(&session.commit(10, 11, None)), ["push : 11..=11, 0 more"]);
    confirm(&mut session);
    assert_eq!(lost(&mut session), left(&[("p", 11), ("q", 11)], &[]));
}

#[test]
fn a_client_that_is_lost_again_leaves_what_did_not_arrive() {
    let mut session = held();
    assert_eq!(frames(&session.commit(7, 8, origin(ME, "early"))), ["ack early"]);
    adopt(&mut session, &left(&[("p", 3)], &["x"]));
    send(&mut session, "p", 4, 8);
    assert_eq!(lost(&mut session), left(&[("p", 3)], &["early", "x"]));
}

#[test]
fn a_client_that_pulls_continues_nothing() {
    let mut session = held();
    assert_eq!(handle(&mut session, &pull("new", None)), ["new client", "do pull new after None"]);
    assert!(!session.is_held());
    send(&mut session, "new", 1, 9);
    caught_up(&mut session, "new");
    assert!(!session.is_catching_up());
    confirm(&mut session);
    assert_eq!(lost(&mut session), left(&[("new", 9)], &[]));
}

#[test]
fn what_the_log_yields_behind_a_pulls_last_page_is_pushed() {
    let mut session = session();
    handle(&mut session, &pull("p", None));
    let chunk = |session: &mut Session, first: i64, last, remaining| {
        let chunk = chunk(first - 1, last, ItemFormat::V03);
        let delivery = Delivery::V03(Context::Pull, "p".into());
        let text = session.handle_chunk(&delivery, Some(&chunk), remaining, "backend", 0);
        session.handle_sent(&delivery, chunk.last);
        frame(&text.expect("0.3 pulls do not end").into_text())
    };
    assert_eq!(chunk(&mut session, 1, 2, 1), "pull p: 1..=2, 1 more");
    assert_eq!(chunk(&mut session, 3, 3, 0), "pull p: 3..=3, 0 more");
    assert_eq!(chunk(&mut session, 4, 5, 2), "push p: 4..=5, 2 more", "its client takes no more pages");
    confirm(&mut session);
    assert_eq!(lost(&mut session), left(&[("p", 5)], &[]));
}

#[test]
fn so_much_of_a_backlog_waits_for_pongs_and_no_more() {
    let chunk = Chunk { items: "x".repeat(WINDOW_BYTES_START - 1).into(), ..chunk(0, 1, ItemFormat::V03) };
    let delivery = Delivery::V03(Context::Pull, "p".into());
    for (proof, expected) in [(Proof::Pongs, false), (Proof::Frames, true)] {
        let mut session = Session::v03(ME, proof, 0);
        handle(&mut session, &pull("p", None));
        let send = |session: &mut Session| {
            session.handle_chunk(&delivery, Some(&chunk), 1, "backend", 0).expect("0.3 pulls do not end");
            session.handle_sent(&delivery, chunk.last);
            session.poll_ping()
        };
        let ping = send(&mut session);
        assert_eq!(session.poll_ready(&delivery), Some(true), "there is room for a byte");
        send(&mut session);
        assert_eq!(session.poll_ready(&delivery), Some(expected));
        if let Some(ping) = ping {
            session.handle_pong(ping, 1);
            assert_eq!(session.poll_ready(&delivery), Some(true));
        }
    }
}

/// Whatever is sent without a ping of its own, because too many are on their way.
#[test]
fn what_no_ping_covers_yet_counts_as_well() {
    let mut session = session();
    handle(&mut session, &pull("p", None));
    let delivery = Delivery::V03(Context::Pull, "p".into());
    let chunk = Chunk { items: "x".repeat(WINDOW_BYTES_START).into(), ..chunk(0, 1, ItemFormat::V03) };
    session.handle_chunk(&delivery, Some(&chunk), 1, "backend", 0).expect("0.3 pulls do not end");
    assert_eq!(session.poll_ready(&delivery), Some(false));
}

#[test]
fn so_many_backlogs_are_sent_at_a_time() {
    let mut session = session();
    for number in 0..PULLS_MAX {
        let asked = handle(&mut session, &pull(&number.to_string(), None));
        assert_eq!(asked.last(), Some(&format!("do pull {number} after None")));
    }
    let refused = [format!(r#"error "over": more than {PULLS_MAX} pulls at a time"#)];
    assert_eq!(handle(&mut session, &pull("over", None)), refused);
    caught_up(&mut session, "0");
    assert_eq!(handle(&mut session, &pull("next", None)), ["do pull next after None"]);
}

#[test]
fn the_last_acknowledgements_are_repeated() {
    for proof in [Proof::Pongs, Proof::Frames] {
        let mut session = Session::v03(ME, proof, 0);
        handle(&mut session, &pull("p", None));
        caught_up(&mut session, "p");
        for number in 0..=UNPROVEN_ACKS_MAX {
            session.acknowledge(&RequestId::Text(number.to_string()));
        }
        let acknowledged = lost(&mut session).acknowledged;
        assert_eq!(acknowledged, (1..=UNPROVEN_ACKS_MAX).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

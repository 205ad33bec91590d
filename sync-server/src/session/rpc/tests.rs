use livestore_sync_protocol::rpc::{Exit, PING, PONG, ServerMessage};
use livestore_sync_protocol::{Chunk, Generation, ItemFormat, PageInfo, RequestId};

use super::super::sample::{ME, OTHER, chunk, seq};
use super::super::window::{WINDOW_BYTES_MAX, WINDOW_BYTES_START};
use super::super::{Action, Delivery, PULLS_MAX, Proof, Session};
use super::{PARKED_CLIENT_MS, UNACKED_CHUNKS_MAX};
use crate::PullError;
use crate::close::CloseCode;
use crate::error::{HistoryLost, HookError};

const OPENED_MS: u64 = 1_000;

fn session() -> Session {
    Session::rpc(ME, OPENED_MS)
}

fn id(text: &str) -> RequestId {
    RequestId::Text(text.into())
}

fn request(id: &str, tag: &str, payload: &str) -> String {
    format!(r#"{{"_tag":"Request","id":{id},"tag":"{tag}","payload":{payload},"headers":[]}}"#)
}

fn pull(id: &str, live: bool) -> String {
    let payload = format!(r#"{{"storeId":"s","live":{live},"cursor":{{"_tag":"None"}}}}"#);
    request(&format!("\"{id}\""), "SyncWsRpc.Pull", &payload)
}

fn push(id: &str, events: &str) -> String {
    push_knowing(id, events, NOT_KNOWING)
}

const NOT_KNOWING: &str = r#"{"_tag":"None"}"#;
const KNOWING: &str = r#"{"_tag":"Some","value":"backend"}"#;

fn push_knowing(id: &str, events: &str, backend_id: &str) -> String {
    let payload = format!(r#"{{"storeId":"s","batch":[{events}],"backendId":{backend_id}}}"#);
    request(id, "SyncWsRpc.Push", &payload)
}

const EVENT: &str = r#"{"name":"n","args":1,"seqNum":1,"parentSeqNum":0,"clientId":"c","sessionId":"s"}"#;

fn ack(id: &str) -> String {
    format!(r#"{{"_tag":"Ack","requestId":"{id}"}}"#)
}

fn interrupt(id: &str) -> String {
    format!(r#"{{"_tag":"Interrupt","requestId":"{id}"}}"#)
}

/// A frame in a few words.
fn frame(text: &str) -> String {
    let [message] = ServerMessage::decode(text).expect("a server message").try_into().expect("one message");
    match message {
        ServerMessage::Chunk { request_id, values } => {
            let [value] = &values[..] else { panic!("one value") };
            let numbers = value.batch.iter().map(|pulled| pulled.event.seq_num.get());
            let range = numbers
                .clone()
                .min()
                .map_or("empty".into(), |first| format!("{first}..={}", numbers.max().expect("not empty")));
            let more = match value.page_info {
                PageInfo::MoreKnown { remaining } => format!(", {remaining} more"),
                PageInfo::NoMore => String::new(),
                PageInfo::MoreUnknown => ", more".into(),
            };
            format!("{request_id}: {range}{more}")
        }
        ServerMessage::Exit { request_id, exit: Exit::Success(_) } => format!("{request_id}: ok"),
        ServerMessage::Exit { request_id, exit: Exit::Failure(cause) } => {
            let cause = format!("{cause:?}");
            format!("{request_id}: {}", cause.split([' ', '(']).next().unwrap_or_default())
        }
        ServerMessage::Defect { defect } => format!("defect: {defect}"),
        ServerMessage::Pong => "pong".into(),
    }
}

fn frames(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| frame(text)).collect()
}

/// What a frame asks for, in a few words.
fn handle(session: &mut Session, text: &str, now_ms: u64) -> Vec<String> {
    let describe = |input| match input {
        Action::Reply(text) | Action::Pong(text) | Action::PullEnded(text) => frame(&text),
        Action::Push { request_id, batch, generation, .. } => {
            format!("push {request_id} of {} ({})", batch.len(), generation.name())
        }
        Action::Pull { delivery: Delivery::Rpc(id, _), live, generation, .. } => {
            format!("{} {id} ({})", if live { "live pull" } else { "pull" }, generation.name())
        }
        Action::Progress => "progress".into(),
        Action::Close(code) => format!("close {}", code.number()),
        other => panic!("not for RPC: {other:?}"),
    };
    session.handle_frame(text, now_ms).into_iter().map(describe).collect()
}

/// Starts a pull.
fn start(session: &mut Session, id: &str, live: bool) -> Delivery {
    match session.handle_frame(&pull(id, live), OPENED_MS).remove(0) {
        Action::Pull { delivery, .. } => delivery,
        other => panic!("no pull: {other:?}"),
    }
}

fn send(session: &mut Session, delivery: &Delivery, number: i64, remaining: u64) -> Option<String> {
    let chunk = chunk(number - 1, number, ItemFormat::Rpc);
    session.handle_chunk(delivery, Some(&chunk), remaining, "backend", OPENED_MS).map(|text| frame(&text.into_text()))
}

fn close() -> String {
    format!("close {}", CloseCode::NoPull.number())
}

#[test]
fn requests_become_inputs() {
    for (text, expected) in [
        (push("\"1\"", EVENT), "push 1 of 1 (0.4)"),
        (push("1", EVENT), "push 1 of 1 (next)"),
        (push("\"1\"", ""), "1: ok"),
        (pull("1", true), "live pull 1 (0.4)"),
        (pull("1", false), "pull 1 (0.4)"),
        (request("\"1\"", "SyncHttpRpc.Ping", r#"{"storeId":"s"}"#), "1: ok"),
        (PING.into(), "pong"),
        (r#"{ "_tag": "Ping", "x": 1 }"#.into(), "pong"),
        (request("\"1\"", "SyncWsRpc.Push", "{}"), "1: Die"),
        (request("1", "Nope", "{}"), "1: Die"),
        (request("\"1\"", "Nope", "{}"), r#"defect: "Unknown request tag: Nope""#),
    ] {
        assert_eq!(handle(&mut session(), &text, OPENED_MS), [expected], "{text}");
    }
    assert!(handle(&mut session(), r#"{"_tag":"Eof"}"#, OPENED_MS).is_empty());
}

#[test]
fn an_array_is_its_messages() {
    let array = format!("[{},{},{}]", pull("1", true), r#"{"_tag":"Nope"}"#, push("\"2\"", EVENT));
    let expected = ["live pull 1 (0.4)", r#"defect: "Unknown request tag: Nope""#, "push 2 of 1 (0.4)"];
    assert_eq!(handle(&mut session(), &array, OPENED_MS), expected);
}

/// Sends a chunk of so many bytes.
fn send_bytes(session: &mut Session, delivery: &Delivery, bytes: usize) {
    let chunk = Chunk { items: "x".repeat(bytes).into(), ..chunk(0, 1, ItemFormat::Rpc) };
    assert!(session.handle_chunk(delivery, Some(&chunk), 1, "backend", OPENED_MS).is_some());
}

#[test]
fn so_many_bytes_wait_for_acks_and_no_more() {
    let mut session = session();
    let (first, second) = (start(&mut session, "1", true), start(&mut session, "2", false));
    send_bytes(&mut session, &first, WINDOW_BYTES_START - 1);
    assert_eq!(session.poll_ready(&first), Some(true));
    send_bytes(&mut session, &first, 1);
    assert_eq!(session.poll_ready(&first), Some(false));
    assert_eq!(session.poll_ready(&second), Some(true), "each pull has its own window");
    assert_eq!(handle(&mut session, &ack("2"), OPENED_MS), ["progress"]);
    assert_eq!(session.poll_ready(&first), Some(false));
    assert_eq!(handle(&mut session, &ack("1"), OPENED_MS), ["progress"]);
    assert_eq!(session.poll_ready(&first), Some(true));
}

#[test]
fn chunks_that_arrive_at_once_are_made_no_smaller() {
    let mut session = session();
    let pull = start(&mut session, "1", true);
    for (acked_ms, expected) in [(None, true), (Some(0), false), (Some(20), true)] {
        if let Some(after_ms) = acked_ms {
            handle(&mut session, &ack("1"), OPENED_MS + after_ms);
        }
        let frame = session.handle_chunk(&pull, Some(&chunk(0, 1, ItemFormat::Rpc)), 1, "backend", OPENED_MS);
        let packed = frame.expect("it goes on").packed(|_| Some(Vec::new()));
        assert_eq!(packed.is_some(), expected, "{acked_ms:?}");
    }
}

#[test]
fn acks_for_nothing_give_no_credit() {
    let mut session = session();
    let pull = start(&mut session, "1", true);
    (0..100).for_each(|_| drop(handle(&mut session, &ack("1"), OPENED_MS)));
    send_bytes(&mut session, &pull, WINDOW_BYTES_START);
    assert_eq!(session.poll_ready(&pull), Some(false));
}

#[test]
fn who_acknowledges_nothing_of_what_is_published_is_deaf() {
    let mut session = session();
    let pull = start(&mut session, "1", true);
    session.handle_caught_up(&pull, true);
    for number in 0..UNACKED_CHUNKS_MAX as i64 {
        session.commit(number, number + 1, None);
    }
    assert!(!session.is_deaf());
    session.commit(UNACKED_CHUNKS_MAX as i64, UNACKED_CHUNKS_MAX as i64 + 1, None);
    assert!(session.is_deaf());
    handle(&mut session, &ack("1"), OPENED_MS);
    assert!(!session.is_deaf());
}

#[test]
fn published_chunks_need_no_window() {
    let mut session = session();
    let pull = start(&mut session, "1", true);
    session.handle_caught_up(&pull, true);
    send_bytes(&mut session, &pull, WINDOW_BYTES_MAX);
    for number in 0..3 {
        assert_eq!(frames(&session.commit(number, number + 1, None)), [format!("1: {0}..={0}", number + 1)]);
    }
}

#[test]
fn http_bodies_have_no_window_and_no_live_pulls() {
    let mut session = Session::http(ME, OPENED_MS);
    let text = request("\"1\"", "SyncHttpRpc.Pull", r#"{"storeId":"s","live":true,"cursor":{"_tag":"None"}}"#);
    let Action::Pull { delivery, live, .. } = session.handle_frame(&text, OPENED_MS).remove(0) else {
        panic!("no pull")
    };
    assert!(!live);
    for _ in 0..3 {
        send_bytes(&mut session, &delivery, WINDOW_BYTES_MAX);
        assert_eq!(session.poll_ready(&delivery), Some(true));
    }
    assert!(handle(&mut session, &ack("9"), OPENED_MS).is_empty(), "there is no socket to close");
}

#[test]
fn a_pull_says_what_remains_and_ends() {
    let mut session = session();
    let pull = start(&mut session, "1", false);
    assert!(!session.is_catching_up(), "a pull that is not live has nothing to catch up with");
    assert_eq!(send(&mut session, &pull, 1, 2).as_deref(), Some("1: 1..=1, 2 more"));
    assert_eq!(send(&mut session, &pull, 2, 0).as_deref(), Some("1: 2..=2"));
    assert_eq!(session.handle_caught_up(&pull, false).map(|text| frame(&text)).as_deref(), Some("1: ok"));
    assert_eq!(session.poll_ready(&pull), None);
    assert_eq!(send(&mut session, &pull, 3, 0), None);
    assert_eq!(session.handle_caught_up(&pull, false), None);
    assert!(handle(&mut session, &ack("1"), OPENED_MS).is_empty(), "acks of the last chunks come late");
}

#[test]
fn an_empty_pull_gets_an_empty_chunk() {
    let mut session = session();
    let pull = start(&mut session, "1", false);
    let text = session.handle_chunk(&pull, None, 0, "backend", OPENED_MS).expect("a frame");
    assert_eq!(frame(&text.into_text()), "1: empty");
}

#[test]
fn a_pull_that_fails_is_over() {
    let mut session = session();
    let pull = start(&mut session, "1", true);
    let error = PullError::Rejected(HookError::new("no"));
    assert_eq!(session.handle_pull_failed(&pull, &error).map(|text| frame(&text)).as_deref(), Some("1: Fail"));
    assert_eq!(session.handle_pull_failed(&pull, &error), None);
    assert_eq!(session.poll_ready(&pull), None);
    assert!(!session.is_catching_up());
    assert!(session.commit(0, 1, None).is_empty());
}

#[test]
fn lost_history_ends_live_pulls() {
    let mut session = session();
    let live = start(&mut session, "1", true);
    let catching_up = start(&mut session, "2", true);
    assert_eq!(session.handle_caught_up(&live, true), None);
    let lost = HistoryLost { backend_id: "b".into(), head: seq(5), position: seq(10) };
    let frames = session.handle_history_lost(&lost);
    assert!(frames.len() == 1 && frames[0].contains(r#""_tag":"BackendIdMismatchError""#), "{frames:?}");
    assert_eq!(session.poll_ready(&live), None);
    assert_eq!(session.poll_ready(&catching_up), Some(true), "it looks at the log itself");
    assert!(session.handle_history_lost(&lost).is_empty());
}

#[test]
fn commits_go_to_pulls_that_are_live() {
    let mut session = session();
    let pull = start(&mut session, "1", true);
    start(&mut session, "2", false);
    assert!(session.is_catching_up());
    assert!(session.commit(0, 1, None).is_empty(), "it reads them itself");
    assert_eq!(session.handle_caught_up(&pull, true), None);
    assert!(!session.is_catching_up());
    assert_eq!(frames(&session.commit(1, 3, None)), ["1: 2..=3"]);
    assert_eq!(frames(&session.commit(3, 253, None)), ["1: 4..=103", "1: 104..=203", "1: 204..=253"]);
}

#[test]
fn the_pusher_gets_its_events_and_then_its_acknowledgement() {
    let mut session = session();
    let own = Some((ME, id("7")));
    assert_eq!(frames(&session.commit(0, 1, own.clone())), ["7: ok"], "without a pull too");
    let pull = start(&mut session, "1", true);
    assert_eq!(frames(&session.commit(1, 2, own.clone())), ["7: ok"], "while catching up too");
    session.handle_caught_up(&pull, true);
    assert_eq!(frames(&session.commit(2, 3, own)), ["1: 3..=3", "7: ok"]);
    assert_eq!(frames(&session.commit(3, 4, Some((OTHER, id("7"))))), ["1: 4..=4"], "another's push");
    assert_eq!(frame(&session.acknowledge(&id("8"))), "8: ok");
}

#[test]
fn an_interrupted_pull_is_over() {
    let mut session = session();
    let pull = start(&mut session, "1", true);
    let live = start(&mut session, "2", true);
    session.handle_caught_up(&live, true);
    assert_eq!(handle(&mut session, &interrupt("1"), OPENED_MS), ["1: Interrupt"]);
    assert_eq!(session.poll_ready(&pull), None);
    assert_eq!(send(&mut session, &pull, 1, 0), None);
    assert_eq!(session.handle_caught_up(&pull, true), None);
    assert!(handle(&mut session, &interrupt("1"), OPENED_MS).is_empty(), "it is over already");
    assert_eq!(handle(&mut session, &interrupt("2"), OPENED_MS), ["2: Interrupt"]);
    assert!(session.commit(0, 1, None).is_empty());
}

#[test]
fn an_id_can_be_used_again_once_its_pull_is_over() {
    let mut session = session();
    let first = start(&mut session, "1", true);
    handle(&mut session, &interrupt("1"), OPENED_MS);
    let second = start(&mut session, "1", true);
    assert_eq!(session.poll_ready(&first), None, "what still runs for the first must not feed the second");
    assert_eq!(send(&mut session, &first, 1, 0), None);
    assert_eq!(send(&mut session, &second, 1, 0).as_deref(), Some("1: 1..=1"));
}

#[test]
fn an_id_in_use_is_refused_and_its_pull_goes_on() {
    let mut session = session();
    let pull_1 = start(&mut session, "1", true);
    let expected = [r#"defect: "the request 1 is still running""#];
    assert_eq!(handle(&mut session, &pull("1", true), OPENED_MS), expected);
    assert_eq!(send(&mut session, &pull_1, 1, 0).as_deref(), Some("1: 1..=1"));
    // Ids are told apart by their JSON type.
    let number = request("1", "SyncWsRpc.Pull", r#"{"storeId":"s","live":true,"cursor":{"_tag":"None"}}"#);
    assert_eq!(handle(&mut session, &number, OPENED_MS), ["live pull 1 (next)"]);
}

#[test]
fn so_many_pulls_run_and_no_more() {
    let mut session = session();
    (0..PULLS_MAX).for_each(|number| drop(start(&mut session, &number.to_string(), true)));
    let refused = handle(&mut session, &pull("one more", true), OPENED_MS);
    assert_eq!(refused, ["one more: Die"]);
    handle(&mut session, &interrupt("0"), OPENED_MS);
    start(&mut session, "one more", true);
}

#[test]
fn a_client_whose_pull_is_of_an_earlier_connection_is_sent_back() {
    for text in [ack("1"), interrupt("1")] {
        assert_eq!(handle(&mut session(), &text, OPENED_MS), [close()], "{text}");
        // Pings say nothing about what it waits for.
        let mut pinged = session();
        handle(&mut pinged, PING, OPENED_MS);
        assert_eq!(handle(&mut pinged, &text, OPENED_MS), [close()], "{text}");
        for call in [pull("2", true), push("\"2\"", EVENT)] {
            let mut called = session();
            handle(&mut called, &call, OPENED_MS);
            assert!(handle(&mut called, &text, OPENED_MS).is_empty(), "{text} after {call}");
        }
    }
}

#[test]
fn a_client_that_pings_and_never_pulls_is_sent_back() {
    let parked = OPENED_MS + PARKED_CLIENT_MS;
    for ping in [PING, r#"{ "_tag": "Ping" }"#] {
        let mut session = session();
        assert_eq!(handle(&mut session, ping, parked - 1), ["pong"]);
        assert_eq!(handle(&mut session, ping, parked), [close()]);
        start(&mut session, "1", false);
        assert_eq!(handle(&mut session, ping, 100 * parked), ["pong"]);
        handle(&mut session, &interrupt("1"), parked);
        assert_eq!(handle(&mut session, ping, 100 * parked), ["pong"], "it knows how to pull");
    }
    for (pushes, pinged_ms, expected) in [
        // Knowing the backend id, it has pulled on some connection: told so once it pauses.
        (vec![(KNOWING, parked)], parked + PARKED_CLIENT_MS - 1, "pong".to_owned()),
        (vec![(KNOWING, parked)], parked + PARKED_CLIENT_MS, close()),
        (vec![(KNOWING, OPENED_MS), (KNOWING, parked)], parked + PARKED_CLIENT_MS - 1, "pong".to_owned()),
        // Not knowing it, it has never pulled anywhere, whatever it learns later.
        (vec![(NOT_KNOWING, OPENED_MS)], 100 * parked, "pong".to_owned()),
        (vec![(NOT_KNOWING, OPENED_MS), (KNOWING, parked)], 100 * parked, "pong".to_owned()),
        (vec![(KNOWING, OPENED_MS), (NOT_KNOWING, parked)], 100 * parked, "pong".to_owned()),
    ] {
        let mut pushing = session();
        for (backend_id, now_ms) in &pushes {
            handle(&mut pushing, &push_knowing("\"1\"", EVENT, backend_id), *now_ms);
        }
        assert_eq!(handle(&mut pushing, PING, pinged_ms), [expected.as_str()], "{pushes:?} {pinged_ms}");
        // An object that hibernates knows as much.
        let restored = Session::restore(ME, pushing.snapshot(), seq(0));
        let mut restored = restored.expect("it sends no backlog");
        assert_eq!(handle(&mut restored, PING, pinged_ms), [expected], "{pushes:?} {pinged_ms}, restored");
    }
    // A clock that is set back closes nothing.
    assert_eq!(handle(&mut session(), PING, 0), ["pong"]);
}

#[test]
fn only_who_pings_is_told_unasked_that_somebody_is_there() {
    let mut session = session();
    assert_eq!(session.reassurance(), None);
    start(&mut session, "1", true);
    assert_eq!(session.reassurance(), None);
    session.handle_frame(PING, OPENED_MS);
    assert_eq!(session.reassurance(), Some(PONG));
    let mut old = Session::v03(ME, Proof::Pongs, OPENED_MS);
    old.handle_frame(r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#, OPENED_MS);
    assert_eq!(old.reassurance(), None);
}

#[test]
fn rpc_never_asks_for_what_only_v03_needs() {
    let mut session = session();
    let pull = start(&mut session, "1", true);
    send(&mut session, &pull, 1, 0);
    assert_eq!(session.poll_ping(), None);
    session.handle_pong(1, 0);
    assert!(!session.may_continue());
    assert_eq!(id("1").generation(), Generation::V04);
}

#[test]
fn a_durable_object_has_its_updates_elsewhere() {
    let pull = |id: &str, context: &str| {
        let payload = format!(r#"{{"storeId":"s","cursor":{{"_tag":"None"}}{context}}}"#);
        request(&format!("\"{id}\""), "SyncDoRpc.Pull", &payload)
    };
    let context = r#","rpcContext":{"callerContext":{"bindingName":"B","durableObjectId":"1f"}}"#;
    let mut session = Session::durable_object(ME, OPENED_MS);
    for (id, context, expected) in [("1", context, true), ("2", "", false)] {
        let [Action::Pull { delivery, live, .. }] = &session.handle_frame(&pull(id, context), OPENED_MS)[..] else {
            panic!("a pull")
        };
        assert_eq!(*live, expected);
        for n in 0..20 {
            // Nobody acknowledges anything.
            assert_eq!(session.poll_ready(delivery), Some(true));
            let text = session.handle_chunk(delivery, Some(&chunk(n, n + 1, ItemFormat::Rpc)), 0, "b", 0);
            assert!(text.is_some_and(|text| {
                text.into_text().contains(&format!(r#""values":[{{"rpcRequestId":"{id}","batch":["#))
            }));
        }
        // Its answer ends here, live or not.
        let end = session.handle_caught_up(delivery, false).expect("an end");
        assert!(end.contains(r#""_tag":"Exit""#), "{end}");
        assert!(session.commit(0, 1, None).is_empty());
    }
}
